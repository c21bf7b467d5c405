"""From a picture and landmarks to the upright, scaled face that a model expects.

A mask covers the mouth and part of the nose: the detector then guesses those points, and an alignment that
trusts all five alike is pulled askew by the guess.  So each landmark has a weight, the eyes carry most of it, and
a masked and a bare picture of one person come out alike.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image, Points

Matrix = NDArray[np.float64]
"""(2, 3) affine transform that takes picture coordinates to aligned ones."""


def similarity(source: NDArray[np.floating], target: NDArray[np.floating], weights: NDArray[np.floating]) -> Matrix:
    """The rotation, scale and shift that brings ``source`` (n, 2) nearest to ``target`` (n, 2).

    Least squares with a weight per point, without reflection: the planar case of Umeyama, "Least-squares
    estimation of transformation parameters between two point patterns", PAMI 13(4), 1991, in complex numbers.
    """
    w = weights / weights.sum()
    z = source[:, 0] + 1j * source[:, 1]
    t = target[:, 0] + 1j * target[:, 1]
    z0, t0 = (w * z).sum(), (w * t).sum()
    spread = (w * np.abs(z - z0) ** 2).sum()
    turn = (w * np.conj(z - z0) * (t - t0)).sum() / max(float(spread), 1e-12)
    shift = t0 - turn * z0
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align(
    image: Image, landmarks: Points, template: Points, weights: NDArray[np.float64], size: tuple[int, int]
) -> Image:
    """The aligned face, ``size`` = (height, width), uint8 BGR; outside of the picture it is black.

    When the face shrinks by more than two, the picture's region is first reduced by whole steps, so that no
    fine detail turns into noise.
    """
    matrix = similarity(landmarks, template, weights)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    steps = int(np.floor(1 / scale)) if scale > 0 else 1
    if steps >= 2:
        image, matrix = _reduced(image, matrix, size, steps)
    warped = cv2.warpAffine(image, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


def _reduced(image: Image, matrix: Matrix, size: tuple[int, int], steps: int) -> tuple[Image, Matrix]:
    """The part of the picture that ``matrix`` looks at, ``steps`` times smaller, and the matrix that fits it."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [size[1], 0], [0, size[0]], [size[1], size[0]]], np.float64)
    seen = corners @ inverse[:, :2].T + inverse[:, 2]
    low = np.maximum(np.floor(seen.min(axis=0)).astype(int) - steps, 0)
    high = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + steps, (image.shape[1], image.shape[0]))
    if np.any(high - low < 2 * steps):
        return image, matrix
    width, height = ((high - low) // steps).tolist()
    region = image[low[1] : low[1] + height * steps, low[0] : low[0] + width * steps]
    small = np.asarray(cv2.resize(region, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    # A reduced pixel i covers steps pixels, whose middle is at i * steps + (steps - 1) / 2.
    shift = low + (steps - 1) / 2
    fitted = matrix.copy()
    fitted[:, 2] += matrix[:, :2] @ shift
    fitted[:, :2] *= steps
    return small, fitted
