"""What every template model can do, whichever runtime or weights are behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedder.cards import ModelCard
from embedder.detect import Image


class VectorModel(Protocol):
    """Turns an aligned face into a template.  Implementations may be called from several threads at once."""

    @property
    def card(self) -> ModelCard:
        """How to prepare the input and read the scores."""
        ...

    def embed(self, aligned: Image) -> NDArray[np.float32]:
        """The (dim,) float32 L2-normalised template of a (height, width, 3) uint8 BGR aligned face.

        The same pixels always give the same bytes: pictures are embedded one by one, because a batch's size
        changes a result's last bits.
        """
        ...
