from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from embedder.align import align
from embedder.cards import WEIGHTS, load_model_card
from embedder.crop import eye_region
from embedder.detect import Detector
from embedder.synthetic_masks import MaskKind, draw_mask

CARD = load_model_card(WEIGHTS / "sface")
TEMPLATE = np.array(CARD.template, np.float32)


def test_it_holds_both_eyes_and_no_mouth() -> None:
    marked = np.zeros((*CARD.input_size, 3), np.uint8)
    for i, (x, y) in enumerate(np.rint(TEMPLATE).astype(int)):
        marked[y, x] = 50 * (i + 1)
    found = eye_region(marked, TEMPLATE)
    assert found.dtype == np.uint8
    assert found.ndim == 2
    assert sorted(np.unique(found).tolist()) == [0, 50, 100]
    assert 30 <= found.shape[0] <= 45
    assert 70 <= found.shape[1] <= 85


def test_it_is_grey_by_the_eyes_weights() -> None:
    green, blue = np.zeros((2, *CARD.input_size, 3), np.uint8)
    green[..., 1], blue[..., 0] = 255, 255
    assert eye_region(green, TEMPLATE).mean() > 4 * eye_region(blue, TEMPLATE).mean()


@pytest.mark.parametrize("shift", [(-30, -40), (30, 0), (0, 45)])
def test_it_ends_where_the_face_ends(shift: tuple[int, int]) -> None:
    found = eye_region(np.zeros((*CARD.input_size, 3), np.uint8), TEMPLATE + np.float32(shift))
    assert found.size
    assert found.shape[0] <= CARD.input_size[0]
    assert found.shape[1] <= CARD.input_size[1]


def test_a_mask_leaves_it_as_it_is(detector: Detector, portraits: Mapping[str, np.ndarray]) -> None:
    image = portraits["person_a_1"]
    face = detector.refined(image, detector.detect(image)[0])
    masked = draw_mask(image, face.landmarks, MaskKind.BLACK, 3)
    weights = np.array(CARD.landmark_weights)
    faces = [align(picture, face.landmarks, TEMPLATE, weights, CARD.input_size) for picture in (image, masked)]
    regions = [eye_region(aligned, TEMPLATE).astype(int) for aligned in faces]
    assert np.abs(faces[0].astype(int) - faces[1]).mean() > 15
    assert np.abs(regions[0] - regions[1])[: len(regions[0]) * 3 // 4].mean() < 2
