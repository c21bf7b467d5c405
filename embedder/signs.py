"""What is seen of a face besides who it is: what covers it, and whether its eyes are open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedder.align import align
from embedder.detect import Image, Points
from embedder.eyes import LEFT, RIGHT, SMALLEST, eye_distance, eye_view
from embedder.onnx_classifier import OnnxClassifier
from embedder.records import Signs, Wear
from embedder.warp import warp
from ingest.errors import Corrupt

CLOSED, OPEN, HIDDEN = "closed", "open", "hidden"
WORN = tuple(str(wear) for wear in Wear)
UNSURE = 1e-4
"""Probabilities are kept this far from 0 and 1, so that one eye can be outvoted by the other."""


class SignReader:
    """The two classifiers, loaded and checked; safe to use from several threads.

    Raises what ``OnnxClassifier`` does, and ``Corrupt`` for one that looks at something else or has other labels.
    """

    def __init__(self, wear: Path, eyes: Path) -> None:
        self.wear = OnnxClassifier(wear)
        self.eyes = OnnxClassifier(eyes, batch=2)
        _check(wear, self.wear, "face", {*WORN}, {*WORN})
        _check(eyes, self.eyes, "eye", {CLOSED, OPEN}, {CLOSED, OPEN, HIDDEN})

    def read(self, image: Image, landmarks: Points) -> Signs:
        """The signs of the face at ``landmarks`` (5, 2) in an (H, W, 3) uint8 BGR upright picture."""
        worn = self.wear.probabilities([face_view(image, landmarks, self.wear)])[0]
        best = int(worn.argmax())
        return Signs(
            wear=Wear(self.wear.card.labels[best]),
            wear_score=round(float(worn[best]), 4),
            eyes_open=self._open(image, landmarks),
        )

    def _open(self, image: Image, landmarks: Points) -> float | None:
        card = self.eyes.card
        if float(card.side or 0) * eye_distance(landmarks) < SMALLEST:
            return None
        views = eye_views(image, landmarks, self.eyes)
        return open_eyes(self.eyes.probabilities(views), card.labels)


def face_view(image: Image, landmarks: Points, model: OnnxClassifier) -> Image:
    """What a classifier of faces looks at."""
    card = model.card
    template, weights = np.array(card.template, np.float32), np.array(card.landmark_weights, np.float64)
    return align(image, landmarks, template, weights, card.input_size)


def eye_views(image: Image, landmarks: Points, model: OnnxClassifier) -> list[Image]:
    """What a classifier of eyes looks at: the right and the left eye."""
    card = model.card
    side, size = float(card.side or 0), card.input_size
    return [warp(image, eye_view(landmarks, eye, side, size), size) for eye in (RIGHT, LEFT)]


def open_eyes(found: NDArray[np.float32], labels: tuple[str, ...]) -> float | None:
    """The probability that the eyes with these (n, labels) probabilities are open; None where all are hidden.

    The mean over the eyes of the log odds of open against closed: people open and close both together.
    """
    if HIDDEN in labels:
        found = found[found[:, labels.index(HIDDEN)] < 0.5]
    if not len(found):
        return None
    opened = np.clip(found[:, labels.index(OPEN)], UNSURE, 1)
    closed = np.clip(found[:, labels.index(CLOSED)], UNSURE, 1)
    return round(float(1 / (1 + np.exp(-np.log(opened / closed).mean()))), 4)


def _check(folder: Path, model: OnnxClassifier, sees: str, needed: set[str], known: set[str]) -> None:
    card = model.card
    if card.sees != sees:
        message = f"{folder}: a classifier of {'an' if card.sees == 'eye' else 'a'} {card.sees}, and no {sees}'s"
        raise Corrupt(message)
    if not needed <= set(card.labels) <= known:
        message = f"{folder}: its labels are {', '.join(card.labels)}, not {', '.join(sorted(known))}"
        raise Corrupt(message)
