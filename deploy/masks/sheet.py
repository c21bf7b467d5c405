"""All kinds of masks and occlusions on one picture, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from deploy.atomic import write_atomically
from deploy.masks.apply import Draughtsman, drawn_on
from deploy.masks.plan import Drawing
from deploy.settings import Settings
from embedder.detect import Image, Points
from embedder.synthetic_masks import MaskKind, OcclusionKind
from embedder.warp import warp
from ingest.claim_check import printable, read_file
from ingest.errors import BadRecord, UsageError
from ingest.images import decode

TILE, COLUMNS, CAPTION = 240, 6, 22
EYES = 58.0
"""Pixels between the eyes of a tile."""
WAYS = (*(Drawing(kind, None, 0) for kind in MaskKind), *(Drawing(None, kind, 0) for kind in OcclusionKind))


def write_sheet(source: Path, out: Path, settings: Settings, *, seed: int, rows: int) -> None:
    """Write the PNG ``out``: the face of ``source`` bare and with everything that there is, ``rows`` times anew.

    Raises ``UsageError`` for a picture that can't be read or has no face, and for an output that can't be written.
    """
    draughtsman = Draughtsman(settings)
    try:
        image = decode(read_file(source, settings.limits), settings.limits)
        upright, landmarks = _closer(image, draughtsman.landmarks(image))
    except BadRecord as error:
        message = f"{printable(source)}: {error.detail}"
        raise UsageError(message) from error
    tiles = list(_tiles(upright, landmarks, seed, rows))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    lines = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    _, png = cv2.imencode(".png", np.vstack(lines))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, png.tobytes())
    except OSError as error:
        message = f"{printable(out)} can't be written: {error.strerror}"
        raise UsageError(message) from error


def _closer(image: Image, landmarks: Points) -> tuple[Image, Points]:
    """The face in a square of ``TILE`` pixels, and where its landmarks lie there."""
    span = float(np.hypot(*(landmarks[1] - landmarks[0])))
    height = float(np.hypot(*(landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0))))
    scale = EYES / max(span, height / 1.13)
    shift = np.array([TILE / 2, TILE * 0.52]) - scale * landmarks.mean(axis=0)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return warp(image, matrix, (TILE, TILE)), (landmarks * np.float32(scale) + shift).astype(np.float32)


def _tiles(image: Image, landmarks: Points, seed: int, rows: int) -> Iterator[Image]:
    yield _captioned(image, "bare")
    for number in range(rows):
        for drawing in WAYS:
            drawn = drawn_on(image, landmarks, drawing._replace(seed=seed + number))
            kind = drawing.mask or drawing.occlusion
            yield _captioned(drawn, f"{kind} {seed + number}")


def _captioned(image: Image, text: str) -> Image:
    strip = np.full((CAPTION, TILE, 3), 255, np.uint8)
    cv2.putText(strip, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return np.asarray(np.vstack([image, strip]), np.uint8)
