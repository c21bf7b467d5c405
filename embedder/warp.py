"""An affine look at a part of a picture: what OpenCV's ``warpAffine`` does, without its two weaknesses.

It reads single pixels however much it shrinks, so that fine detail turns into noise; and it refuses a picture with
a side of 32,767 pixels or more.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST = 2**15 - 2
"""The longest side in pixels that OpenCV warps."""


def moved(points: NDArray[np.floating], matrix: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
    """Where ``matrix`` (2, 3) takes ``points`` (n, 2)."""
    found: NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
    return found


def turned(turn: float, zoom: float) -> NDArray[np.float64]:
    """The matrix (2, 2) that turns by ``turn`` radians, clockwise in a picture, and zooms."""
    matrix: NDArray[np.float64] = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return matrix


def warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The (height, width) = ``size`` view of ``image`` (H, W, 3), black outside of it.

    ``matrix`` (2, 3) takes picture coordinates to those of the view, by rotation, scale and shift.  When the view
    is smaller than half, the part that it shows is first reduced by whole steps.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    steps = int(np.floor(1 / scale)) if scale > 0 else 1
    if steps >= 2 or max(image.shape[:2]) > LONGEST:
        image, matrix = _reduced(image, matrix, size, max(1, steps))
    return np.asarray(cv2.warpAffine(image, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR), np.uint8)


def _reduced(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], steps: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of the picture that ``matrix`` looks at, ``steps`` times smaller, and the matrix that fits it."""
    extent = np.array([image.shape[1], image.shape[0]])
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [size[1], 0], [0, size[0]], [size[1], size[0]]], np.float64)
    seen = moved(corners, inverse)
    # At least one pixel is left, so that a look past the picture is black too.
    low = np.clip(np.floor(seen.min(axis=0)).astype(int) - steps, 0, extent - 1)
    high = np.clip(np.ceil(seen.max(axis=0)).astype(int) + steps, low + 1, extent)
    steps = min(steps, int((high - low).min()))
    width, height = ((high - low) // steps).tolist()
    region = image[low[1] : low[1] + height * steps, low[0] : low[0] + width * steps]
    small = np.asarray(cv2.resize(region, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    # A reduced pixel i covers steps pixels, whose middle is at i * steps + (steps - 1) / 2.
    shift = low + (steps - 1) / 2
    fitted = matrix.copy()
    fitted[:, 2] += matrix[:, :2] @ shift
    fitted[:, :2] *= steps
    return small, fitted
