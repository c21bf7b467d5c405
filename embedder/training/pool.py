"""The prepared pictures of a training run: upright faces on a small canvas, and what the teacher says of them.

Detection and the teacher's vectors are the same in every epoch, so they are made once, and kept in arrays that are
mapped into memory: a picture costs a copy of 62 kB, not a decode.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from embedder.align import similarity
from embedder.crop import eye_region
from embedder.detect import Detector, Image, Points
from embedder.model import VectorModel
from embedder.quality import GateOptions, check_quality, main_face, measure
from embedder.training.sources import Source
from embedder.warp import moved, warp
from ingest.errors import BadRecord, UsageError
from ingest.images import decode
from ingest.limits import ImageLimits
from ingest.reasons import Reason

MARGIN = 16
"""Pixels of the canvas around a model's input, for masks' straps and for shaking the alignment."""
CHUNK = 256
PROGRESS = "progress.json"
NOBODY = -1
LIMITS = ImageLimits()
GATE = GateOptions(eye_distance=8, sharpness=0, contrast=0)


@dataclass(frozen=True, slots=True)
class Pool:
    """n prepared faces, and ``people`` people.

    ``canvas`` (n, h, w, 3) uint8 BGR, aligned as the teacher's input is with ``MARGIN`` more on each side;
    ``landmarks`` (n, 5, 2) float32 on it; ``teacher`` (n, dim) float32, L2-normalised; ``person`` (n,) int32, or
    ``NOBODY``.
    """

    canvas: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    teacher: NDArray[np.float32]
    person: NDArray[np.int32]

    @property
    def people(self) -> int:
        return int(self.person.max(initial=NOBODY)) + 1

    def __len__(self) -> int:
        return len(self.person)


class Preparation:
    """Fills a folder from pictures; what was done stays done, and a second start goes on from there."""

    def __init__(self, folder: Path, sources: Sequence[Source], detector: Detector, teacher: VectorModel) -> None:
        self.folder = folder
        self._sources = sources
        self._detector = detector
        self._teacher = teacher
        card = teacher.card
        self._template = np.array(card.template, np.float32)
        self._weights = np.array(card.landmark_weights, np.float64)
        self._size = card.input_size
        height, width = card.input_size
        self._canvas = (height + 2 * MARGIN, width + 2 * MARGIN)
        names = "\n".join(f"{source.path}\t{source.person}" for source in sources)
        self._plan = hashlib.sha256(f"{card.sha256}\n{card.landmark_weights}\n{MARGIN}\n{names}".encode()).hexdigest()

    def run(self, on_progress: Callable[[int, int], None], threads: int = 2) -> Pool:
        """Prepare what is missing; ``on_progress`` hears how many of all pictures are done.

        A picture that can't be read or shows no face is noted in ``refused.csv``, and nothing else is lost.  Raises
        ``UsageError`` when the folder was begun with other pictures, and when no picture shows a face.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        done, kept = self._progress()
        arrays = self._arrays("r+" if done else "w+")
        numbers = self._numbers()
        cv2.setNumThreads(1)
        with ThreadPoolExecutor(threads) as workers:
            for start in range(done, len(self._sources), CHUNK):
                chunk = self._sources[start : start + CHUNK]
                outcomes = list(workers.map(self._prepared, chunk))
                for source, outcome in zip(chunk, outcomes, strict=True):
                    if not isinstance(outcome, str):
                        person = NOBODY if source.person is None else numbers[source.person]
                        for array, value in zip(arrays, (*outcome, person), strict=True):
                            array[kept] = value
                        kept += 1
                for array in arrays:
                    array.flush()
                refused = [(s.path, o) for s, o in zip(chunk, outcomes, strict=True) if isinstance(o, str)]
                self._note(start + len(chunk), kept, refused)
                on_progress(start + len(chunk), len(self._sources))
        if not kept:
            message = f"none of the {len(self._sources)} pictures shows a face; see {self.folder / 'refused.csv'}"
            raise UsageError(message)
        return Pool(*(array[:kept] for array in arrays))

    def _prepared(self, source: Source) -> tuple[Image, Points, NDArray[np.float32]] | str:
        """A picture's canvas, landmarks on it, and teacher's vector; or why there are none."""
        try:
            image = decode(source.path.read_bytes(), LIMITS)
        except BadRecord as error:
            return str(error.reason)
        except OSError as error:
            return f"unreadable: {error.strerror}"
        faces = self._detector.detect(image)
        if not faces:
            return str(Reason.NO_FACE)
        face = self._detector.refined(image, faces[main_face(faces, image.shape)])
        matrix = similarity(face.landmarks, self._template + MARGIN, self._weights)
        canvas = warp(image, matrix, self._canvas)
        landmarks = moved(face.landmarks, matrix).astype(np.float32)
        inner = np.ascontiguousarray(canvas[MARGIN:-MARGIN, MARGIN:-MARGIN])
        try:
            # Without the gate's word on size and light: what is weak teaches too, but what is no face does harm.
            check_quality(measure(face, eye_region(inner, self._template)), GATE)
        except BadRecord as error:
            return str(error.reason)
        return canvas, landmarks, self._teacher.embed(inner)

    def _arrays(self, mode: Literal["r+", "w+"]) -> tuple[np.memmap[Any, np.dtype[Any]], ...]:
        count = len(self._sources)
        shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            "canvas": (np.uint8, (count, *self._canvas, 3)),
            "landmarks": (np.float32, (count, 5, 2)),
            "teacher": (np.float32, (count, self._teacher.card.dim)),
            "person": (np.int32, (count,)),
        }
        return tuple(
            open_memmap(self.folder / f"{name}.npy", mode, dtype, shape) for name, (dtype, shape) in shapes.items()
        )

    def _numbers(self) -> dict[str, int]:
        names = dict.fromkeys(source.person for source in self._sources if source.person is not None)
        return {name: number for number, name in enumerate(names)}

    def _progress(self) -> tuple[int, int]:
        try:
            progress = json.loads((self.folder / PROGRESS).read_text("utf-8"))
        except FileNotFoundError:
            return 0, 0
        if progress["plan"] != self._plan:
            message = f"{self.folder} was prepared from other pictures or with another teacher: name another folder"
            raise UsageError(message)
        return progress["done"], progress["kept"]

    def _note(self, done: int, kept: int, refused: list[tuple[Path, str]]) -> None:
        with (self.folder / "refused.csv").open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(refused)
        beside = self.folder / f"{PROGRESS}.new"
        beside.write_text(json.dumps({"plan": self._plan, "done": done, "kept": kept}), "utf-8")
        beside.replace(self.folder / PROGRESS)
