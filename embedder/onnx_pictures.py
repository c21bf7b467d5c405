"""A network that takes pictures as its card says, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.cards import PictureCard
from embedder.detect import Image
from embedder.onnx_runtime import open_session
from ingest.errors import Corrupt


class PictureNetwork:
    """The weights in ``folder``, opened and held against ``card``; safe to use from several threads.

    It takes ``batch`` pictures at a time, and gives ``output``, or its first one.  Raises ``UsageError`` for weights
    that are missing, ``Corrupt`` for those that do not fit their card.
    """

    def __init__(self, folder: Path, card: PictureCard, batch: int = 1, output: str | None = None) -> None:
        self._card = card
        self._batch = batch
        self._outputs = None if output is None else [output]
        self._session = open_session(folder / card.file, card.sha256, {"batch": batch})
        wanted = [batch, 3, *card.input_size]
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        if list(inputs.get(card.input_name, [])) != wanted:
            message = f"{folder}: the model takes {inputs}, but its card says {card.input_name}: {wanted}"
            raise Corrupt(message)
        outputs = [value.name for value in self._session.get_outputs()]
        if output is not None and output not in outputs:
            message = f"{folder}: the model gives {outputs}, but its card says {output}"
            raise Corrupt(message)

    def __call__(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """What it gives for ``batch`` pictures (height, width, 3) uint8 BGR: (batch, …) float32."""
        card = self._card
        height, width = card.input_size
        blob = cv2.dnn.blobFromImages(
            pictures, 1 / card.std, (width, height), (card.mean,) * 3, swapRB=card.channels == "RGB"
        )
        return np.asarray(self._session.run(self._outputs, {card.input_name: blob})[0], np.float32)

    def of_nothing(self) -> NDArray[np.float32]:
        """What it gives for black pictures: to see how much that is."""
        return self([np.zeros((*self._card.input_size, 3), np.uint8)] * self._batch)
