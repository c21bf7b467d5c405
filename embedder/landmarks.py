"""Landmarks to a part of a pixel, under a mask too.

The detector finds a masked face, but not its landmarks: what the mask covers it guesses, and the eyes are off by a
tenth of their distance, in one face of ten by a fifth.  A face aligned so askew is another one to a template model.
A small network looks at the face as it would be aligned by these landmarks, and says where they are really; it has
learnt that from bare faces with masks drawn onto them.  Shifted and turned as it sees fit, a second look is better
still (cascaded regression: Dollár, Welinder & Perona, "Cascaded pose regression", CVPR 2010).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from embedder.align import similarity
from embedder.cards import load_landmark_card
from embedder.detect import Face, Image, Points
from embedder.onnx_pictures import PictureNetwork
from embedder.warp import moved, warp
from ingest.errors import Corrupt

FARTHEST = 0.75
"""In eye distances: a landmark that would move further was none, and is left where it was."""
SMALLEST = 2.0
"""Pixels between the eyes below which there is nothing to look at."""


class Placer(Protocol):
    """Looks at a face again, and places its landmarks better."""

    def refined(self, image: Image, face: Face) -> Face:
        """The face with other landmarks; the same face where a second look says nothing."""
        ...


class Landmarker:
    """A landmark model's folder (``card.json`` beside the weights), loaded and checked; several threads may use it.

    Raises ``UsageError`` for a card that does not validate, ``Corrupt`` for weights that do not fit their card.
    """

    def __init__(self, folder: Path) -> None:
        self.card = card = load_landmark_card(folder)
        self._network = PictureNetwork(folder, card, output=card.output)
        self._template = np.array(card.template, np.float64)
        self._weights = np.array(card.landmark_weights, np.float64)
        given = self._network.of_nothing().size
        if given != self._template.size:
            message = f"{folder}: the model gives {given} numbers, and five landmarks have {self._template.size}"
            raise Corrupt(message)

    def refined(self, image: Image, face: Face) -> Face:
        """The face with landmarks placed in an (H, W, 3) uint8 BGR upright picture."""
        apart = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
        if not apart >= SMALLEST:
            return face
        points = face.landmarks
        for _ in range(self.card.looks):
            points = self._placed(image, points)
        if not np.abs(points - face.landmarks).max() <= FARTHEST * apart:
            return face
        return Face(face.box, points, face.score)

    def _placed(self, image: Image, landmarks: Points) -> Points:
        matrix = similarity(landmarks, self._template, self._weights)
        view = warp(image, matrix, self.card.input_size)
        found = self._template + self._network([view]).reshape(-1, 2)
        return moved(found, cv2.invertAffineTransform(matrix)).astype(np.float32)
