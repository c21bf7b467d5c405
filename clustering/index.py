"""Nearest templates: one small protocol, whole numbers behind it, and a NumPy oracle that says what is right."""

from __future__ import annotations

from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from clustering.codes import NONE, ProbeCodes, Scores, TemplateCodes, Vectors, scores, template_codes, whole
from clustering.nearest import GROUP, STRIPE, Nearest

Rows = NDArray[np.int64]
NOTHING = -(2**30)
"""The score of no row at all: less than any, and its opposite is a number too."""
GROWTH = 2 * STRIPE
"""Rows are made room for so many at a time, at least, and always whole stripes."""
FEW = 4
"""With fewer groups of rows than so many times the rows wanted, FAISS is as quick."""


class VectorIndex(Protocol):
    """Vectors by row number, searched by the product of their codes: the cosine in whole numbers (see ``codes``).

    Rows are chosen by the caller: writing row n makes room up to n, and writing it again replaces the vector in
    place.  Owned by one thread.  ``search`` and ``get`` alone may be called by another one meanwhile: what they say of
    a row that is being written is of the old vector, the new one or a mixture.
    """

    dim: int

    def __len__(self) -> int:
        """How many rows there is room for; some of them may be clear."""
        ...

    def put(self, rows: Rows, vectors: Vectors) -> None:
        """Write ``vectors`` (n, dim) float32 into ``rows`` (n,); ``ValueError`` when the shapes do not fit."""
        ...

    def clear(self, rows: Rows) -> None:
        """Forget ``rows``: their vectors are overwritten, and no search finds them."""
        ...

    def get(self, rows: Rows) -> Vectors:
        """The vectors (n, dim) of ``rows``; zeros where a row is clear."""
        ...

    def scores(self, rows: Rows, probe: ProbeCodes) -> Scores:
        """Those (n,) of ``rows`` (n,), none of them clear, for ``probe`` (dim,)."""
        ...

    def search(self, probes: ProbeCodes, k: int) -> tuple[Scores, Rows]:
        """The ``k`` best rows of each of ``probes`` (q, dim): scores and rows (q, k), best first.

        Where fewer rows have a vector, the rest of a line is -1, with the score ``NOTHING``.
        """
        ...


