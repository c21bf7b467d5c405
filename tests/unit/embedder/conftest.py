"""Prepared faces to train on: the portraits, bare and with masks drawn on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from embedder.align import similarity
from embedder.cards import WEIGHTS, load_model_card
from embedder.detect import Detector, Image
from embedder.quality import main_face
from embedder.synthetic_masks import MaskKind, draw_mask
from embedder.training.pool import MARGIN, Pool
from embedder.warp import warp

CARD = load_model_card(WEIGHTS / "sface")
SIDE = 112 + 2 * MARGIN


@pytest.fixture(scope="module")
def bare(portraits: Mapping[str, Image], detector: Detector) -> Pool:
    """Twelve variations of each portrait, in other light; a person's templates are alike."""
    canvases, points, templates = [], [], []
    rng = np.random.default_rng(0)
    for number, (name, image) in enumerate(portraits.items()):
        seen = detector.detect(image)
        face = detector.refined(image, seen[main_face(seen, image.shape)])
        matrix = similarity(face.landmarks, np.array(CARD.template) + MARGIN, np.array(CARD.landmark_weights))
        canvas = warp(image, matrix, (SIDE, SIDE))
        landmarks = (face.landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        for _ in range(12):
            canvases.append(np.clip(canvas * rng.uniform(0.7, 1.2) + rng.uniform(-15, 15), 0, 255).astype(np.uint8))
            points.append(landmarks)
            templates.append(np.eye(8, dtype=np.float32)[0 if "_a_" in name else number])
    count = len(canvases)
    return Pool(np.stack(canvases), np.stack(points), np.stack(templates), np.full(count, -1, np.int32))


@pytest.fixture(scope="module")
def masked(bare: Pool) -> Pool:
    drawn_on = [
        draw_mask(canvas, landmarks, MaskKind.BLACK, number)
        for number, (canvas, landmarks) in enumerate(zip(bare.canvas, bare.landmarks, strict=True))
    ]
    return Pool(np.stack(drawn_on), bare.landmarks, bare.teacher, bare.person)
