"""Trains the classifier of what covers a face: on real masks and bare faces, and on what is drawn onto bare ones."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.cards import ModelCard
from embedder.detect import Image, Points
from embedder.onnx_classifier import OnnxClassifier
from embedder.records import Wear
from embedder.signs import face_view
from embedder.synthetic_masks import draw_occlusion
from embedder.training.augment import OCCLUSIONS, Augmentation, covered, seen
from embedder.training.folds import grouped, held_out
from embedder.training.judged import Judged, judge
from embedder.training.lessons import Learner, Lesson, Pace, check_classes, drawn
from embedder.training.pool import Pool
from embedder.training.shipping import ModelFolder, Origin
from embedder.training.straight import straight

NAME, TITLE = "wear", "What covers a face: bare, masked, or occluded otherwise"
LABELS = tuple(str(wear) for wear in Wear)
BARE, MASKED, OCCLUDED = range(3)
SIZE = (56, 56)

Canvas = tuple[Image, Points]
"""A prepared face, and where its landmarks are."""


@dataclass(frozen=True, slots=True)
class WearFaces:
    """Prepared faces: ``masked`` and ``bare`` are real ones, judged on too; ``faces`` are more bare ones to draw on.

    ``card`` is that of the template model that they were prepared with.
    """

    masked: Pool
    bare: Pool
    faces: Pool | None
    card: ModelCard


@dataclass(frozen=True, slots=True)
class WearOptions:
    """How a wardrobe is filled: ``drawn`` faces get a mask or something else drawn on, at most ``often`` each.

    The share ``real`` of all pictures shows real masks and bare faces.
    Faces are taken for one person's from a cosine of ``likeness`` on, so that whoever is judged was never trained on.
    """

    pace: Pace = field(default_factory=lambda: Pace(4000))
    drawn: int = 8000
    often: int = 6
    real: float = 0.5
    likeness: float = 0.5
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(occlusion=0.1))


@dataclass(frozen=True, slots=True)
class Told:
    """Hears how far it is: faces drawn on, of how many; then each step, and its loss."""

    drawn: Callable[[int, int], None] = lambda *_: None
    step: Callable[[int, float], None] = lambda *_: None


def train_wear(
    place: Path, faces: WearFaces, learn: Learner, *, origin: Origin, options: WearOptions, told: Told
) -> dict[str, Judged]:
    """Make the model folder ``place``; how it does on the fifth that was set aside: ``real`` faces, and ``drawn`` ones.

    Judged by what judges at run time.  Raises ``UsageError`` for a ``place`` that is taken, and for too few pictures.
    """
    folder = ModelFolder(place)
    kept, judged = {}, {}
    for label, pool in ((BARE, faces.bare), (MASKED, faces.masked)):
        rows = straight(pool, faces.card)
        check_classes({LABELS[label]: len(rows)})
        aside = held_out(grouped(pool.teacher[rows], threshold=options.likeness), options.pace.seed)
        kept[label], judged[label] = _canvases(pool, rows[~aside]), _canvases(pool, rows[aside])
    more = _canvases(faces.faces, straight(faces.faces, faces.card)) if faces.faces is not None else []
    wardrobe = _Wardrobe(kept, [*kept[BARE], *more], options, told)
    steps = options.pace.steps
    lesson = Lesson(len(LABELS), SIZE, drawn(wardrobe.draw, options.pace), steps, told.step)
    learn(lesson, folder.weights(NAME))
    about = {
        "kind": "classifier",
        "title": TITLE,
        "intended_use": "Telling who comes masked, for people who look into a case; evidence against nobody.",
        "limits": "A mask wins over sunglasses, a cap or a hand.  What else covers a face was only ever drawn.",
        "sees": "face",
        "labels": LABELS,
        "input_size": SIZE,
        "template": [(x * SIZE[1] / 112, y * SIZE[0] / 112) for x, y in faces.card.template],
        "landmark_weights": faces.card.landmark_weights,
    }
    folder.describe(NAME, origin, {}, about)
    model = OnnxClassifier(folder.path)
    rng = np.random.default_rng((options.pace.seed, steps, options.pace.batch))
    results = {
        "real": _judged(model, [(canvas, label) for label, found in judged.items() for canvas in found]),
        "drawn": _judged(model, [(c, BARE) for c in judged[BARE]] + _dressed(judged[BARE], options, rng)),
    }
    measured = {name: result.sentence() for name, result in results.items()}
    folder.describe(NAME, origin, measured, about)
    folder.done()
    return results


class _Wardrobe:
    """Draws one picture at a time: a real face, or a bare one with something drawn on, as a camera sees it."""

    def __init__(self, real: dict[int, list[Canvas]], bare: list[Canvas], options: WearOptions, told: Told) -> None:
        self._options = options
        self._real = real
        self._bare = bare
        self._drawn: dict[int, list[Canvas]] = {MASKED: [], OCCLUDED: []}

        def dressed(number: int) -> tuple[Canvas, int]:
            rng = np.random.default_rng((options.pace.seed, number, 0))
            label = (MASKED, MASKED, OCCLUDED)[number % 3]
            return dress(bare[rng.integers(len(bare))], label, options.augmentation, rng), label

        cv2.setNumThreads(1)
        with ThreadPoolExecutor(options.pace.threads, "dress") as workers:
            count = min(options.drawn, options.often * len(bare))
            for number, (canvas, label) in enumerate(workers.map(dressed, range(count)), start=1):
                self._drawn[label].append(canvas)
                told.drawn(number, count)

    def draw(self, rng: Generator) -> tuple[Image, int]:
        if rng.random() < self._options.real:
            label = int(rng.integers(2))
            found = self._real[label]
        else:
            label = int(rng.integers(3))
            found = self._drawn.get(label, self._bare)
        canvas, _ = found[rng.integers(len(found))]
        picture = seen(canvas, (112, 112), self._options.augmentation, rng)
        return np.asarray(cv2.resize(picture, SIZE[::-1], interpolation=cv2.INTER_AREA), np.uint8), label


def dress(bare: Canvas, label: int, plan: Augmentation, rng: Generator) -> Canvas:
    """The face with a mask, now and then with something else too; or with something else alone."""
    canvas, landmarks = bare
    if label == MASKED:
        return covered(canvas, landmarks, True, plan, rng), landmarks
    kind = OCCLUSIONS[rng.integers(len(OCCLUSIONS))]
    return draw_occlusion(canvas, landmarks, kind, int(rng.integers(2**31))), landmarks


def _dressed(bare: list[Canvas], options: WearOptions, rng: Generator) -> list[tuple[Canvas, int]]:
    return [(dress(canvas, label, options.augmentation, rng), label) for label in (MASKED, OCCLUDED) for canvas in bare]


def _canvases(pool: Pool, rows: NDArray[np.int64]) -> list[Canvas]:
    """The pool's rows; its pictures stay where they are, mapped into memory."""
    return [(np.asarray(pool.canvas[row]), pool.landmarks[row]) for row in rows.tolist()]


def _judged(model: OnnxClassifier, pictures: list[tuple[Canvas, int]]) -> Judged:
    found = model.probabilities([face_view(canvas, landmarks, model) for (canvas, landmarks), _ in pictures])
    return judge(LABELS, np.array([label for _, label in pictures], np.int64), found.argmax(axis=1))
