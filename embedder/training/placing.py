"""Teaches a small network where landmarks are: on bare faces, where they are known, with masks drawn on.

The face is shown as it would be aligned by landmarks that are wrong, as wrong as the detector's are under a mask; what
is to be said is by how much each is off its place.  See ``embedder.landmarks`` for how that is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.align import Matrix, similarity
from embedder.cards import LandmarkCard, ModelCard
from embedder.detect import Face, Image, Points
from embedder.landmarks import Landmarker
from embedder.training.augment import Augmentation, covered, edged, exposed
from embedder.training.folds import grouped, held_out
from embedder.training.lessons import Learner, Lesson, Pace, check_classes, drawn
from embedder.training.pool import MARGIN, Pool
from embedder.training.shipping import ModelFolder, Origin
from embedder.training.straight import straight
from embedder.training.wear import Told
from embedder.warp import moved, turned

NAME, TITLE = "landmarks", "Landmarks of bare and of masked faces, to a part of a pixel"
SIZE = (64, 64)
AROUND = 8
"""Pixels around the template model's input that are looked at as well."""
LOOKS = 3
MIRRORED = [1, 0, 2, 4, 3]
"""Which landmark each becomes in a mirror."""
EYES = slice(0, 2)
DRESSED = ("bare", "masked")


@dataclass(frozen=True, slots=True)
class PlacingOptions:
    """How wrong the landmarks are at first, and what is drawn.

    ``shift`` in pixels of the template model's input, ``turn`` in degrees and ``zoom`` in parts are deviations; the
    share ``near`` of the faces is only off by ``nearly`` of that, as it is for the last look, and the share ``lost`` by
    ``wildly`` times as much, as where the detector took a brow for an eye.  ``masked`` is the
    share of faces that get a mask, and ``worn`` is by how much of that a mask is off its own place: one drawn exactly
    by the landmarks would tell where they are.  ``likeness`` is as ``WearOptions`` has it.
    """

    pace: Pace = field(default_factory=lambda: Pace(7000))
    shift: float = 3.5
    turn: float = 5.0
    zoom: float = 0.08
    near: float = 0.3
    nearly: float = 0.35
    lost: float = 0.25
    wildly: float = 3.0
    masked: float = 0.65
    worn: float = 0.7
    likeness: float = 0.5
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(occlusion=0.2, cut=0.25, far=0.2, noise=0.15)
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """How far the eyes are from where they are, in eye distances: (n,) each, before and after, bare and masked."""

    before: dict[str, NDArray[np.float64]]
    after: dict[str, NDArray[np.float64]]

    def sentence(self, what: str) -> str:
        """``0.031 of the eye distance off at the median, 0.071 in one of ten (before: 0.102 and 0.214), 600 faces``."""
        said = [f"{np.quantile(of[what], (0.5, 0.9))[n]:.3f}" for of in (self.after, self.before) for n in (0, 1)]
        of_how_many = f"{len(self.after[what]):,} faces"
        return f"{said[0]} of the eye distance off at the median, {said[1]} in one of ten " + (
            f"(before: {said[2]} and {said[3]}), {of_how_many}"
        )


def train_landmarks(
    place: Path, faces: Pool, card: ModelCard, learn: Learner, *, origin: Origin, options: PlacingOptions, told: Told
) -> Placed:
    """Make the model folder ``place`` from bare ``faces``, prepared with the template model of ``card``.

    How it does on the fifth that was set aside.  Raises ``UsageError`` for a ``place`` that is taken, and for too few
    faces.
    """
    folder = ModelFolder(place)
    rows = straight(faces, card)
    check_classes({"bare, and looking ahead": len(rows)})
    aside = held_out(grouped(faces.teacher[rows], threshold=options.likeness), options.pace.seed)
    lesson = _Lesson(faces, rows[~aside], card, options)
    batches = drawn(lesson.draw, options.pace)
    learn(Lesson(2 * len(card.template), SIZE, batches, options.pace.steps, told.step), folder.weights(NAME))
    about: dict[str, Any] = {
        "title": TITLE,
        "intended_use": "Aligning the faces of people at cash machines, whatever they wear.",
        "limits": "It has learnt from drawn masks, and from another model's landmarks of bare faces.",
        "kind": "landmarks",
        "input_size": SIZE,
        "template": lesson.template.round(4).tolist(),
        "landmark_weights": card.landmark_weights,
        "looks": LOOKS,
    }
    folder.describe(NAME, origin, {}, about, LandmarkCard)
    found = _judged(Landmarker(folder.path), _Lesson(faces, rows[aside], card, options), len(rows[aside]))
    folder.describe(NAME, origin, {what: found.sentence(what) for what in found.after}, about, LandmarkCard)
    folder.done()
    return found


