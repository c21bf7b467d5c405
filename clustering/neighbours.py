"""Whom the faces of a batch resemble: one search for all of them, kept right while rows are written.

A search goes through the codes of all templates for all faces of a batch at once.  Its scores are whole numbers, the
same whatever else is in the batch, so the answer does not depend on where batches begin and end.  A row that was not
proposed is known to score no more than the search's last one, its *floor*.  Where the last neighbour that counts lies
above the floor, nothing was missed; where it does not, since many rows score alike, the search is done again, deeper.

Nor does it depend on when the search was done: rows that were written since are compared anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clustering.codes import Scores, Vectors, probe_codes, template_codes, whole
from clustering.gallery import Gallery
from clustering.index import NOTHING, Rows

SPARE = 8
"""Rows looked for beyond those needed, so that the floor lies below them."""
AT_A_TIME = 256
"""Faces searched for at a time."""
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class _Found:
    """What the search says of one face.

    No row but the proposed ``rows`` scores more than the ``floor``, as rows were then.  ``owners`` are those of the
    nearest, each once, in order; none where the rows do not reach far enough to be sure.  ``alike`` are the faces, of
    those that are decided before it, whose vectors score more than the floor.
    """

    rows: list[int]
    floor: int
    owners: list[int]
    alike: list[int]


class Neighbours:
    """Whom the faces with ``vectors`` (n, dim) resemble, as ``gallery`` grows by these very faces.

    Belongs to one batch.  ``look`` comes first; it alone may be called in another thread, while the faces of
    ``before``, the batch before this one, are being decided.  Each row that is written for a face is told to ``wrote``.
    """

    def __init__(self, vectors: Vectors, gallery: Gallery, nearest: int, before: Neighbours | None = None) -> None:
        self.vectors = vectors
        self.written = [NOWHERE] * len(vectors)
        """The row that each face's vector went into."""
        self._gallery = gallery
        self._nearest = nearest
        self._probes = probe_codes(vectors)
        self._begun = gallery.writes
        # Not the batch before itself, which holds on to the one before that, and so on.
        self._earlier = [] if before is None else before.written
        self._others = vectors if before is None else np.vstack([before.vectors, vectors])
        self._found: list[_Found] = []
        self._changed: set[int] = set()

    def look(self) -> None:
        """Search, and rank what was found: nearly all the work that there is."""
        others = whole(template_codes(self._others)).T
        for start in range(0, len(self.vectors), AT_A_TIME):
            probes = self._probes[start : start + AT_A_TIME]
            scores, rows = self._gallery.index.search(probes, self._nearest + SPARE)
            floors = scores[:, -1]
            alike = [np.flatnonzero(line).tolist() for line in probes.astype(np.float32) @ others >= floors[:, None]]
            owners = self._ranked(rows, scores) if (rows >= 0).all() else [[]] * len(rows)
            self._found += [_Found(*line) for line in zip(rows.tolist(), floors.tolist(), owners, alike, strict=True)]

    @property
    def owners(self) -> list[list[int]]:
        """Of each face, what ``best`` gives as long as nothing is written; nobody where it has to look deeper."""
        return [found.owners for found in self._found]

    def _ranked(self, rows: Rows, scores: Scores) -> list[list[int]]:
        """The owners of the nearest of ``rows`` (n, k), where they lie above the last of their ``scores`` (n, k)."""
        owners = self._gallery.owners(rows)
        order = np.lexsort((owners, -scores))[:, : self._nearest]
        last = np.take_along_axis(scores, order[:, -1:], axis=1)[:, 0]
        ranked = np.take_along_axis(owners, order, axis=1).tolist()
        sure = (last > scores[:, -1]).tolist()
        return [list(dict.fromkeys(line)) if good else [] for line, good in zip(ranked, sure, strict=True)]

    def settle(self) -> list[int] | None:
        """Take up what the batch before has led to: the rows it wrote.

        None when more than that was written, and only a new search helps.  To be called once, after ``look`` and
        before the first face is decided.
        """
        rows = [row for row in self._earlier if row != NOWHERE]
        self._changed.update(rows)
        return rows if self._gallery.writes - self._begun == len(rows) else None

    def wrote(self, place: int, row: int) -> None:
        """Note that ``row`` of the gallery now holds the vector of the face at ``place``."""
        self.written[place] = row
        self._changed.add(row)

    def best(self, place: int) -> list[int]:
        """The numbers of the identities that the face at ``place`` resembles.

        Those among the owners of its ``nearest`` best templates, best first, of equals the first founded.
        """
        found = self._found[place]
        fresh = self._fresh(found)
        if fresh or not found.owners or not self._changed.isdisjoint(found.rows):
            return self._ranked_anew(place, fresh)
        return found.owners

    def _fresh(self, found: _Found) -> list[int]:
        """The rows written since the search that may be among the nearest."""
        before = len(self._earlier)
        rows = [self._earlier[other] if other < before else self.written[other - before] for other in found.alike]
        return [row for row in rows if row != NOWHERE]

    def _ranked_anew(self, place: int, fresh: list[int]) -> list[int]:
        """What ``best`` gives, of rows as they are now; of deeper ones too, where those that were found fall short."""
        probe = self._probes[place]
        rows = np.array([*({*self._found[place].rows, *fresh} - {NOWHERE})], np.int64)
        floor, reach = self._found[place].floor, self._nearest + SPARE
        while True:
            scores = self._gallery.index.scores(rows, probe)
            owners = self._gallery.owners(rows)
            order = np.lexsort((owners, -scores))[: self._nearest]
            if floor == NOTHING or scores[order[-1]] > floor:
                return list(dict.fromkeys(owners[order].tolist()))
            reach *= 2
            found, deeper = self._gallery.index.search(probe[None], reach)
            rows, floor = deeper[deeper >= 0], int(found[0, -1])
