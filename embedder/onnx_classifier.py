"""A classifier of small pictures on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedder.cards import load_classifier_card
from embedder.detect import Image
from embedder.onnx_pictures import PictureNetwork
from ingest.errors import Corrupt


class OnnxClassifier:
    """A classifier's folder (``card.json`` beside the weights), loaded and checked; safe to use from several threads.

    It takes ``batch`` pictures at a time.  Raises ``UsageError`` for a card that does not validate, ``Corrupt`` for
    weights that do not fit their card.
    """

    def __init__(self, folder: Path, batch: int = 1) -> None:
        self.card = card = load_classifier_card(folder)
        self.batch = batch
        self._network = PictureNetwork(folder, card, batch, card.output)
        found = self._network.of_nothing().shape
        if found != (batch, len(card.labels)):
            message = f"{folder}: the model gives {found[1:]} values, but its card names {len(card.labels)} labels"
            raise Corrupt(message)

    def probabilities(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """(n, labels) float32, in the order of the card's labels, of n (height, width, 3) uint8 BGR pictures.

        Any n will do: they are run ``batch`` at a time, the last ones filled up with nothing.
        """
        height, width = self.card.input_size
        filler = [np.zeros((height, width, 3), np.uint8)] * (-len(pictures) % self.batch)
        filled = [*pictures, *filler]
        logits = [self._network(filled[at : at + self.batch]) for at in range(0, len(filled), self.batch)]
        values = np.concatenate([np.empty((0, len(self.card.labels)), np.float32), *logits])[: len(pictures)]
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(values / values.sum(axis=1, keepdims=True), np.float32)
