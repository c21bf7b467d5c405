"""The ``VectorModel`` on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedder.cards import ModelCard, load_model_card
from embedder.detect import Image
from embedder.onnx_pictures import PictureNetwork
from ingest.errors import Corrupt


class OnnxModel:
    """A model folder (``card.json`` beside the weights), loaded and checked; safe to use from several threads.

    Raises ``UsageError`` for a card that does not validate, ``Corrupt`` for weights that do not fit their card.
    """

    def __init__(self, folder: Path) -> None:
        self._card = load_model_card(folder)
        self._network = PictureNetwork(folder, self._card)
        dim = self._network.of_nothing()[0].shape
        if dim != (self._card.dim,):
            message = f"{folder}: the model gives vectors of shape {dim}, but its card says {self._card.dim}"
            raise Corrupt(message)

    @property
    def card(self) -> ModelCard:
        return self._card

    def embed(self, aligned: Image) -> NDArray[np.float32]:
        vector = self._network([aligned])[0]
        norm = np.float32(max(float(np.linalg.norm(vector)), 1e-12))
        return np.asarray(vector / norm, np.float32)
