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
GROUP = 16
"""Rows of whose scores only the best is looked at when the bound of the best ``k`` is sought."""
PRODUCTS = 1 << 24
"""Scores held at a time (64 MB)."""


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
    """Exact search over the memory of a FAISS ``IndexFlatIP``.

    A row is written straight into the index's memory: 1 µs, where ``remove_ids`` and ``add`` move the whole index.
    A clear row is all zeros, so its score is 0; only rows marked as filled are given out.  FAISS itself searches while
    there are few rows; many are multiplied by NumPy's BLAS, which is several times as quick.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._index = faiss.IndexFlatIP(dim)
        self._filled = np.zeros(0, np.bool_)
        self._memory = np.zeros((0, dim), np.float32)
        self._reach = 0
        self._products = np.zeros(0, np.float32)

    def __len__(self) -> int:
        return len(self._filled)

    def put(self, rows: Rows, vectors: Vectors) -> None:
        _check(rows, vectors, self.dim)
        if rows.size:
            reach = int(rows.max()) + 1
            if reach > self._reach:
                self._reach = reach
                self._make_room(reach)
            self._memory[rows] = vectors
            self._filled[rows] = True

    def clear(self, rows: Rows) -> None:
        self._memory[rows] = 0
        self._filled[rows] = False

    def get(self, rows: Rows) -> Vectors:
        return self._memory[rows]

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        queries = np.ascontiguousarray(queries, np.float32)
        scores, rows = _nothing(len(queries), k)
        most = min(k, int(self._filled.sum()))
        groups = -(-self._reach // GROUP)
        if most and groups > most:
            some = max(1, PRODUCTS // (groups * GROUP))
            for start in range(0, len(queries), some):
                part = slice(start, start + some)
                scores[part, :most], rows[part, :most] = self._by_product(queries[part], most, groups)
        elif most:
            scores[:, :most], rows[:, :most] = self._by_faiss(queries, most)
        return scores, rows

    def _by_faiss(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        scores, rows = self._index.search(queries, k)
        if not self._filled[rows].all():  # zeros crowd out negative scores: look again among the filled rows alone
            return _exhaustive(queries, self._memory, np.flatnonzero(self._filled), k)
        return scores, rows

    def _by_product(self, queries: Vectors, k: int, groups: int) -> tuple[Vectors, Rows]:
        """All scores at once, and of them those that reach the ``k``-th best of the best in each group of rows.

        At least ``k`` do, and hardly more; to find that bound takes a fraction of what sorting all scores would.
        """
        width = groups * GROUP
        if self._products.size < len(queries) * width:
            self._products = np.empty(len(queries) * width, np.float32)  # kept: new memory costs as much as the product
        products = self._products[: len(queries) * width].reshape(len(queries), width)
        np.matmul(queries, self._memory[:width].T, out=products)
        products[:, np.flatnonzero(~self._filled[:width])] = -np.inf
        bests = products.reshape(len(queries), GROUP, groups).max(axis=1)
        bounds = np.partition(bests, groups - k, axis=1)[:, groups - k]
        hits = np.flatnonzero(products >= bounds[:, None])
        if len(hits) > 4 * k * len(queries):  # hosts of equal scores, or of clear rows
            return self._by_faiss(queries, k)
        found, values = hits // width, products.ravel()[hits]
        order = np.lexsort((-values, found))
        counts = np.bincount(found, minlength=len(queries))
        starts = np.cumsum(counts) - counts
        chosen = order[starts[:, None] + np.arange(k)]
        return values[chosen], hits[chosen] % width

    def _make_room(self, rows: int) -> None:
        if rows > len(self._filled):
            more = max(rows - len(self._filled), GROWTH, len(self._filled) // 4)
            more = -(-more // GROUP) * GROUP
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
