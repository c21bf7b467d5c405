"""From a picture and landmarks to the upright, scaled face that a model expects.

A mask covers the mouth and part of the nose: the detector then guesses those points, and an alignment that
trusts all five alike is pulled askew by the guess.  So each landmark has a weight, the eyes carry most of it, and
a masked and a bare picture of one person come out alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image, Points
from embedder.warp import warp

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

    A face that shrinks by more than two is first reduced by whole steps, so that no fine detail turns into noise.
    """
    return warp(image, similarity(landmarks, template, weights), size)
