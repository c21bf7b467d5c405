"""Masks and other occlusions drawn onto one picture or a folder of them, whose names and sub-folders stay."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ValidationError

from deploy.atomic import write_atomically
from deploy.masks.plan import JPEG_SUFFIXES, Drawing, Job, MaskOptions, check_options, jobs_below, one_job, rejected
from deploy.settings import Settings, model_folder
from embedder.detect import Detector, Image, Points
from embedder.quality import main_face
from embedder.synthetic_masks import SMALLEST_EYE_DISTANCE, MaskKind, OcclusionKind, draw_mask, draw_occlusion
from ingest.claim_check import printable, read_file
from ingest.errors import AtmwatchError, BadRecord, UsageError
from ingest.images import decode
from ingest.limits import ImageLimits
from ingest.reasons import Reason
from ingest.records import Rejection

BATCH = 32
"""Pictures between two looks at ``stop``, per thread."""
LISTED = 100
"""Rejections that a report itself lists."""
QUALITY = 95
ABOUT, DRAWN, REJECTED = "masks.json", "drawn.jsonl", "rejected.jsonl"


class Line(BaseModel, frozen=True):
    """A line of drawn.jsonl: a picture of the output, and what is drawn on it."""

    path: str
    mask: MaskKind | None
    occlusion: OcclusionKind | None
    seed: int


class MaskReport(BaseModel, frozen=True):
    """What came of a run: each of ``pictures`` is drawn on, copied, kept from an earlier run, or rejected.

    ``rejections`` lists the first 100; ``finished`` is False when the run was stopped.
    """

    input: str
    out: str
    options: MaskOptions
    pictures: int
    drawn: int
    copied: int
    kept: int
    rejected: int
    rejected_by_reason: dict[str, int]
    rejections: tuple[Rejection, ...]
    seconds: float
    images_per_second: float
    finished: bool


class Progress(NamedTuple):
    """How many of ``total`` pictures are ``done``, and how many of these in this run, and rejected."""

    done: int
    total: int
    fresh: int
    rejected: int


class Draughtsman:
    """Finds the face of a picture and draws on it; safe to use from several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._limits: ImageLimits = settings.limits
        self._detector = Detector(model_folder(settings.detector))

    def rendered(self, job: Job) -> bytes:
        """The bytes of the picture that ``job`` asks for; as they are where nothing is to be drawn.

        Raises ``BadRecord`` for a picture that can't be read, NO_FACE and FACE_TOO_SMALL.
        """
        data = read_file(job.source, self._limits)
        image = decode(data, self._limits)
        if job.copied:
            return data
        image = drawn_on(image, self.landmarks(image), job.drawing)
        if job.target.suffix.lower() in JPEG_SUFFIXES:
            _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        else:
            _, encoded = cv2.imencode(".png", image)
        return encoded.tobytes()

    def landmarks(self, image: Image) -> Points:
        """(5, 2) of the largest and most central face.  Raises ``BadRecord``: NO_FACE, FACE_TOO_SMALL."""
        faces = self._detector.detect(image)
        if not faces:
            raise BadRecord(Reason.NO_FACE, "No face was found, so there is nothing to draw on.")
        landmarks = self._detector.refined(image, faces[main_face(faces, image.shape)]).landmarks
        if float(np.hypot(*(landmarks[1] - landmarks[0]))) < SMALLEST_EYE_DISTANCE:
            detail = f"The eyes are less than {SMALLEST_EYE_DISTANCE:g} pixels apart: too few to draw on."
            raise BadRecord(Reason.FACE_TOO_SMALL, detail)
        return landmarks


def drawn_on(image: Image, landmarks: Points, drawing: Drawing) -> Image:
    """``image`` with mask, then occlusion; a cap or sunglasses lie over the straps, a hand over the mask."""
    if drawing.mask is not None:
        image = draw_mask(image, landmarks, drawing.mask, drawing.seed)
    if drawing.occlusion is not None:
        image = draw_occlusion(image, landmarks, drawing.occlusion, drawing.seed)
    return image


