"""Closed-set identification: which of the known people a picture shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedder.comparisons import TemplateSet

RANKS = (1, 10, 20)
"""The k of ``recall_at``."""

BLOCK = 2**22
"""Scores computed at a time (16 MB)."""


def recall_at(
    probe: TemplateSet, gallery: TemplateSet | None = None, ranks: Sequence[int] = RANKS
) -> dict[str, float | None]:
    """How often one of the k gallery pictures most similar to a probe shows the same person.

    Without ``gallery`` the probes search each other; a picture never finds itself, under another mask neither.
    Every probe whose person has another picture in the gallery is a query; None when there is no query.  Ties
    count against: a stranger who is exactly as similar as the best mate ranks before it.  All probes by gallery
    scores are computed, ``BLOCK`` at a time.
    """
    second = probe if gallery is None else gallery
    hits, queries = np.zeros(len(ranks), np.int64), 0
    step = max(1, BLOCK // max(1, len(second.people)))
    for start in range(0, len(probe.people), step):
        rows = slice(start, start + step)
        scores = probe.templates[rows] @ second.templates.T
        same = probe.people[rows][:, None] == second.people[None, :]
        mates = same & np.not_equal(probe.images[rows][:, None], second.images[None, :], dtype=np.bool_)
        asked = mates.any(axis=1)
        best = np.max(scores, axis=1, where=mates, initial=-np.inf)
        before: NDArray[np.int64] = np.count_nonzero((scores >= best[:, None]) & ~same, axis=1)
        queries += int(asked.sum())
        hits += [np.count_nonzero((before < k) & asked) for k in ranks]
    return {str(k): int(hit) / queries if queries else None for k, hit in zip(ranks, hits, strict=True)}