class _Lesson:
    """Draws one face at a time, and by how much its landmarks are off."""

    def __init__(self, faces: Pool, rows: NDArray[np.int64], card: ModelCard, options: PlacingOptions) -> None:
        self._faces = faces
        self._rows = rows
        self._options = options
        height, width = card.input_size
        self._scale = SIZE[1] / (width + 2 * AROUND)
        scales = np.array([self._scale, SIZE[0] / (height + 2 * AROUND)])
        self.template: NDArray[np.float64] = (np.array(card.template, np.float64) + AROUND) * scales
        self._weights = np.array(card.landmark_weights, np.float64)
        cv2.setNumThreads(1)

    def draw(self, rng: Generator) -> tuple[Image, NDArray[np.float32]]:
        options = self._options
        row = self._rows[rng.integers(len(self._rows))]
        canvas = edged(self.dressed(row, bool(rng.random() < options.masked), rng), options.augmentation, rng)
        landmarks = np.asarray(self._faces.landmarks[row], np.float64)
        matrix = self.wrong(landmarks, rng)
        edge = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
        view = cv2.warpAffine(canvas, matrix, SIZE[::-1], flags=cv2.INTER_LINEAR, borderMode=edge)
        points = moved(landmarks, matrix)
        if rng.random() < 0.5:
            view, points = view[:, ::-1], points[MIRRORED]
            points[:, 0] = SIZE[1] - 1 - points[:, 0]
        picture = exposed(np.ascontiguousarray(view), options.augmentation, rng)
        return picture, (points - self.template).astype(np.float32).ravel()

    def dressed(self, row: int, masked: bool, rng: Generator) -> Image:
        """The row's canvas, with a mask or without."""
        canvas = np.asarray(self._faces.canvas[row])
        worn = self._astray(np.asarray(self._faces.landmarks[row], np.float64), self._options.worn, rng)
        return covered(canvas, worn, masked, self._options.augmentation, rng)

    def wrong(self, landmarks: NDArray[np.float64], rng: Generator) -> Matrix:
        """What aligns the face by landmarks that are off, as the first look's or as the second's."""
        right = similarity(landmarks, self.template, self._weights)
        move = self._move(self._share(rng), rng)
        return np.column_stack([move[:, :2] @ right[:, :2], move[:, :2] @ right[:, 2] + move[:, 2]])

    def off(self, landmarks: NDArray[np.float64], rng: Generator) -> Points:
        """The landmarks as the first look has them, or the second."""
        return self._astray(landmarks, self._share(rng), rng)

    def _share(self, rng: Generator) -> float:
        options = self._options
        lot = rng.random()
        if lot < options.near:
            return options.nearly
        return options.wildly if lot < options.near + options.lost else 1.0

    def _move(self, share: float, rng: Generator) -> Matrix:
        """Turned, zoomed and shifted in the aligned view, about the middle of the eyes."""
        options = self._options
        turn, zoom = np.deg2rad(rng.normal(0, share * options.turn)), np.exp(rng.normal(0, share * options.zoom))
        shift = np.clip(rng.normal(0, share * options.shift, 2), -MARGIN, MARGIN) * self._scale
        about = turned(turn, zoom)
        middle = self.template[EYES].mean(axis=0)
        return np.column_stack([about, middle - about @ middle + shift])

    def _astray(self, landmarks: NDArray[np.float64], share: float, rng: Generator) -> Points:
        right = similarity(landmarks, self.template, self._weights)
        astray = moved(moved(landmarks, right), self._move(share, rng))
        return moved(astray, cv2.invertAffineTransform(right)).astype(np.float32)

    def face(self, number: int) -> tuple[int, NDArray[np.float64]]:
        """The row of its face ``number``, and where the landmarks are."""
        row = int(self._rows[number])
        return row, np.asarray(self._faces.landmarks[row], np.float64)


def _judged(model: Landmarker, lesson: _Lesson, count: int) -> Placed:
    before: dict[str, list[float]] = {what: [] for what in DRESSED}
    after: dict[str, list[float]] = {what: [] for what in DRESSED}
    for number in range(count):
        row, landmarks = lesson.face(number)
        missed = partial(_missed, landmarks)
        for what in DRESSED:
            rng = np.random.default_rng((number, what == "masked"))
            canvas = lesson.dressed(row, what == "masked", rng)
            first = Face(np.array([0, 0, *canvas.shape[1::-1]], np.float32), lesson.off(landmarks, rng), 1.0)
            before[what].append(missed(first.landmarks))
            after[what].append(missed(model.refined(canvas, first).landmarks))
    return Placed(*({what: np.array(values) for what, values in of.items()} for of in (before, after)))


def _missed(landmarks: NDArray[np.float64], found: Points) -> float:
    """The eyes' mean distance from where they are, in eye distances."""
    apart = np.linalg.norm(landmarks[1] - landmarks[0])
    return float(np.linalg.norm(found[EYES] - landmarks[EYES], axis=1).mean() / apart)
