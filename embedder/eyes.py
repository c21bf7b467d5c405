"""Where the eyes are in a picture: an upright square around each, the same of every face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedder.align import Matrix
from embedder.detect import Points

RIGHT, LEFT = 0, 1
"""The subject's eyes, as places among the five landmarks."""
SMALLEST = 12.0
"""A square of fewer pixels a side does not show whether an eye is open."""
FORESHORTENED = 0.78
"""Eye distances that the way from the eyes to the mouth is at least worth; it is about 0.87 of a face that looks ahead.

A head that turns aside brings its eyes together, not its eyes and mouth."""


def eye_distance(landmarks: Points | NDArray[np.floating]) -> float:
    """Pixels between the eyes of (5, 2) ``landmarks``, as they would be if the head looked ahead."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    apart = float(np.hypot(*(landmarks[LEFT] - landmarks[RIGHT])))
    return max(apart, FORESHORTENED * float(np.hypot(*(mouth - eyes))))


def eye_view(landmarks: Points | NDArray[np.floating], eye: int, side: float, size: tuple[int, int]) -> Matrix:
    """The transform from the picture to a view of (height, width) = ``size`` with ``eye`` in its middle.

    The eyes' axis lies level, and the view is ``side`` eye distances wide.
    """
    across = landmarks[LEFT] - landmarks[RIGHT]
    turn = across / max(float(np.hypot(*across)), 1e-6)
    scale = size[1] / max(side * eye_distance(landmarks), 1e-6)
    matrix = np.zeros((2, 3))
    matrix[:, :2] = scale * np.array([[turn[0], turn[1]], [-turn[1], turn[0]]])
    matrix[:, 2] = np.array([size[1], size[0]]) / 2 - matrix[:, :2] @ landmarks[eye]
    return matrix