def apply_masks(
    source: Path,
    out: Path,
    options: MaskOptions,
    settings: Settings,
    *,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stop: Event | None = None,
) -> MaskReport:
    """Draw on the picture ``source``, or on all below that folder, into ``out``.

    Pictures that are in ``out`` already are kept, unless ``overwrite``.  Setting ``stop`` ends the run after the
    pictures at hand.  A folder's output also holds masks.json (the options), drawn.jsonl (a ``Line`` for each
    picture) and rejected.jsonl.  Raises ``UsageError``, before anything is written, for input, options or output
    that can't be used, and ``AtmwatchError`` when the output can't be written.
    """
    stop = stop or Event()
    check_options(options)
    single = source.is_file()
    jobs, rejections = ([one_job(source, out, options)], []) if single else jobs_below(source, out, options)
    if single and jobs[0].target.exists() and not overwrite:
        message = f"{printable(jobs[0].target)} exists: --overwrite replaces it"
        raise UsageError(message)
    total = len(jobs) + len(rejections)
    draughtsman = Draughtsman(settings)
    about = None if single else _opened(out, options, overwrite=overwrite)
    waiting = [job for job in jobs if overwrite or not job.target.exists()]
    kept, counts = len(jobs) - len(waiting), Counter[str]()
    failed: set[Path] = set()
    listed = len(rejections)
    threads = settings.threads or len(os.sched_getaffinity(0))
    done, start = 0, perf_counter()
    on_progress(Progress(listed + kept, total, 0, listed))
    cv2.setNumThreads(1)  # each picture is one thread's
    with ThreadPoolExecutor(threads) as pool:
        for batch in _batches(waiting, BATCH * threads):
            if stop.is_set():
                break
            for job, problem in zip(batch, pool.map(partial(_drawn, draughtsman), batch), strict=True):
                done += 1
                if problem is not None:
                    failed.add(job.target)
                    rejections.append(rejected(problem, job.name))
                else:
                    counts["copied" if job.copied else "drawn"] += 1
                on_progress(Progress(listed + kept + done, total, done, len(rejections)))
    seconds = perf_counter() - start
    report = MaskReport(
        input=printable(source),
        out=printable(jobs[0].target if single else out),
        options=options,
        pictures=total,
        drawn=counts["drawn"],
        copied=counts["copied"],
        kept=kept,
        rejected=len(rejections),
        rejected_by_reason=dict(Counter(rejection.reason.value for rejection in rejections).most_common()),
        rejections=tuple(rejections[:LISTED]),
        seconds=round(seconds, 3),
        images_per_second=round(done / seconds, 1) if done else 0.0,
        finished=done == len(waiting),
    )
    if about is not None:
        _told(about, out, [job for job in jobs if job.target not in failed], rejections)
    return report


def _opened(out: Path, options: MaskOptions, *, overwrite: bool) -> Path:
    """The file that tells with what options ``out`` is made: others can't go on in it."""
    about = out / ABOUT
    try:
        if not overwrite and out.is_dir() and any(out.iterdir()):
            if not about.is_file():
                message = (
                    f"{printable(out)} holds other files: choose an empty folder, or --overwrite what has equal names"
                )
                raise UsageError(message)
            if MaskOptions.model_validate_json(about.read_bytes()) != options:
                message = f"{printable(out)} was made with other options (see {ABOUT}): choose another, or --overwrite"
                raise UsageError(message)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(about, options.model_dump_json(indent=2).encode() + b"\n")
    except ValidationError as error:
        message = f"{printable(about)} is not of this program: choose another folder, or --overwrite"
        raise UsageError(message) from error
    except OSError as error:
        message = f"output folder {printable(out)} can't be used: {error.strerror}"
        raise UsageError(message) from error
    return about


def _batches(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    return (jobs[start : start + size] for start in range(0, len(jobs), size))


def _drawn(draughtsman: Draughtsman, job: Job) -> BadRecord | None:
    """Do one job; what is wrong with the picture if it can't be done."""
    try:
        content = draughtsman.rendered(job)
    except BadRecord as error:
        return error
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(job.target, content)
    except OSError as error:
        message = f"{printable(job.target)} can't be written: {error.strerror}"
        raise AtmwatchError(message) from error
    return None


def _told(about: Path, out: Path, jobs: list[Job], rejections: list[Rejection]) -> None:
    """Write what is drawn on which picture, and what was rejected."""
    lines = (
        Line(path=printable(job.target.relative_to(out)), **job.drawing._asdict()).model_dump_json()
        for job in jobs
        if job.target.exists()
    )
    try:
        write_atomically(about.with_name(DRAWN), "".join(f"{line}\n" for line in lines).encode())
        refused = (f"{rejection.model_dump_json(exclude_none=True)}\n" for rejection in rejections)
        write_atomically(about.with_name(REJECTED), "".join(refused).encode())
    except OSError as error:
        message = f"output folder {printable(out)} can't be written: {error.strerror}"
        raise AtmwatchError(message) from error
