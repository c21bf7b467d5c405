"""Landmarks to a part of a pixel, under a mask too.

The detector finds a masked face, but not its landmarks: what the mask covers it guesses, and the eyes are off by a
tenth of their distance, in one face of ten by a fifth.  A face aligned so askew is another one to a template model.
A small network looks at the face as it would be aligned by these landmarks, and says where they are really; it has
learnt that from bare faces with masks drawn onto them.  Shifted and turned as it sees fit, a second look is better
still (cascaded regression: Dollár, Welinder & Perona, "Cascaded pose regression", CVPR 2010).

Where the looks do not come to rest, the detector was wrong about more than the network can mend, as when it took a brow
for an eye.  Then it begins anew from many places, and what most of them lead to is taken (smart restarts:
Burgos-Artizzu, Perona & Dollár, "Robust face landmark estimation under occlusion", ICCV 2013).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.align import similarity
from embedder.cards import load_landmark_card
from embedder.detect import Face, Image, Points
from embedder.onnx_pictures import PictureNetwork
from embedder.warp import moved, turned, warp
from ingest.errors import Corrupt

STILL = 0.03
"""In eye distances, as all that follow: a look that moves no landmark further is the last one."""
LOST = 0.06
"""Where the last look still moves a landmark further, it is not to be believed."""
FARTHEST = 0.75
"""Nor is it where a landmark ends further from where the detector had it."""
ALIKE = 0.1
"""Landmarks whose mean distance is less are those of one face."""
ENOUGH = 4
"""So many of the new beginnings must lead to one face, or nothing is known of it."""
SMALLEST = 2.0
"""Pixels between the eyes below which there is nothing to look at."""
IN_BOX = np.array([[0.27, 0.395], [0.73, 0.395], [0.5, 0.62], [0.31, 0.785], [0.69, 0.785]])
"""Where landmarks mostly are in the detector's box, in parts of it."""
BEGINNINGS = (
    *[(1.0, 0.0, 0.0), (0.75, 0.0, 0.0), (1.3, 0.0, 0.0), (1.0, 0.3, 0.0), (1.0, -0.3, 0.0)],
    *[(1.0, 0.0, 0.3), (1.0, 0.0, -0.3)],
)
"""How each new beginning is zoomed, turned (radians) and moved down."""


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
        if not _apart(face.landmarks) >= SMALLEST:
            return face
        points, step = self._looked(image, face.landmarks)
        if step <= LOST and _moved_by(points, face.landmarks) <= FARTHEST:
            return Face(face.box, points, face.score)
        agreed = _agreed([self._looked(image, begun)[0] for begun in _beginnings(face)])
        return face if agreed is None else Face(face.box, agreed, face.score)

    def _looked(self, image: Image, points: Points) -> tuple[Points, float]:
        """Where the landmarks are after all looks, and how far the last one moved any, if there were several."""
        step = 0.0
        for look in range(self.card.looks):
            before, points = points, self._placed(image, points)
            step = _moved_by(points, before) if look else 0.0
            if look and step <= STILL:
                break
        return points, step

    def _placed(self, image: Image, landmarks: Points) -> Points:
        matrix = similarity(landmarks, self._template, self._weights)
        view = warp(image, matrix, self.card.input_size)
        found = self._template + self._network([view]).reshape(-1, 2)
        return moved(found, cv2.invertAffineTransform(matrix)).astype(np.float32)


def _beginnings(face: Face) -> Iterator[Points]:
    """The face's own landmarks, and where they mostly are in its box, each as it is and otherwise."""
    for points in (face.landmarks.astype(np.float64), face.box[:2] + IN_BOX * face.box[2:]):
        middle, apart = points.mean(axis=0), _apart(points)
        for zoom, turn, down in BEGINNINGS:
            yield ((points - middle) @ turned(turn, zoom).T + middle + [0, down * apart]).astype(np.float32)


def _agreed(found: Sequence[Points]) -> Points | None:
    """The mean of the most of ``found`` that are one face; None where these are too few."""
    every = np.stack(found).astype(np.float64)
    apart = float(np.median([_apart(points) for points in every]))
    alike = np.linalg.norm(every[:, None] - every, axis=3).mean(axis=2) < ALIKE * apart
    most = int(alike.sum(axis=1).argmax())
    return every[alike[most]].mean(axis=0).astype(np.float32) if alike[most].sum() >= ENOUGH else None


def _apart(points: NDArray[np.floating]) -> float:
    """The distance between the eyes in pixels."""
    return float(np.linalg.norm(points[1] - points[0]))


def _moved_by(points: Points, before: Points) -> float:
    """How far the landmark has moved that has moved most, in eye distances."""
    return float(np.abs(points - before).max()) / max(_apart(before), SMALLEST)
