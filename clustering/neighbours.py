"""Whom the faces of a batch resemble: one search for all of them, kept right while rows are written.

A search multiplies all templates with all faces of a batch in float32, because that is by far the quickest; what it
gives differs in the last bits with the size of the batch.  So it only proposes rows: cosines are taken anew in
float64, and a row that was not proposed is known to score no more than the search's last one, its *floor*.  Where
the last neighbour that counts lies above the floor by more than what float32 can be wrong by, nothing was missed,
and the answer does not depend on where batches begin and end; where it does not, the search is done again, deeper.

Nor does it depend on when the search was done: rows that were written since are compared anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clustering.compare import DECIMALS
from clustering.gallery import Gallery
from clustering.index import Rows, Vectors

SPARE = 8
"""Rows looked for beyond those needed, so that the floor lies clearly below them."""
AT_A_TIME = 256
"""Faces whose proposed rows are taken out at a time (about 30 MB for 64 neighbours of 128 numbers)."""
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class _Found:
    """What the search says of one face.

    No row but the proposed ``rows`` scores more than the ``floor``, as rows were then.  ``owners`` are those of the
    nearest, each once, in order; none where the rows do not reach far enough to be sure.  ``alike`` are the faces, of
    those that are decided before it, whose vectors score more than the floor.
    """

    rows: list[int]
    floor: float
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
        # The most by which a float32 inner product of unit vectors can differ from the exact one, and a rounding.
        self._slack = 2 * gallery.index.dim * float(np.finfo(np.float32).eps) + 10.0**-DECIMALS
        self._begun = gallery.writes
        # Not the batch before itself, which holds on to the one before that, and so on.
        self._earlier = [] if before is None else before.written
        self._others = vectors if before is None else np.vstack([before.vectors, vectors])
        self._found: list[_Found] = []
        self._changed: set[int] = set()

    def look(self) -> None:
        """Search, and rank what was found: nearly all the work that there is."""
        for start in range(0, len(self.vectors), AT_A_TIME):
            vectors = self.vectors[start : start + AT_A_TIME]
            scores, rows = self._gallery.index.search(vectors, self._nearest + SPARE)
            floors = scores[:, -1]
            alike = [
                np.flatnonzero(line).tolist() for line in vectors @ self._others.T >= floors[:, None] - self._slack
            ]
            owners = self._ranked(rows, vectors, floors) if (rows >= 0).all() else [[]] * len(rows)
            self._found += [_Found(*line) for line in zip(rows.tolist(), floors.tolist(), owners, alike, strict=True)]

    @property
    def owners(self) -> list[list[int]]:
        """Of each face, what ``best`` gives as long as nothing is written; nobody where it has to look deeper."""
        return [found.owners for found in self._found]

    def _ranked(self, rows: Rows, vectors: Vectors, floors: Vectors) -> list[list[int]]:
        """The owners of the nearest of ``rows`` (n, k), as rows are now, where they lie above ``floors`` (n,)."""
        templates = self._gallery.index.get(rows).astype(np.float64)
        cosines = np.round((templates @ vectors[:, :, None].astype(np.float64))[:, :, 0], DECIMALS)
        owners = self._gallery.owners(rows)
        order = np.lexsort((owners, -cosines))[:, : self._nearest]
        last = np.take_along_axis(cosines, order[:, -1:], axis=1)[:, 0]
        ranked = np.take_along_axis(owners, order, axis=1).tolist()
        sure = (last > floors + self._slack).tolist()
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
        vector = self.vectors[place].astype(np.float64)
        rows = np.array([*({*self._found[place].rows, *fresh} - {NOWHERE})], np.int64)
        floor, reach = self._found[place].floor, self._nearest + SPARE
        while True:
            cosines = np.round(self._gallery.index.get(rows) @ vector, DECIMALS)
            owners = self._gallery.owners(rows)
            order = np.lexsort((owners, -cosines))[: self._nearest]
            if floor == -np.inf or cosines[order[-1]] > floor + self._slack:
                return list(dict.fromkeys(owners[order].tolist()))
            reach *= 2
            scores, deeper = self._gallery.index.search(self.vectors[place : place + 1], reach)
            rows, floor = deeper[deeper >= 0], float(scores[0, -1])
