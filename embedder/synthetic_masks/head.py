"""A plain head in three dimensions, and how it stands in a picture by its five landmarks.

Head coordinates are in eye distances, the origin between the eyes: x to the right of the picture, y down, z
towards the camera.  Proportions are rounded adult means (Farkas, "Anthropometry of the Head and Face", 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOSE_DROP, NOSE_DEPTH = 0.6, 0.5
"""The nose tip below the eyes, and in front of them."""
MOUTH_DROP, MOUTH_DEPTH = 1.13, 0.12
"""The mouth corners, likewise."""
EAR_DEPTH = -1.15
"""The ears behind the eyes."""
STEEPEST_YAW, STEEPEST_PITCH = np.radians(66), np.radians(28)
PITCH_TRUST = 0.75
"""Noses differ in length: only so much of what looks like pitch is taken for it."""
SMALLEST_EYE_DISTANCE = 4.0
"""Pixels below which landmarks are no ground to draw on."""

COLUMNS, ROWS = 37, 25
"""Points of the head's surface, from ear to ear and from above the brows to below the neck."""
ANGLES: Floats = np.radians(np.linspace(-86, 86, COLUMNS))
"""Of the columns, about the upright axis through the head: 0 is the middle of the face."""
HEIGHTS: Floats = np.linspace(-0.3, 3.1, ROWS)
"""Of the rows: y."""


@dataclass(frozen=True, slots=True)
class Pose:
    """A scaled orthographic view: ``matrix`` (2, 3) and ``origin`` (2,) take head coordinates to pixels.

    ``yaw`` in radians is positive when the nose points to the right of the picture, ``pitch`` when it points down;
    ``unit`` is the eye distance in pixels that the head would have looking ahead; ``upright`` (2, 2) takes
    directions in the picture to the head's own right and down.
    """

    matrix: Floats
    origin: Floats
    yaw: float
    pitch: float
    unit: float
    upright: Floats

    def project(self, points: Floats) -> Floats:
        """(..., 3) head coordinates to (..., 2) pixels."""
        return np.asarray(points @ self.matrix.T + self.origin)

    def towards(self) -> Floats:
        """(3,) the direction from the head to the camera, in head coordinates."""
        across = np.cos(self.pitch)
        return np.array([-np.sin(self.yaw) * across, -np.sin(self.pitch), np.cos(self.yaw) * across])


def fit_pose(landmarks: NDArray[np.floating]) -> Pose:
    """The view of the head whose eyes, nose and mouth fall on ``landmarks`` (5, 2): roll, yaw, pitch, size, length.

    The nose's way out of the line from between the eyes to the middle of the mouth gives the yaw, its place along
    that line the pitch.  Raises ``ValueError`` for landmarks of another shape, that are not finite, or with eyes
    less than ``SMALLEST_EYE_DISTANCE`` pixels apart.
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
    upright = np.array([right, [-right[1], right[0]]])
    origin = (points[0] + points[1]) / 2
    nose, mouth = upright @ (points[2] - origin), upright @ ((points[3] + points[4]) / 2 - origin)
    along = min(max(nose[1] / max(mouth[1], 1e-6), 0.0), 1.0)
    out = (nose[0] - along * mouth[0]) / (NOSE_DEPTH - along * MOUTH_DEPTH)
    yaw = min(max(float(np.arctan2(out, span)), -STEEPEST_YAW), STEEPEST_YAW)
    sine, cosine = np.sin(yaw), np.cos(yaw)
    unit = span / cosine
    # Seen almost from the side, the nose may stand out by more than any turn explains.
    forward = min(max(1.08 * float(out) / (unit * sine), 1.0), 2.2) if abs(yaw) == STEEPEST_YAW else 1.0
    slope = (MOUTH_DROP * along - NOSE_DROP) / (cosine * (NOSE_DEPTH - MOUTH_DEPTH * along))
    pitch = PITCH_TRUST * min(max(float(np.arctan(slope)), -STEEPEST_PITCH), STEEPEST_PITCH)
    dip, level = np.sin(pitch), np.cos(pitch)
    length = (mouth[1] - unit * MOUTH_DEPTH * cosine * dip) / (MOUTH_DROP * level)
    length = min(max(length, 0.72 * unit), 1.35 * unit)
    lean = min(max((mouth[0] - unit * MOUTH_DEPTH * sine) / (MOUTH_DROP * unit), -0.25), 0.25)
    view = np.array([[unit * cosine, unit * lean, forward * unit * sine], [0, length * level, unit * cosine * dip]])
    return Pose(upright.T @ view, origin, yaw, pitch, unit, upright)


@lru_cache(maxsize=16)
def surface(tent: float) -> tuple[Floats, Floats]:
    """The face under a cloth: points (ROWS, COLUMNS, 3) and their unit normals, likewise.

    ``tent`` is by how much of a nose's height nose and lips lift the cloth: 1 as they are.  Below the chin the
    surface goes back to the neck.  Read-only.
    """
    y = HEIGHTS[:, None]
    width, front = _outline(y)
    x = width * np.sin(ANGLES)
    z = EAR_DEPTH + (front - EAR_DEPTH) * np.cos(ANGLES) ** 0.9
    lifted = np.interp(y, [-0.1, 0.2, 0.6, 1.1, 1.7, 2.0, 2.5], [0.02, 0.16, 0.43, 0.31, 0.18, 0.06, 0])
    wide = np.interp(y, [0.1, 0.6, 1.1, 1.8], [0.2, 0.34, 0.48, 0.6])
    z = z + tent * lifted * np.exp(-((x / wide) ** 2))
    points = np.stack([x, np.broadcast_to(y, x.shape), z], axis=-1)
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    points.flags.writeable = normal.flags.writeable = False
    return points, normal


def on_surface(angles: Floats, y: Floats, out: float) -> Floats:
    """(..., 3) points of the face without its nose, at ``angles`` and heights ``y`` (...), ``out`` times as wide."""
    width, front = _outline(y)
    z = EAR_DEPTH + (front - EAR_DEPTH) * np.cos(angles) ** 0.9
    return np.stack([out * width * np.sin(angles), y, z], axis=-1)


def _outline(y: Floats) -> tuple[Floats, Floats]:
    """Half the width of the face at heights ``y``, and how far it comes forward without nose and lips."""
    width = np.interp(y, [-0.3, 0.5, 1.0, 1.4, 1.8, 2.1, 2.6, 3.1], [1.05, 1.07, 1.03, 0.94, 0.77, 0.63, 0.57, 0.62])
    front = np.interp(y, [-0.3, 0.1, 0.6, 1.6, 1.85, 2.1, 2.4, 3.1], [0.1, 0.04, 0.1, 0.14, 0.1, -0.12, -0.45, -0.5])
    return width, front
