"""Nearest templates: one small protocol, whole numbers behind it, and a NumPy oracle that says what is right."""

from __future__ import annotations

from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from clustering.codes import NONE, ProbeCodes, Product, Scores, TemplateCodes, Vectors, scores, template_codes, whole

Rows = NDArray[np.int64]
NOTHING = -(2**30)
"""The score of no row at all: less than any, and its opposite is a number too."""
GROWTH = 4096
"""Rows are made room for so many at a time, at least."""
GROUP = 16
"""Rows of whose scores only the best is looked at when a first bound is sought."""
SAMPLE = 3
"""Groups of rows, for each row wanted, that the first bound is taken from."""
PRODUCTS = 1 << 20
"""Scores held at a time: 4 MB, which stay in the processor's cache."""
MERGE = 2
"""As soon as so many times the rows wanted have come up, the bound is drawn tighter."""
TIES = 32
"""More candidates than so many times the rows wanted are no accident: many rows are alike, or clear."""


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
    """Exact search over rows of memory, by FAISS while there are few or too many are alike.

    The codes of many rows are multiplied by ONNX Runtime, in a quarter of the time that NumPy's BLAS takes for
    float32, and FAISS's longer still.  A row is written in place, where a FAISS index moves all of itself to
    remove one.  A clear row is all zeros, so its score is 0; only rows marked as filled are given out.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._filled = np.zeros(0, np.bool_)
        self._memory = np.zeros((0, dim), np.float32)
        self._codes = _clear(0, dim)
        self._reach = 0
        self._product = Product()
        self._spare: list[Scores] = []

    def __len__(self) -> int:
        return len(self._filled)

    def put(self, rows: Rows, vectors: Vectors) -> None:
        _check(rows, vectors, self.dim)
        if rows.size:
            reach = int(rows.max()) + 1
            if reach > len(self._filled):
                self._make_room(reach)
            self._memory[rows] = vectors
            self._codes[rows] = template_codes(vectors)
            self._filled[rows] = True
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
        codes, filled = self._codes[:reach], self._filled[:reach].copy()
        found, rows = _nothing(len(probes), k)
        most = min(k, int(filled.sum()))
        if not (most and len(probes)):
            return found, rows
        sample = SAMPLE * GROUP * most
        by_product = sample < reach and sample <= PRODUCTS
        some = PRODUCTS // sample if by_product else len(probes)
        for start in range(0, len(probes), some):
            part = slice(start, start + some)
            best = self._by_product(probes[part], codes, filled, most) if by_product else None
            found[part, :most], rows[part, :most] = best or _by_faiss(probes[part], codes, filled, most)
        return found, rows

    def _by_product(
        self, probes: ProbeCodes, codes: TemplateCodes, filled: NDArray[np.bool_], k: int
    ) -> tuple[Scores, Rows] | None:
        """The best rows out of all scores, a stripe of rows at a time; None where too many are alike.

        To sort all scores would take longer than to compute them.  The ``k``-th best so far is a bound below which
        nothing more is of use, and next to all scores are; the first bound is that of a sample of the rows.
        """
        count = len(probes)
        space = self._spare.pop() if self._spare else np.empty(PRODUCTS, np.int32)
        best, bounds = _nothing(count, k), np.zeros(0, np.int32)
        clear = np.flatnonzero(~filled)
        stripe = PRODUCTS // count
        waiting: list[tuple[Scores, Rows]] = []
        hit = waits = 0
        across = np.ascontiguousarray(probes.T)
        for start in range(0, len(codes), stripe):
            part = codes[start : start + stripe]
            products = space[: len(part) * count].reshape(len(part), count)
            self._product(part, across, products)
            products[clear[(clear >= start) & (clear < start + stripe)] - start] = NOTHING
            bounds = bounds if start else _sampled_bounds(products, k)
            hits = np.flatnonzero(products >= bounds)
            waiting.append((products.ravel()[hits], hits + start * count))
            hit, waits = hit + len(hits), waits + len(hits)
            if hit > TIES * k * count:
                return None
            if waits >= MERGE * k * count or start + stripe >= len(codes):
                values, places = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
                best = _merged(best, values, *np.divmod(places, count))
                bounds = best[0].min(axis=1)
                waiting, waits = [], 0
        self._spare[:] = [space]  # kept, because new memory costs as much as half of the product
        order = np.argsort(-best[0], axis=1, kind="stable")
        return np.take_along_axis(best[0], order, axis=1), np.take_along_axis(best[1], order, axis=1)

    def _make_room(self, rows: int) -> None:
        more = max(rows - len(self._filled), GROWTH, len(self._filled) // 4)
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


def _sampled_bounds(products: Scores, k: int) -> Scores:
    """For each column of ``products`` (n, q), what ``k`` of it at least reach."""
    groups = SAMPLE * k
    bests = products[: groups * GROUP].reshape(GROUP, groups, -1).max(axis=0)
    bounds: Scores = np.partition(bests, groups - k, axis=0)[groups - k]
    return bounds


def _merged(best: tuple[Scores, Rows], values: Scores, rows: Rows, places: Rows) -> tuple[Scores, Rows]:
    """The ``best`` (q, k) after ``values`` of ``rows`` have come to the probes at ``places``; in no order."""
    probes, k = best[0].shape
    counts = np.bincount(places, minlength=probes)
    order = np.argsort(places.astype(np.uint16 if probes < 1 << 16 else np.int64), kind="stable")
    sorted_places = places[order]
    columns = k + np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    all_values, all_rows = _nothing(probes, k + int(counts.max()))
    all_values[:, :k], all_rows[:, :k] = best
    all_values[sorted_places, columns], all_rows[sorted_places, columns] = values[order], rows[order]
    chosen = np.argpartition(-all_values, k - 1, axis=1)[:, :k]
    return np.take_along_axis(all_values, chosen, axis=1), np.take_along_axis(all_rows, chosen, axis=1)


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
