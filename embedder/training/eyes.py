"""Trains the classifier of open and closed eyes: on pictures of single eyes, and on faces that nobody has labelled.

Pictures of single eyes are large, sharp and look ahead; an eye cut out of a camera's picture is none of these, and a
classifier that saw only the former takes every sixth of the latter for closed.  So it labels the faces itself, both
eyes of a face by one answer, and learns again from those that it is sure of: pseudo-labels, as in Lee, "Pseudo-Label",
ICML 2013 workshop on challenges in representation learning.  Most people look at a camera with open eyes, hence the
different thresholds.  What hides an eye is drawn, or is a part of the face with no eye in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.cards import ModelCard
from embedder.detect import Image
from embedder.onnx_classifier import OnnxClassifier
from embedder.signs import CLOSED, HIDDEN, OPEN
from embedder.training.augment import Augmentation, seen
from embedder.training.face_eyes import CLOSED_EYE, HIDDEN_EYE, OPEN_EYE, SIDE, SIZE, FaceEyes, Sure, eye_canvas
from embedder.training.folds import grouped, held_out
from embedder.training.judged import Judged, judge
from embedder.training.lessons import Learner, Lesson, Pace, check_classes, drawn
from embedder.training.pool import LIMITS, Pool
from embedder.training.shipping import ModelFolder, Origin
from ingest.errors import BadRecord
from ingest.images import decode

NAME, TITLE = "eyes", "Whether an eye is open, closed, or hidden"
LABELS = (CLOSED, OPEN, HIDDEN)
STORED = 40
"""Pixels a side in which single eyes are kept: a little finer than the input, for zooming in."""
THUMB = 24
COARSEST, COARSE = 12, 0.35
"""The coarsest picture of an eye, in pixels a side, and the chance of a coarse one."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Pictures of single eyes, (n, ``STORED``, ``STORED``, 3) uint8 BGR, and ``faces`` that nobody has labelled.

    ``card`` is that of the template model that the faces were prepared with.  Without faces nothing is learnt of hidden
    eyes.
    """

    closed: NDArray[np.uint8]
    opened: NDArray[np.uint8]
    faces: Pool | None
    card: ModelCard


@dataclass(frozen=True, slots=True)
class EyeOptions:
    """``rounds`` of labelling the faces and learning again; all but the last learn for half the steps.

    ``face`` is the share of open and closed eyes that are cut out of faces, once these are labelled.  Single eyes are
    taken for one picture from a correlation of ``likeness`` on.
    """

    pace: Pace = field(default_factory=lambda: Pace(2400))
    rounds: int = 2
    sure: Sure = field(default_factory=Sure)
    face: float = 0.6
    hidden: int = 1500
    likeness: float = 0.95
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(shift=1.5, turn=6, zoom=0.12, below=0.1, dark=0.25, far=0)
    )


def read_eyes(paths: Sequence[Path]) -> tuple[NDArray[np.uint8], list[Path]]:
    """Pictures of single eyes, (n, ``STORED``, ``STORED``, 3); and the files that can't be read as one."""
    found, refused = [], []
    for path in paths:
        try:
            picture = decode(path.read_bytes(), LIMITS)
        except (BadRecord, OSError):
            refused.append(path)
        else:
            found.append(cv2.resize(picture, (STORED, STORED), interpolation=cv2.INTER_AREA))
    return np.array(found, np.uint8).reshape(-1, STORED, STORED, 3), refused


def train_eyes(
    place: Path,
    eyes: Eyes,
    learn: Learner,
    *,
    origin: Origin,
    options: EyeOptions,
    told: Callable[[int, int, float], None] = lambda *_: None,
) -> Judged:
    """Make the model folder ``place``; how it does on the single eyes of the fifth that was set aside.

    ``told`` hears the round, the step and its loss.  Judged by what judges at run time.  Raises ``UsageError`` for a
    ``place`` that is taken, and for too few pictures.
    """
    folder = ModelFolder(place)
    labels = LABELS if eyes.faces is not None else LABELS[:HIDDEN_EYE]
    check_classes({CLOSED: len(eyes.closed), OPEN: len(eyes.opened)})
    every = np.concatenate([eyes.closed, eyes.opened])
    true = np.repeat([CLOSED_EYE, OPEN_EYE], [len(eyes.closed), len(eyes.opened)])
    looks = _looks(every), _looks(np.ascontiguousarray(every[:, :, ::-1]))
    aside = held_out(grouped(*looks, threshold=options.likeness), options.pace.seed)
    singles = [every[(true == label) & ~aside] for label in (CLOSED_EYE, OPEN_EYE)]
    faces = FaceEyes(eyes.faces, eyes.card, options.hidden, options.pace.seed) if eyes.faces is not None else None
    about = {
        "kind": "classifier",
        "title": TITLE,
        "intended_use": "One sign of life among others: whether somebody's eyes are open, and whether they blink.",
        "limits": "Narrowed or downcast eyes, and eyes in the shadow of a cap, may be taken for closed.",
        "sees": "eye",
        "labels": labels,
        "input_size": SIZE,
        "side": SIDE,
    }
    rounds = options.rounds if faces else 0
    measured: dict[str, str] = {}
    for number in range(rounds + 1):
        steps = options.pace.steps if number == rounds else max(1, options.pace.steps // 2)
        pace = replace(options.pace, steps=steps, seed=options.pace.seed + number)
        batches = drawn(partial(_draw, singles, faces, options), pace)
        learn(Lesson(len(labels), SIZE, batches, steps, partial(told, number)), folder.weights(NAME))
        folder.describe(NAME, origin, {}, about)
        model = OnnxClassifier(folder.path, batch=2)
        if faces and number < rounds:
            sure = faces.label(model, options.sure)
            measured["faces_taught"] = (
                f"{sure[OPEN_EYE]:,} with open eyes, {sure[CLOSED_EYE]:,} closed, {sure[HIDDEN_EYE]:,} hidden"
            )
    views = [cv2.resize(eye, SIZE[::-1], interpolation=cv2.INTER_AREA) for eye in every[aside]]
    judged = judge(labels, true[aside], model.probabilities(views).argmax(axis=1))
    folder.describe(NAME, origin, {"eyes": judged.sentence()} | measured, about)
    folder.done()
    return judged


def _draw(
    singles: Sequence[NDArray[np.uint8]], faces: FaceEyes | None, options: EyeOptions, rng: Generator
) -> tuple[Image, int]:
    """One eye as a camera sees it, of a single eye's picture or of a face; a quarter of all are hidden."""
    label = int(rng.integers(2)) if faces is None or rng.random() < 0.75 else HIDDEN_EYE
    if faces and (label == HIDDEN_EYE or rng.random() < options.face * faces.weight(label)):
        canvas = faces.draw(label, rng)
    else:
        single = singles[label][rng.integers(len(singles[label]))]
        canvas = eye_canvas(single, np.array([[SIZE[1] / STORED, 0, 0], [0, SIZE[0] / STORED, 0]]))
    picture = seen(canvas, SIZE, options.augmentation, rng)
    return _coarse(picture, rng) if rng.random() < COARSE else picture, label


def _coarse(picture: Image, rng: Generator) -> Image:
    side = int(rng.integers(COARSEST, SIZE[0]))
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _looks(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, ``THUMB``²) unit vectors whose cosine is the correlation of the pictures' grey values."""
    flat = [
        cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (THUMB, THUMB), interpolation=cv2.INTER_AREA).ravel()
        for picture in pictures
    ]
    values = np.array(flat, np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6), np.float32)
