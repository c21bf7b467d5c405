"""Nearest templates: one small protocol, FAISS behind it, and a NumPy oracle that says what is right."""

from __future__ import annotations

from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]
GROWTH = 4096
"""Rows are made room for so many at a time, at least."""


class VectorIndex(Protocol):
    """Vectors by row number, searched by inner product (the cosine, as templates are L2-normalised).

    Rows are chosen by the caller: writing row n makes room up to n, and writing it again replaces the vector in
    place.  Owned by one thread; a search must not run while rows are written.
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

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        """The ``k`` best rows of each of ``queries`` (q, dim): scores and rows (q, k), best first.

        Where fewer rows have a vector, the rest of a line is -1, with score -inf.  Scores differ in their last
        bits with the number of queries.
        """
        ...


class FaissIndex:
    """Exact search with FAISS ``IndexFlatIP``.

    A row is written straight into the index's memory: 1 µs, where ``remove_ids`` and ``add`` move the whole index.
    A clear row is all zeros, so its score is 0; only rows marked as filled are given out.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._index = faiss.IndexFlatIP(dim)
        self._filled = np.zeros(0, np.bool_)
        self._memory = np.zeros((0, dim), np.float32)

    def __len__(self) -> int:
        return len(self._filled)

    def put(self, rows: Rows, vectors: Vectors) -> None:
        _check(rows, vectors, self.dim)
        if rows.size:
            self._make_room(int(rows.max()) + 1)
            self._memory[rows] = vectors
            self._filled[rows] = True

    def clear(self, rows: Rows) -> None:
        self._memory[rows] = 0
        self._filled[rows] = False

    def get(self, rows: Rows) -> Vectors:
        return self._memory[rows]

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        if not self._filled.any() or not len(queries):
            return _nothing(len(queries), k)
        reach = min(k, len(self._filled))
        scores, rows = self._index.search(np.ascontiguousarray(queries, np.float32), reach)
        found = (rows >= 0) & self._filled[rows]
        if not found.all():  # zeros crowd out negative scores: look again among the filled rows alone
            return _exhaustive(queries, self._memory, np.flatnonzero(self._filled), k)
        if reach < k:
            blank_scores, blank_rows = _nothing(len(queries), k - reach)
            scores, rows = np.hstack([scores, blank_scores]), np.hstack([rows, blank_rows])
        return scores, rows

    def _make_room(self, rows: int) -> None:
        if rows > len(self._filled):
            more = max(rows - len(self._filled), GROWTH, len(self._filled) // 4)
            self._index.add(np.zeros((more, self.dim), np.float32))
            self._filled = np.concatenate([self._filled, np.zeros(more, np.bool_)])
            # Adding moves the index's memory, so the view of it must be taken anew.
            flat = faiss.rev_swig_ptr(self._index.get_xb(), self._index.ntotal * self.dim)
            self._memory = flat.reshape(self._index.ntotal, self.dim)


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

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        return _exhaustive(queries, self._vectors, np.flatnonzero(self._filled), k)


def _check(rows: Rows, vectors: Vectors, dim: int) -> None:
    if vectors.shape != (len(rows), dim):
        message = f"{len(rows)} rows need vectors of shape ({len(rows)}, {dim}), not {vectors.shape}"
        raise ValueError(message)


def _nothing(queries: int, k: int) -> tuple[Vectors, Rows]:
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64)


def _exhaustive(queries: Vectors, vectors: Vectors, filled: Rows, k: int) -> tuple[Vectors, Rows]:
    scores, rows = _nothing(len(queries), k)
    products = queries @ vectors[filled].T
    best = np.argsort(-products, axis=1, kind="stable")[:, :k]
    scores[:, : best.shape[1]] = np.take_along_axis(products, best, axis=1)
    rows[:, : best.shape[1]] = filled[best]
    return scores, rows
