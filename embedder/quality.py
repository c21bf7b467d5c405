"""How well a face can be compared, and the gate that names what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.detect import Face, Image, detail
from embedder.records import Quality
from ingest.errors import BadRecord
from ingest.reasons import Reason


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Limits below which a picture is not compared.  Lenient: a weak picture costs a split, a refused one a use.

    ``eye_distance`` in pixels, ``sharpness`` the Laplacian's variance of the aligned eye region, ``yaw`` in eye
    distances; ``detail`` is that of a whole picture below which it counts as obscured.
    """

    eye_distance: float = 12.0
    sharpness: float = 6.0
    contrast: float = 4.0
    yaw: float = 0.75
    detail: float = 8.0
    max_faces: int = 12


def main_face(faces: Sequence[Face], shape: tuple[int, ...]) -> int:
    """The index of the largest and most central face of a picture of ``shape``: the person at the machine."""
    height, width = shape[:2]

    def prominence(face: Face) -> float:
        middle = face.box[:2] + face.box[2:] / 2
        off_centre = float(np.hypot(middle[0] / width - 0.5, middle[1] / height - 0.5))
        return float(face.box[2] * face.box[3]) * max(0.0, 1 - off_centre) ** 2

    return max(range(len(faces)), key=lambda i: prominence(faces[i]))


def check_faces(faces: Sequence[Face], image: Image, options: GateOptions) -> None:
    """Raise ``BadRecord`` when a picture has no face (and whether that is the camera's fault) or too many."""
    if not faces:
        seen = detail(image)
        if seen < options.detail:
            raise BadRecord(Reason.CAMERA_OBSCURED, f"The picture has hardly any detail (deviation {seen:.1f}).")
        raise BadRecord(Reason.NO_FACE, Reason.NO_FACE.sentence)
    if len(faces) > options.max_faces:
        raise BadRecord(
            Reason.TOO_MANY_FACES,
            f"{len(faces)} faces, more than {options.max_faces}: no one is at the machine.",
        )


def measure(face: Face, eyes: NDArray[np.uint8]) -> Quality:
    """The quality of ``face``, whose aligned grey eye region is ``eyes`` (h, w)."""
    right, left, nose = face.landmarks[0], face.landmarks[1], face.landmarks[2]
    across = left - right
    distance = float(np.hypot(*across))
    axis = across / max(distance, 1e-6)
    yaw = float(((nose - (right + left) / 2) @ axis) / max(distance, 1e-6))
    sharpness = float(cv2.Laplacian(eyes, cv2.CV_32F).var())
    contrast = float(eyes.std())
    brightness = float(eyes.mean())
    parts = (
        min(1.0, distance / 40),
        min(1.0, sharpness / 150),
        min(1.0, contrast / 30),
        max(0.0, 1 - abs(yaw)),
        face.score,
    )
    return Quality(
        eye_distance_px=round(distance, 2),
        sharpness=round(sharpness, 2),
        brightness=round(brightness, 2),
        contrast=round(contrast, 2),
        yaw=round(yaw, 3),
        detection=round(face.score, 4),
        score=round(float(np.prod(parts)) ** (1 / len(parts)), 4),
    )


def check_quality(quality: Quality, options: GateOptions) -> None:
    """Raise ``BadRecord`` with the first reason for which a face can't be compared."""
    if quality.eye_distance_px < options.eye_distance:
        raise BadRecord(
            Reason.FACE_TOO_SMALL,
            f"The eyes are {quality.eye_distance_px:.0f} pixels apart; {options.eye_distance:.0f} are needed.",
        )
    if abs(quality.yaw) > options.yaw:
        raise BadRecord(Reason.EXTREME_POSE, Reason.EXTREME_POSE.sentence)
    if quality.contrast < options.contrast:
        raise BadRecord(Reason.CAMERA_OBSCURED, f"The eye region has no contrast (deviation {quality.contrast:.1f}).")
    if quality.sharpness < options.sharpness:
        raise BadRecord(
            Reason.BLURRED,
            f"The eye region's sharpness is {quality.sharpness:.1f}; {options.sharpness:.0f} is needed.",
        )
