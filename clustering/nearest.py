"""The best templates of many faces out of a whole gallery, in one call of ONNX Runtime.

The gallery is gone through a stripe at a time, so that its products with all faces stay in the processor's cache, and
of each group of rows only the best product is kept.  The ``k`` best rows lie in the ``k`` best groups: a row outside of
them is outdone by one of each.  So only these groups are looked at again, row by row.  All of it is done outside of
Python: a thread that searches keeps nobody waiting, and waits for nobody.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clustering.codes import ProbeCodes, Scores, TemplateCodes
from embedder.onnx_runtime import open_session

GROUP = 8
"""Rows of which the best product is kept."""
STRIPE = 2048
"""Rows gone through at a time; their products with 256 faces are 2 MB."""
GRAPH = Path(__file__).with_name("nearest.onnx")
GRAPH_SHA256 = "2fdf99bab41719e06029aa2fb93db6d8fbff77d57f744e429d2de06343512282"
MOST = 1 << 22
"""Products of groups held at a time."""


class Nearest:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._session = open_session(GRAPH, GRAPH_SHA256, {})

    def __call__(self, templates: TemplateCodes, probes: ProbeCodes, k: int) -> tuple[Scores, NDArray[np.int64]]:
        """Scores and rows (q, k), best first, of the best of ``templates`` (n, dim) for each of ``probes`` (q, dim).

        ``n`` must be a multiple of ``STRIPE``, and ``k`` at most ``n // GROUP``.  Of rows that score alike, any.
        """
        stripes = templates.reshape(-1, STRIPE, templates.shape[1])
        some = max(1, MOST * GROUP // max(len(templates), k * GROUP * templates.shape[1]))
        parts = [
            self._session.run(["scores", "rows"], {"templates": stripes, "probes": part, "k": np.array([k])})
            for part in np.array_split(probes, range(some, len(probes), some))
        ]
        scores, rows = (np.concatenate(found) for found in zip(*parts, strict=True))
        return scores, rows
