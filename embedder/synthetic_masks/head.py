"""A plain head in three dimensions, and how it stands in a picture by its five landmarks.

Head coordinates are in eye distances, the origin between the eyes: x to the right of the picture, y down, z
towards the camera.  Proportions are rounded adult means (Farkas, "Anthropometry of the Head and Face", 1994).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOSE_DEPTH = 0.5
MOUTH_DROP = 1.13
"""The mouth corners below the eyes."""
MOUTH_DEPTH = 0.12
STEEPEST_YAW = np.radians(50)
SMALLEST_EYE_DISTANCE = 4.0
"""Pixels below which landmarks are no ground to draw on."""


@dataclass(frozen=True, slots=True)
class Pose:
    """A scaled orthographic view: ``matrix`` (2, 3) and ``origin`` (2,) take head coordinates to pixels.

    ``yaw`` in radians is positive when the nose points to the right of the picture; ``unit`` is the eye distance
    in pixels that the head would have looking ahead.
    """

    matrix: Floats
    origin: Floats
    yaw: float
    unit: float

    def project(self, points: Floats) -> Floats:
        """(..., 3) head coordinates to (..., 2) pixels."""
        return np.asarray(points @ self.matrix.T + self.origin)

    def turned(self, directions: Floats) -> Floats:
        """(..., 3) directions of the head as the camera sees them: z is towards it."""
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
        return np.stack([x * cosine + z * sine, y, z * cosine - x * sine], axis=-1)


def fit_pose(landmarks: NDArray[np.floating]) -> Pose:
    """The view of the head whose eyes, nose and mouth fall on ``landmarks`` (5, 2): roll, yaw, size, face length.

    The nose's way out of the line from between the eyes to the middle of the mouth gives the yaw; pitch is not
    told apart from the face's length.  Raises ``ValueError`` for landmarks of another shape, that are not finite,
    or with eyes less than ``SMALLEST_EYE_DISTANCE`` pixels apart.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        message = f"landmarks must be a finite (5, 2) array, not one of shape {points.shape}"
        raise ValueError(message)
    across = points[1] - points[0]
    span = float(np.hypot(*across))
    if span < SMALLEST_EYE_DISTANCE:
        message = f"the eyes are {span:.1f} pixels apart; {SMALLEST_EYE_DISTANCE:g} are needed"
        raise ValueError(message)
    right = across / span
    upright = np.array([right, [-right[1], right[0]]])  # picture to head axes
    origin = (points[0] + points[1]) / 2
    nose, mouth = upright @ (points[2] - origin), upright @ (points[3:].mean(axis=0) - origin)
    length = float(np.clip(mouth[1] / MOUTH_DROP, 0.75 * span, 1.6 * span))
    along = np.clip(nose[1] / max(float(mouth[1]), 1e-6), 0, 1)
    out = (nose[0] - along * mouth[0]) / (NOSE_DEPTH - along * MOUTH_DEPTH)
    yaw = float(np.clip(np.arctan2(out, span), -STEEPEST_YAW, STEEPEST_YAW))
    unit = span / np.cos(yaw)
    length = float(np.clip(length, 0.75 * unit, 1.3 * unit))
    lean = float(np.clip((mouth[0] - unit * MOUTH_DEPTH * np.sin(yaw)) / (MOUTH_DROP * unit), -0.25, 0.25))
    view = np.array([[unit * np.cos(yaw), unit * lean, unit * np.sin(yaw)], [0, length, 0]])
    return Pose(upright.T @ view, origin, yaw, unit)
