"""Which prepared faces are of use in training: those whose eyes are where the alignment should have put them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedder.cards import ModelCard
from embedder.training.pool import MARGIN, Pool

ASKEW = 8.0
"""A face whose eyes lie this many pixels or more from where they should is turned away, or none at all."""


def straight(pool: Pool, card: ModelCard) -> NDArray[np.int64]:
    """The rows of ``pool`` that are of use; ``card`` is that of the template model that it was prepared with."""
    template = np.array(card.template, np.float32) + MARGIN
    off = np.abs(pool.landmarks[:, :2] - template[:2]).max(axis=(1, 2), initial=0)
    return np.flatnonzero(off < ASKEW)
