"""The ``VectorModel`` on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.cards import ModelCard, load_model_card
from embedder.detect import Image
from embedder.onnx_runtime import open_session
from ingest.errors import Corrupt


class OnnxModel:
    """A model folder (``card.json`` beside the weights), loaded and checked; safe to use from several threads.

    Raises ``UsageError`` for a card that does not validate, ``Corrupt`` for weights that do not fit their card.
    """

    def __init__(self, folder: Path) -> None:
        self._card = load_model_card(folder)
        self._session = open_session(folder / self._card.file, self._card.sha256, {"batch": 1})
        wanted = [1, 3, *self._card.input_size]
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        if list(inputs.get(self._card.input_name, [])) != wanted:
            message = f"{folder}: the model takes {inputs}, but its card says {self._card.input_name}: {wanted}"
            raise Corrupt(message)
        dim = self.embed(np.zeros((*self._card.input_size, 3), np.uint8)).shape
        if dim != (self._card.dim,):
            message = f"{folder}: the model gives vectors of shape {dim}, but its card says {self._card.dim}"
            raise Corrupt(message)

    @property
    def card(self) -> ModelCard:
        return self._card

    def embed(self, aligned: Image) -> NDArray[np.float32]:
        card = self._card
        height, width = card.input_size
        blob = cv2.dnn.blobFromImage(
            aligned, 1 / card.std, (width, height), (card.mean,) * 3, swapRB=card.channels == "RGB"
        )
        vector = np.asarray(self._session.run(None, {card.input_name: blob})[0], np.float32)[0]
        norm = np.float32(max(float(np.linalg.norm(vector)), 1e-12))
        return np.asarray(vector / norm, np.float32)
