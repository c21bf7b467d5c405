"""Pictures to test with: the bundled portraits, small, bare or masked, and how to encode and place them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from deploy.settings import model_folder
from deploy.simulator import FACES
from embedder.detect import Detector
from embedder.synthetic_masks import MaskKind, draw_mask

ALICE, ALICE_2, ALICE_3, BOB, CAROL = "person_a_1", "person_a_2", "person_a_3", "person_b_1", "person_c_1"
"""Three people; of the first there are three portraits."""

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


@cache
def portrait(name: str = ALICE, height: int = 320) -> Image.Image:
    """A bundled portrait in RGB.  Shared: copy it before you draw on it."""
    with Image.open(FACES / f"{name}.jpg") as picture:
        rgb = picture.convert("RGB")
    return rgb.resize((round(rgb.width * height / rgb.height), height), Image.Resampling.LANCZOS)


@cache
def masked(name: str = ALICE, kind: str = "surgical_blue", height: int = 320) -> Image.Image:
    """The portrait with a mask drawn onto it."""
    bgr = np.ascontiguousarray(np.asarray(portrait(name, height))[:, :, ::-1])
    face = Detector(model_folder("yunet")).detect(bgr)[0]
    return Image.fromarray(np.ascontiguousarray(draw_mask(bgr, face.landmarks, MaskKind(kind), 1)[:, :, ::-1]))


@cache
def nobody(height: int = 240) -> Image.Image:
    """A picture with plenty of detail and no face in it."""
    blocks = np.random.default_rng(5).integers(40, 216, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(blocks, (height * 4 // 3, height), interpolation=cv2.INTER_CUBIC))


@cache
def crowd(people: int = 20) -> Image.Image:
    """A picture with so many faces of one size, in rows of five."""
    face = portrait(ALICE, 130)
    rows = -(-people // 5)
    grid = Image.new("RGB", (face.width * 5, face.height * rows), "grey")
    for place in range(people):
        row, column = divmod(place, 5)
        grid.paste(face, (column * face.width, row * face.height))
    return grid


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """``picture`` as a file's bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def put(path: Path, content: bytes | Image.Image, at: datetime | None = None, *, exif: bool = False) -> Path:
    """Write a file that was changed at ``at``, or a JPEG that was taken then, says its Exif."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Image.Image):
        tags = Image.Exif()
        if exif and at is not None:
            tags[0x0132] = f"{at.astimezone(UTC):%Y:%m:%d %H:%M:%S}"
        content = encoded(content, quality=92, exif=tags)
    path.write_bytes(content)
    if at is not None:
        os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def after(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def manifest(folder: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A manifest.csv with the columns that any of ``rows`` has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"