class FaissIndex:
    """Exact search over rows of memory: by FAISS while there are few, by ``Nearest`` when there are many.

    A row is written in place, where a FAISS index moves all of itself to remove one.  A clear row is all zeros, so
    its score is 0; only rows marked as filled are given out.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._filled = np.zeros(0, np.bool_)
        self._memory = np.zeros((0, dim), np.float32)
        self._codes = _clear(0, dim)
        self._reach = 0
        self._nearest = Nearest()

    def __len__(self) -> int:
        return len(self._filled)

    def put(self, rows: Rows, vectors: Vectors) -> None:
        _check(rows, vectors, self.dim)
        if rows.size:
            reach = int(rows.max()) + 1
            if reach > len(self._filled):
                self._make_room(reach)
            # Listed rows take longer to write to, and the thread gives up its turn over them.
            where = slice(reach - 1, reach) if rows.size == 1 else rows
            self._memory[where] = vectors
            self._codes[where] = template_codes(vectors)
            self._filled[where] = True
            self._reach = max(self._reach, reach)

    def clear(self, rows: Rows) -> None:
        self._memory[rows] = 0
        self._codes[rows] = NONE
        self._filled[rows] = False

    def get(self, rows: Rows) -> Vectors:
        return self._memory[rows]

    def scores(self, rows: Rows, probe: ProbeCodes) -> Scores:
        return scores(self._codes[rows], probe)

    def search(self, probes: ProbeCodes, k: int) -> tuple[Scores, Rows]:
        reach = self._reach  # the index as it is now: another thread may let it grow meanwhile
        codes, filled = self._codes, self._filled[:reach].copy()
        found, rows = _nothing(len(probes), k)
        most = min(k, int(filled.sum()))
        if not (most and len(probes)):
            return found, rows
        if most < k or FEW * GROUP * k > reach:
            found[:, :most], rows[:, :most] = _by_faiss(probes, codes[:reach], filled, most)
            return found, rows
        found, rows = self._nearest(codes[: -(-reach // STRIPE) * STRIPE], probes, k)
        # Rows that are clear score 0, and crowd out negative scores.
        low = np.flatnonzero(found[:, -1] <= 0)
        if len(low):
            found[low], rows[low] = _by_faiss(probes[low], codes[:reach], filled, k)
        return found, rows

    def _make_room(self, rows: int) -> None:
        more = max(rows - len(self._filled), GROWTH, len(self._filled) // 4)
        more += -more % STRIPE
        # New arrays: whoever is searching goes on in the old ones.
        self._filled = np.concatenate([self._filled, np.zeros(more, np.bool_)])
        self._memory = np.concatenate([self._memory, np.zeros((more, self.dim), np.float32)])
        self._codes = np.concatenate([self._codes, _clear(more, self.dim)])


def _clear(rows: int, dim: int) -> TemplateCodes:
    return np.full((rows, dim), NONE, np.uint8)


def _by_faiss(probes: ProbeCodes, codes: TemplateCodes, filled: NDArray[np.bool_], k: int) -> tuple[Scores, Rows]:
    found, rows = faiss.knn(probes.astype(np.float32), whole(codes), k, metric=faiss.METRIC_INNER_PRODUCT)
    if not filled[rows].all():  # zeros crowd out negative scores: look again among the filled rows alone
        return _exhaustive(probes, codes, np.flatnonzero(filled), k)
    return found.astype(np.int32), rows


class NumpyIndex:
    """The oracle: the same answers by plain arithmetic, for tests and small rosters."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._vectors = np.zeros((0, dim), np.float32)
        self._filled = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return len(self._filled)

    def put(self, rows: Rows, vectors: Vectors) -> None:
        _check(rows, vectors, self.dim)
        if rows.size:
            more = max(0, int(rows.max()) + 1 - len(self._filled))
            self._vectors = np.vstack([self._vectors, np.zeros((more, self.dim), np.float32)])
            self._filled = np.concatenate([self._filled, np.zeros(more, np.bool_)])
            self._vectors[rows] = vectors
            self._filled[rows] = True

    def clear(self, rows: Rows) -> None:
        self._vectors[rows] = 0
        self._filled[rows] = False

    def get(self, rows: Rows) -> Vectors:
        return self._vectors[rows]

    def scores(self, rows: Rows, probe: ProbeCodes) -> Scores:
        return scores(template_codes(self._vectors[rows]), probe)

    def search(self, probes: ProbeCodes, k: int) -> tuple[Scores, Rows]:
        return _exhaustive(probes, template_codes(self._vectors), np.flatnonzero(self._filled), k)


def _check(rows: Rows, vectors: Vectors, dim: int) -> None:
    if vectors.shape != (len(rows), dim):
        message = f"{len(rows)} rows need vectors of shape ({len(rows)}, {dim}), not {vectors.shape}"
        raise ValueError(message)


def _nothing(probes: int, k: int) -> tuple[Scores, Rows]:
    return np.full((probes, k), NOTHING, np.int32), np.full((probes, k), -1, np.int64)


def _exhaustive(probes: ProbeCodes, codes: TemplateCodes, filled: Rows, k: int) -> tuple[Scores, Rows]:
    found, rows = _nothing(len(probes), k)
    products = (probes.astype(np.float32) @ whole(codes[filled]).T).astype(np.int32)
    best = np.argsort(-products, axis=1, kind="stable")[:, :k]
    found[:, : best.shape[1]] = np.take_along_axis(products, best, axis=1)
    rows[:, : best.shape[1]] = filled[best]
    return found, rows
