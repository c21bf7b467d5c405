"""The people of a folder: one sub-folder each, or files ``<person>_<number>.jpg`` side by side."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedder.detect import Detector, Points
from embedder.quality import main_face
from ingest.claim_check import read_file
from ingest.errors import BadRecord, UsageError
from ingest.images import decode
from ingest.limits import DEFAULT_LIMITS

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
MOST_PORTRAITS = 3
"""Pictures of one person that are looked at."""
MOST_FILES = 200_000
SMALLEST_EYE_DISTANCE = 16.0
"""Pixels; a smaller face can't be shown at a machine."""
STEEPEST_YAW = 0.4
"""The nose's offset from the middle of the eyes, in eye distances: a profile can't be turned any further."""
_NUMBERED = re.compile(r"(.+?)[_-]\d+")


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture of one person: ``landmarks`` (5, 2) float32 in its pixels."""

    path: Path
    landmarks: Points


def list_people(faces: Path, most: int) -> dict[str, list[Path]]:
    """The pictures of each of the first ``most`` people, both in the order of their names.

    Sub-folders are people where there are any, else files are.  Raises ``UsageError`` when the folder can't be
    read or holds none.
    """
    try:
        entries = sorted(faces.iterdir())[:MOST_FILES]
    except OSError as error:
        message = f"{faces}: can't be read: {error.strerror}"
        raise UsageError(message) from error
    people: dict[str, list[Path]] = defaultdict(list)
    for folder in (entry for entry in entries if entry.is_dir() and _nameable(entry.name)):
        if pictures := [file for file in sorted(folder.iterdir()) if _is_picture(file)]:
            people[folder.name] = pictures
    if not people:
        for file in (entry for entry in entries if _is_picture(entry) and _nameable(entry.name)):
            numbered = _NUMBERED.fullmatch(file.stem)
            people[numbered.group(1) if numbered else file.stem].append(file)
    if not people:
        message = f"{faces}: holds neither sub-folders with pictures, nor pictures <person>_<number>.jpg"
        raise UsageError(message)
    return {person: people[person][:MOST_PORTRAITS] for person in sorted(people)[:most]}


def read_portrait(path: Path, detector: Detector) -> Portrait | None:
    """The picture's main face; None when it can't be read or shows none that is large enough and looks ahead."""
    try:
        image = decode(read_file(path, DEFAULT_LIMITS), DEFAULT_LIMITS)
    except BadRecord:
        return None
    found = detector.detect(image)
    if not found:
        return None
    face = detector.refined(image, found[main_face(found, image.shape)])
    right, left, nose = face.landmarks[:3].astype(np.float64)
    span = float(np.hypot(*(left - right)))
    if span < SMALLEST_EYE_DISTANCE:
        return None
    yaw = abs(float((nose - (right + left) / 2) @ (left - right))) / span**2
    return Portrait(path, face.landmarks) if yaw <= STEEPEST_YAW else None


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _nameable(name: str) -> bool:
    """Whether ``name`` can stand in a text file."""
    return not name.startswith(".") and name.isprintable()
