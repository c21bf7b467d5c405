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
from numpy.typing import NDArray

from clustering.index import Rows, Vectors
from clustering.roster import Roster

Scores = NDArray[np.float64]
DECIMALS = 6
"""Scores are rounded to so many: beyond them, results depend on how the processor adds up."""
SPARE = 8
"""Rows looked for beyond those needed, so that the floor lies clearly below them."""
AT_A_TIME = 256
"""Faces whose proposed rows are taken out at a time (about 30 MB for 64 neighbours of 128 numbers)."""
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class _Found:
    """What the search says of one face.

    No row but the proposed ``rows`` scores more than ``floor``, as rows were then.  ``owners`` and ``cosines`` are of
    the nearest, in order; none where there were too few rows to choose from.  ``alike`` are the faces, of those that
    are decided before it, whose vectors score so much.
    """

    rows: list[int]
    floor: float
    owners: list[int]
    cosines: list[float]
    alike: list[int]


class Neighbours:
    """The nearest templates of the faces whose ``vectors`` (n, dim) are given, as ``roster`` grows by these very faces.

    Belongs to one batch.  ``look`` comes first; it alone may be called in another thread, while the faces of
    ``before``, the batch before this one, are being decided.  Each row that is written for a face is told to ``wrote``.
    """

    def __init__(self, vectors: Vectors, roster: Roster, nearest: int, before: Neighbours | None = None) -> None:
        self.vectors = vectors
        self.written = [NOWHERE] * len(vectors)
        """The row that each face's vector went into."""
        self._roster = roster
        self._nearest = nearest
        # The most by which a float32 inner product of unit vectors can differ from the exact one, and a rounding.
        self._slack = 2 * roster.index.dim * float(np.finfo(np.float32).eps) + 10.0**-DECIMALS
        self._begun = roster.writes
        # Not the batch before itself, which holds on to the one before that, and so on.
        self._earlier = [] if before is None else before.written
        self._others = vectors if before is None else np.vstack([before.vectors, vectors])
        self._found: list[_Found] = []
        self._changed: set[int] = set()

    def look(self) -> None:
        """Search, and rank what was found: nearly all the work that there is."""
        for start in range(0, len(self.vectors), AT_A_TIME):
            vectors = self.vectors[start : start + AT_A_TIME]
            scores, rows = self._roster.index.search(vectors, self._nearest + SPARE)
            floors = scores[:, -1:]
            alike = [np.flatnonzero(line).tolist() for line in vectors @ self._others.T >= floors - self._slack]
            owners, cosines = self._ranked(rows, vectors) if (rows >= 0).all() else ([[]] * len(rows), [[]] * len(rows))
            columns = rows.tolist(), floors[:, 0].tolist(), owners, cosines, alike
            self._found += [_Found(*line) for line in zip(*columns, strict=True)]

    def _ranked(self, rows: Rows, vectors: Vectors) -> tuple[list[list[int]], list[list[float]]]:
        """The owners of the nearest of ``rows`` (n, k), and their cosines, as rows are now."""
        templates = self._roster.index.get(rows).astype(np.float64)
        cosines = np.round((templates @ vectors[:, :, None].astype(np.float64))[:, :, 0], DECIMALS)
        owners = self._roster.owners(rows)
        order = np.lexsort((owners, -cosines))[:, : self._nearest]
        return np.take_along_axis(owners, order, axis=1).tolist(), np.take_along_axis(cosines, order, axis=1).tolist()

    def settle(self) -> bool:
        """Take up what the batch before has led to; False when more than that was written, and only a new search helps.

        To be called once, after ``look`` and before the first face is decided.
        """
        self._changed.update(row for row in self._earlier if row != NOWHERE)
        return self._roster.writes - self._begun == sum(row != NOWHERE for row in self._earlier)

    def wrote(self, place: int, row: int) -> None:
        """Note that ``row`` of the roster's index now holds the vector of the face at ``place``."""
        self.written[place] = row
        self._changed.add(row)

    def best(self, place: int) -> dict[int, float]:
        """The identities that the face at ``place`` resembles, and the cosine to the nearest template of each.

        Those among the owners of its ``nearest`` best templates, best first, of equals the first founded.
        """
        found = self._found[place]
        owners, cosines = found.owners, found.cosines
        fresh = self._fresh(found)
        changed = fresh or not self._changed.isdisjoint(found.rows)
        if changed or not owners or cosines[-1] <= found.floor + self._slack:
            owners, cosines = self._ranked_anew(place, fresh)
        best = dict.fromkeys(owners, 0.0)  # which sets the order; the values are from worst to best
        best.update(zip(reversed(owners), reversed(cosines), strict=True))
        return best

    def _fresh(self, found: _Found) -> list[int]:
        """The rows written since the search that may be among the nearest."""
        before = len(self._earlier)
        rows = [self._earlier[other] if other < before else self.written[other - before] for other in found.alike]
        return [row for row in rows if row != NOWHERE]

    def _ranked_anew(self, place: int, fresh: list[int]) -> tuple[list[int], list[float]]:
        """What ``_ranked`` gives, of rows as they are now; deeper ones too, where those that were found fall short."""
        vector = self.vectors[place].astype(np.float64)
        rows = np.array([*({*self._found[place].rows, *fresh} - {NOWHERE})], np.int64)
        floor, reach = self._found[place].floor, self._nearest + SPARE
        while True:
            cosines = np.round(self._roster.index.get(rows) @ vector, DECIMALS)
            owners = self._roster.owners(rows)
            order = np.lexsort((owners, -cosines))[: self._nearest]
            if floor == -np.inf or cosines[order[-1]] > floor + self._slack:
                return owners[order].tolist(), cosines[order].tolist()
            reach *= 2
            scores, deeper = self._roster.index.search(self.vectors[place : place + 1], reach)
            rows, floor = deeper[deeper >= 0], float(scores[0, -1])
