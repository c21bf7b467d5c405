"""Eyes cut out of faces that nobody has labelled: open and closed ones by a classifier's word, and hidden ones."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.align import Matrix
from embedder.cards import ModelCard
from embedder.detect import Image, Points
from embedder.eyes import LEFT, RIGHT, eye_distance, eye_view
from embedder.onnx_classifier import OnnxClassifier
from embedder.signs import eye_views, open_eyes
from embedder.synthetic_masks import OcclusionKind, draw_occlusion
from embedder.training.pool import MARGIN, Pool
from embedder.training.straight import straight
from ingest.errors import UsageError

CLOSED_EYE, OPEN_EYE, HIDDEN_EYE = range(3)
"""Places of the labels."""
SIZE = (32, 32)
SIDE = 0.75
"""Eye distances that an eye's picture is wide: from the inner end of the brow to past the outer corner."""
FREE = 0.6
"""Eye distances from the eyes and the mouth within which nothing counts as a part without an eye: lips look closed."""
FEW = 600
"""So many faces weigh half of what any number would."""
TRIES = 100
GLASSES = 0.6
"""The share of hidden eyes that are behind sunglasses; the others are no eyes at all."""


@dataclass(frozen=True, slots=True)
class Sure:
    """A face teaches open eyes from ``opened`` on and closed ones up to ``closed``, if neither is hidden by ``seen``.

    It teaches hidden eyes where each of them is by ``hidden``.
    """

    opened: float = 0.6
    closed: float = 0.03
    seen: float = 0.15
    hidden: float = 0.6


class FaceEyes:
    """The eyes of a pool of faces, up to ``hidden`` of which get sunglasses; no others are known until ``label``.

    ``card`` is that of the template model that the pool was prepared with.
    """

    def __init__(self, faces: Pool, card: ModelCard, hidden: int, seed: int) -> None:
        self._faces = faces
        self._kept = straight(faces, card)
        if not len(self._kept):
            message = "none of the faces looks ahead, so that nothing can be learnt from their eyes"
            raise UsageError(message)
        self._rows = {label: np.empty(0, np.int64) for label in (CLOSED_EYE, OPEN_EYE, HIDDEN_EYE)}
        rng = np.random.default_rng((seed, 0))
        self._hidden: list[tuple[Image, Points]] = []
        for row in rng.integers(len(self), size=min(hidden, len(self))).tolist():
            picture, landmarks = self._face(row)
            picture = draw_occlusion(picture, landmarks, OcclusionKind.SUNGLASSES, int(rng.integers(2**31)))
            self._hidden.append((picture, landmarks))

    def label(self, model: OnnxClassifier, sure: Sure) -> dict[int, int]:
        """Let ``model`` say which faces have closed, open or hidden eyes; how many of each there are."""
        opened, hidden = np.full(len(self), np.nan), np.empty((len(self), 2))
        for row in range(len(self)):
            picture, landmarks = self._face(row)
            found = model.probabilities(eye_views(picture, landmarks, model))
            hidden[row] = found[:, HIDDEN_EYE]
            read = open_eyes(found, model.card.labels)
            opened[row] = np.nan if read is None else read
        seen = hidden.max(axis=1) < sure.seen
        self._rows = {
            CLOSED_EYE: np.flatnonzero(seen & (opened <= sure.closed)),
            OPEN_EYE: np.flatnonzero(seen & (opened >= sure.opened)),
            HIDDEN_EYE: np.flatnonzero(hidden.min(axis=1) >= sure.hidden),
        }
        return {label: len(rows) for label, rows in self._rows.items()}

    def weight(self, label: int) -> float:
        """How much the eyes of ``label`` are worth beside others, 0 to 1: few faces must not be seen too often."""
        count = len(self._rows[label])
        return count / (count + FEW)

    def draw(self, label: int, rng: Generator) -> Image:
        """An eye of ``label`` with a margin around it, as ``eye_canvas`` gives it."""
        taught = label != HIDDEN_EYE or rng.random() < self.weight(label)
        if not taught and rng.random() < GLASSES:
            picture, landmarks = self._hidden[rng.integers(len(self._hidden))]
        elif not taught:
            picture, landmarks = self._face(int(rng.integers(len(self))))
            landmarks = _elsewhere(landmarks, picture, rng)
        else:
            rows = self._rows[label]
            picture, landmarks = self._face(int(rows[rng.integers(len(rows))]))
        return eye_canvas(picture, eye_view(landmarks, (RIGHT, LEFT)[rng.integers(2)], SIDE, SIZE))

    def __len__(self) -> int:
        return len(self._kept)

    def _face(self, row: int) -> tuple[Image, Points]:
        kept = self._kept[row]
        return np.asarray(self._faces.canvas[kept]), self._faces.landmarks[kept]


def eye_canvas(picture: Image, view: Matrix) -> Image:
    """The ``view`` of ``SIZE`` with ``MARGIN`` more pixels on each side; past its edge the picture is mirrored."""
    matrix = view.copy()
    matrix[:, 2] += MARGIN
    height, width = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
    canvas = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(canvas, np.uint8)


def _elsewhere(landmarks: Points, picture: Image, rng: Generator) -> NDArray[np.float32]:
    """The landmarks, moved so that the eyes' places are at one that shows neither eye nor mouth."""
    free = FREE * eye_distance(landmarks)
    known = landmarks[[RIGHT, LEFT, 3, 4]]
    known = np.vstack([known, known[2:].mean(axis=0)])
    extent = np.array([picture.shape[1], picture.shape[0]])
    place = rng.uniform(0, extent)
    for _ in range(TRIES):
        if np.hypot(*(known - place).T).min() >= free:
            break
        place = rng.uniform(0, extent)
    moved = landmarks.copy()
    moved += place - landmarks[RIGHT]
    return moved
