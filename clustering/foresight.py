"""What can be known of a batch's faces before their turn: whom they resemble, and how much, and who can be there.

Nearly all the work that a decision takes is done here, for many faces at once, and most of it in a thread of its own.
What is decided meanwhile changes few identities; of those, a face's turn shows how they are by then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clustering.at_hand import AtHand
from clustering.compare import Resemblances, Seen, compare
from clustering.decide import Candidates, Criteria
from clustering.gallery import NOBODY
from clustering.neighbours import Neighbours
from clustering.roster import Roster, whereabouts
from embedder.records import FaceEmbedding


class Foresight:
    """Of the ``faces`` of one batch, as ``roster`` grows by these very faces.

    ``look`` comes first; it alone may be called in another thread, while the faces of ``before``, the batch before this
    one, are being decided.  ``settle`` ends what may change otherwise; then each decision is told to ``decided``.
    """

    def __init__(
        self, faces: Sequence[FaceEmbedding], roster: Roster, criteria: Criteria, before: Foresight | None = None
    ) -> None:
        self._faces = faces
        self._roster = roster
        self._criteria = criteria
        self._seen = Seen.of(faces, roster.gallery.index.dim, criteria.scale)
        earlier = None if before is None else before.near
        self.near: Neighbours = Neighbours(self._seen.vectors, roster.gallery, criteria.policy.nearest, earlier)
        self._leading = np.full((len(faces), criteria.linking.cohort + 1), NOBODY, np.int64)
        self._known: list[Resemblances] = []
        self._changed: set[int] = set()
        self._at_hand: AtHand | None = None

    def look(self) -> None:
        """Search, and compare each face with the identities that it resembles most."""
        self.near.look()
        leading = [owners[: self._leading.shape[1]] for owners in self.near.owners]
        for line, owners in zip(self._leading, leading, strict=True):
            line[: len(owners)] = owners
        criteria = self._criteria
        compared = compare(self._seen, self._leading, self._roster.gallery, criteria.scale, criteria.linking)
        self._known = compared.told(leading)

    def settle(self) -> bool:
        """Take up what the batch before has led to; False when more than that was written, and all must be done anew.

        To be called once, after ``look`` and before the first face is decided.
        """
        rows = self.near.settle()
        if rows is None:
            return False
        self._changed.update(self._roster.gallery.owners(np.array(rows, np.int64)).tolist())
        arrivals = [whereabouts(face.event) for face in self._faces]
        self._at_hand = AtHand(arrivals, self._leading, self._roster.last_seen, self._criteria.policy)
        return True

    def decided(self, place: int, number: int, slot: int | None) -> None:
        """Note that the face at ``place`` is identity ``number``, and its vector now in that slot, if in any."""
        if self._at_hand is not None:
            self._at_hand.moved(number)
        if slot is not None:
            self.near.wrote(place, self._roster.gallery.row(number, slot))
            self._changed.add(number)

    def candidates(self, place: int) -> Candidates:
        """Whom the face at ``place`` may show, as identities are now; known of those that have not changed since."""
        known = self._known[place].without(self._changed)
        at_hand = self._at_hand.of(place) if self._at_hand is not None else frozenset[int]()
        return Candidates(self.near.best(place), known, at_hand)
