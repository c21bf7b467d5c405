"""Whom the faces of a batch resemble: one search for all of them, kept right while the batch is decided.

A search multiplies all templates with all faces of a batch in float32, because that is by far the quickest; what it
gives differs in the last bits with the size of the batch.  So it only proposes rows: cosines are taken anew in
float64, and a row that was not proposed is known to score no more than the search's last one, its *floor*.  Where
the last neighbour that counts lies above the floor by more than what float32 can be wrong by, nothing was missed,
and the answer does not depend on where batches begin and end; where it does not, the search is done again, deeper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clustering.index import Rows, Vectors
from clustering.roster import Roster

Scores = NDArray[np.float64]
DECIMALS = 6
"""Scores are rounded to so many: beyond them, results depend on how the processor adds up."""
SPARE = 8
"""Rows looked for beyond those needed, so that the floor lies clearly below them."""


class Neighbours:
    """The nearest templates of the faces whose ``vectors`` (n, dim) are given, as ``roster`` grows by these very faces.

    Belongs to one batch: whatever is written into the roster meanwhile must be told to ``wrote``.
    """

    def __init__(self, vectors: Vectors, roster: Roster, nearest: int) -> None:
        self._vectors = vectors
        self._roster = roster
        self._nearest = nearest
        # The most by which a float32 inner product of unit vectors can differ from the exact one, and a rounding.
        self._slack = 2 * roster.index.dim * float(np.finfo(np.float32).eps) + 10.0**-DECIMALS
        scores, self._rows = roster.index.search(vectors, nearest + SPARE)
        self._floors: list[float] = scores[:, -1].tolist()
        self._alike = vectors @ vectors.T
        self._written = np.full(len(vectors), -1, np.int64)

    def wrote(self, place: int, row: int) -> None:
        """Note that ``row`` of the roster's index now holds the vector of the face at ``place``."""
        self._written[place] = row

    def best(self, place: int) -> dict[int, float]:
        """The identities that the face at ``place`` resembles, and the cosine to the nearest template of each.

        Those among the owners of its ``nearest`` best templates, best first, of equals the first founded.
        """
        vector = self._vectors[place].astype(np.float64)
        rows, floor, reach = self._rows[place], self._floors[place], self._nearest + SPARE
        if floor == -np.inf:
            rows = rows[rows >= 0]
        if fresh := self._fresh(place, rows, floor):
            rows = np.append(rows, fresh)
        while True:
            cosines = np.round(self._roster.index.get(rows) @ vector, DECIMALS)
            owners = self._roster.owners(rows)
            order = np.lexsort((owners, -cosines))[: self._nearest]
            if floor == -np.inf or cosines[order[-1]] > floor + self._slack:
                break
            reach *= 2
            scores, deeper = self._roster.index.search(self._vectors[place : place + 1], reach)
            rows, floor = deeper[deeper >= 0], float(scores[0, -1])
        ranked = owners[order].tolist()
        best: dict[int, float] = dict.fromkeys(ranked, 0.0)  # which sets the order; the values are from worst to best
        best.update(zip(reversed(ranked), cosines[order[::-1]].tolist(), strict=True))
        return best

    def _fresh(self, place: int, found: Rows, floor: float) -> list[int]:
        """The rows written since the search that may be among the nearest, without those that it found."""
        near = (self._alike[place] >= floor - self._slack) & (self._written >= 0)
        rows = dict.fromkeys(self._written[near].tolist())
        return [row for row in rows if not (found == row).any()]
