"""What can be known of a batch's faces before their turn: whom they resemble, and how much.

Nearly all the work that a decision takes is done here, for many faces at once and in a thread of its own.  What is
decided meanwhile changes few identities; with those, a face is compared anew when its turn comes.
"""

from __future__ import annotations

import numpy as np

from clustering.compare import Resemblances, Seen, compare
from clustering.decide import Criteria
from clustering.gallery import NOBODY, Gallery
from clustering.neighbours import Neighbours


class Foresight:
    """Of the ``faces`` of one batch, as ``gallery`` grows by these very faces.

    ``look`` comes first; it alone may be called in another thread, while the faces of ``before``, the batch before this
    one, are being decided.  Each row that is written for a face is told to ``wrote``.
    """

    def __init__(self, faces: Seen, gallery: Gallery, criteria: Criteria, before: Foresight | None = None) -> None:
        self.faces = faces
        self._gallery = gallery
        self._criteria = criteria
        earlier = None if before is None else before.near
        self.near: Neighbours = Neighbours(faces.vectors, gallery, criteria.policy.nearest, earlier)
        self._known: list[Resemblances] = []
        self._changed: set[int] = set()

    def look(self) -> None:
        """Search, and compare each face with the identities that it resembles most."""
        self.near.look()
        most = self._criteria.linking.cohort + 1
        leading = [owners[:most] for owners in self.near.owners]
        numbers = np.array([line + [NOBODY] * (most - len(line)) for line in leading], np.int64).reshape(-1, most)
        compared = compare(self.faces, numbers, self._gallery, self._criteria.scale, self._criteria.linking)
        self._known = compared.told(leading)

    def settle(self) -> bool:
        """Take up what the batch before has led to; False when more than that was written, and all must be done anew.

        To be called once, after ``look`` and before the first face is decided.
        """
        rows = self.near.settle()
        if rows is not None:
            self._changed.update(self._gallery.owners(np.array(rows, np.int64)).tolist())
        return rows is not None

    def wrote(self, place: int, number: int, slot: int) -> None:
        """Note that the vector of the face at ``place`` is now in that slot of identity ``number``."""
        self.near.wrote(place, self._gallery.row(number, slot))
        self._changed.add(number)

    def best(self, place: int) -> list[int]:
        """As ``Neighbours`` has it."""
        return self.near.best(place)

    def known(self, place: int) -> Resemblances:
        """How much the face at ``place`` resembles identities that have not changed since."""
        return self._known[place].without(self._changed)
