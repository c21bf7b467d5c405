"""Which pictures are drawn on, where they go, and what each gets.

What is drawn on a picture follows from the seed and from its path below the folder (and, for every second one, its
place among all): a run that ended early goes on to the same result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zlib import crc32

import numpy as np
from pydantic import BaseModel

from embedder.synthetic_masks import MaskKind, OcclusionKind
from ingest.claim_check import printable, unreadable
from ingest.errors import BadRecord, UsageError
from ingest.records import Rejection
from ingest.scan import PICTURE_SUFFIXES

NONE, RANDOM, HALF = "none", "random", "half"
KINDS = (NONE, *MaskKind, RANDOM, HALF)
OCCLUSIONS = (NONE, *OcclusionKind, RANDOM)
MOST = 1_000_000
"""Pictures of one run."""
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
STAGE = "masks"


class MaskOptions(BaseModel, frozen=True, extra="forbid"):
    """What to draw.

    ``kind`` is one of ``KINDS``: ``random`` chooses for each picture, ``half`` for every second one, and copies the
    others.  ``occlusion`` is one of ``OCCLUSIONS`` and comes to a share ``occluded`` of the pictures.
    ``per_person`` puts the same mask on all pictures of a folder.
    """

    kind: str = RANDOM
    occlusion: str = NONE
    occluded: float = 1.0
    seed: int = 1
    per_person: bool = False


class Drawing(NamedTuple):
    """What one picture gets; with neither mask nor occlusion it is copied."""

    mask: MaskKind | None
    occlusion: OcclusionKind | None
    seed: int


@dataclass(frozen=True, slots=True)
class Job:
    """A picture to be read, ``name`` as it is told to people, where it goes, and what it gets."""

    source: Path
    name: str
    target: Path
    drawing: Drawing

    @property
    def copied(self) -> bool:
        """Whether nothing is to be drawn."""
        return self.drawing.mask is None and self.drawing.occlusion is None


def drawing_of(path: str, number: int, options: MaskOptions) -> Drawing:
    """What the picture at ``path`` (below the folder, with slashes) gets, the ``number``-th of all."""
    own = _chance(options.seed, path)
    worn = _chance(options.seed, str(PurePosixPath(path).parent)) if options.per_person else own
    mask: MaskKind | None = None
    if options.kind in {RANDOM, HALF}:
        mask = list(MaskKind)[int(worn.integers(len(MaskKind)))]
    elif options.kind != NONE:
        mask = MaskKind(options.kind)
    if options.kind == HALF and number % 2 == 0:
        mask = None
    seed = int(worn.integers(1 << 31))
    occlusion: OcclusionKind | None = None
    if options.occlusion != NONE and own.random() < options.occluded:
        kinds = list(OcclusionKind) if options.occlusion == RANDOM else [OcclusionKind(options.occlusion)]
        occlusion = kinds[int(own.integers(len(kinds)))]
    return Drawing(mask, occlusion, seed)


def check_options(options: MaskOptions) -> None:
    """Raise ``UsageError`` for a kind that there is not, or when nothing is to be drawn."""
    for name, value, choices in (("mask", options.kind, KINDS), ("occlusion", options.occlusion, OCCLUSIONS)):
        if value not in choices:
            message = f"{name} {value!r} is not one of {', '.join(choices)}"
            raise UsageError(message)
    if options.kind == NONE and options.occlusion == NONE:
        message = "neither a mask nor an occlusion is asked for: there is nothing to draw"
        raise UsageError(message)


def one_job(source: Path, out: Path, options: MaskOptions) -> Job:
    """The job for a single picture: ``out`` is its file, or the folder that it goes into."""
    drawing = drawing_of(source.name, 1, options)
    named = out.suffix.lower() in PICTURE_SUFFIXES and not out.is_dir()
    target = out if named else out / _encodable(source.name)
    if named and _encodable(out.name) != out.name:
        message = f"{printable(out)}: pictures are written as JPEG or PNG; name it .jpg or .png"
        raise UsageError(message)
    if target.exists() and target.samefile(source):
        message = f"{printable(target)} is the input: choose another name for the output"
        raise UsageError(message)
    return Job(source, printable(source), target, drawing)


def jobs_below(folder: Path, out: Path, options: MaskOptions) -> tuple[list[Job], list[Rejection]]:
    """A job for every picture below ``folder``, by path, and what can't even be listed."""
    if not folder.is_dir():
        message = f"{printable(folder)} is neither a picture nor a folder"
        raise UsageError(message)
    if out.is_dir() and out.samefile(folder):
        message = f"{printable(out)} is the input: choose another folder for the output"
        raise UsageError(message)
    rejections: list[Rejection] = []
    jobs: list[Job] = []
    taken: set[str] = set()
    for path in _pictures(folder, out, rejections):
        if len(jobs) == MOST:
            message = f"{printable(folder)} holds more than {MOST:,} pictures: give its sub-folders one by one"
            raise UsageError(message)
        drawing = drawing_of(path, len(jobs), options)
        name = path if drawing.mask is None and drawing.occlusion is None else _encodable(path)
        while name in taken:
            name += ".png"
        taken.add(name)
        jobs.append(Job(folder / path, printable(path), out / name, drawing))
    if not jobs and not rejections:
        message = f"{printable(folder)} holds no pictures, in itself or below"
        raise UsageError(message)
    return jobs, rejections


def _pictures(folder: Path, out: Path, rejections: list[Rejection]) -> Iterator[str]:
    """Paths of pictures below ``folder``, sorted; hidden files, linked folders and ``out`` are left out."""

    def refuse(error: OSError) -> None:
        where = Path(error.filename or folder)
        name = where.relative_to(folder) if where.is_relative_to(folder) else where
        rejections.append(rejected(unreadable(error), printable(name)))

    for at, folders, files in os.walk(folder, onerror=refuse):
        here = Path(at)
        kept = (name for name in folders if not name.startswith("."))
        folders[:] = sorted(name for name in kept if not (out.is_dir() and (here / name).samefile(out)))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES:
                yield (here / name).relative_to(folder).as_posix()


def _encodable(name: str) -> str:
    """``name`` where it is a JPEG's or PNG's, else with .png behind."""
    return name if PurePosixPath(name).suffix.lower() in JPEG_SUFFIXES | {".png"} else f"{name}.png"


def _chance(seed: int, path: str) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(os.fsencode(path))])


def rejected(error: BadRecord, name: str) -> Rejection:
    """The line that a refused picture leaves."""
    return Rejection(reason=error.reason, source=name, detail=error.detail, stage=STAGE)
