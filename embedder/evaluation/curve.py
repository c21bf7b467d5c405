"""Error rates over all thresholds, for drawing: the points of ROC and DET curves, and histograms of scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedder.comparisons import TemplateSet, genuine_scores, impostor_blocks
from embedder.pairs import PairRows

BINS = 2**13
"""Of equal width over cosines of -1 to 1."""


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """``genuine`` and ``impostor`` (BINS,) int64: how many scores lie in each bin."""

    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """(BINS + 1,) the bins' edges, rising."""
        return np.linspace(-1, 1, BINS + 1)

    @property
    def fmr(self) -> NDArray[np.float64]:
        """(BINS + 1,) the share of impostor scores at or above each edge."""
        return _from_above(self.impostor)

    @property
    def fnmr(self) -> NDArray[np.float64]:
        """(BINS + 1,) the share of genuine scores below each edge."""
        return 1 - _from_above(self.genuine)

    def histogram(self, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(bins + 1,) edges, and (bins,) densities of genuine and impostor scores; ``bins`` divides ``BINS``."""
        width = 2 / bins
        genuine, impostor = (
            counts.reshape(bins, -1).sum(axis=1) / max(1, counts.sum()) / width
            for counts in (self.genuine, self.impostor)
        )
        return np.linspace(-1, 1, bins + 1), genuine, impostor


def count_scores(probe: TemplateSet, gallery: TemplateSet | None = None, pairs: PairRows | None = None) -> ScoreCounts:
    """The scores of the pairs that ``verification`` compares, counted; needs 16 MB beside the genuine scores."""
    if pairs is None:
        genuine, blocks = genuine_scores(probe, gallery), impostor_blocks(probe, gallery)
        impostor = np.zeros(BINS, np.int64)
        for block in blocks:
            impostor += _counted(block)
        return ScoreCounts(_counted(genuine), impostor)
    second = probe if gallery is None else gallery
    scores = np.einsum("ij,ij->i", probe.templates[pairs.first], second.templates[pairs.second])
    return ScoreCounts(_counted(scores[pairs.genuine]), _counted(scores[~pairs.genuine]))


def _counted(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    bins = np.clip(((scores + np.float32(1)) * np.float32(BINS // 2)).astype(np.int32), 0, BINS - 1)
    return np.bincount(bins, minlength=BINS)


def _from_above(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])
    return np.asarray(above / max(1, counts.sum()))
