"""What a step of training looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.align import similarity
from embedder.cards import WEIGHTS, load_model_card
from embedder.detect import Detector, Image
from embedder.training import augment
from embedder.training.augment import Augmentation, covered, seen
from embedder.training.pool import MARGIN, NOBODY, Pool
from embedder.training.samples import Sample, SampleOptions, Samples
from embedder.warp import warp

SIZE = (96, 112)
STILL = Augmentation(*[0.0 for _ in fields(Augmentation)])
"""Nothing is done, but for mirroring and tint."""


@pytest.fixture(scope="module")
def pool(portraits: Mapping[str, Image], detector: Detector) -> Pool:
    """Two people, of two and three portraits, and two passers-by."""
    card = load_model_card(WEIGHTS / "sface")
    target, weights = np.array(card.template) + MARGIN, np.array(card.landmark_weights, np.float64)
    canvas, landmarks = [], []
    for image in portraits.values():
        face = detector.detect(image)[0]
        matrix = similarity(face.landmarks, target, weights)
        canvas.append(warp(image, matrix, (144, 144)))
        landmarks.append(face.landmarks @ matrix[:, :2].T + matrix[:, 2])
    order = [3, 0, 4, 1, 2, 3, 0]
    person = np.array([0, 1, NOBODY, 1, 1, 0, NOBODY], np.int32)
    vectors = np.eye(7, 128, dtype=np.float32)
    return Pool(np.stack(canvas)[order], np.stack(landmarks).astype(np.float32)[order], vectors, person)


@given(number=st.integers(0, 10**9))
def test_a_number_gives_the_same_sample_and_views_of_one_person(pool: Pool, number: int) -> None:
    samples = Samples(pool, SIZE, SampleOptions())
    first, second = samples[number], samples[number]
    np.testing.assert_array_equal(first.pictures, second.pictures)
    assert first.pictures.shape == (2, *SIZE, 3)
    assert first.pictures.dtype == np.uint8
    a, b = first.rows.tolist()
    assert a == b or pool.person[a] == pool.person[b] != NOBODY


def test_known_people_come_as_often_as_asked(pool: Pool) -> None:
    samples = Samples(pool, SIZE, SampleOptions(labelled=0.5, other=1.0, augmentation=STILL))
    drawn: list[Sample] = [samples[number] for number in range(120)]
    known = np.mean([pool.person[sample.rows[0]] != NOBODY for sample in drawn])
    assert 0.35 < known < 0.65
    assert any(sample.rows[0] != sample.rows[1] for sample in drawn)


@pytest.mark.parametrize("wanted", [0, NOBODY])
def test_a_pool_of_one_kind_will_do(pool: Pool, wanted: int) -> None:
    kept = (pool.person != NOBODY) if wanted == 0 else (pool.person == NOBODY)
    half = Pool(pool.canvas[kept], pool.landmarks[kept], pool.teacher[kept], pool.person[kept])
    sample = Samples(half, SIZE, SampleOptions())[5]
    assert (half.person[sample.rows] == NOBODY).all() == (wanted == NOBODY)


def test_a_mask_covers_the_lower_face_and_leaves_the_eyes(pool: Pool) -> None:
    rng = np.random.default_rng(1)
    canvas, landmarks = pool.canvas[0], pool.landmarks[0]
    masked = covered(canvas, landmarks, True, STILL, rng)
    changed = np.abs(masked.astype(int) - canvas).sum(axis=2) > 30
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    assert changed[int(mouth[1]) - 3 : int(mouth[1]) + 3, int(mouth[0]) - 8 : int(mouth[0]) + 8].mean() > 0.9
    assert changed[: int(eyes[1])].mean() < 0.05
    np.testing.assert_array_equal(covered(canvas, landmarks, False, STILL, rng), canvas)
    occluded = covered(canvas, landmarks, False, Augmentation(occlusion=1.0), np.random.default_rng(3))
    assert (occluded != canvas).any()


def test_what_is_not_shaken_is_the_inner_canvas(pool: Pool) -> None:
    unlit = np.random.default_rng(2)
    picture = augment._aligned(pool.canvas[0], SIZE, STILL, unlit)
    np.testing.assert_array_equal(picture, pool.canvas[0][MARGIN : MARGIN + 96, MARGIN:-MARGIN])


def test_a_stretched_picture_keeps_its_middle_and_its_area() -> None:
    ratios = []
    for seed in range(20):
        canvas = np.zeros((144, 144, 3), np.uint8)
        canvas[52:92, 52:92] = 255
        plan = Augmentation(**{field.name: float(field.name == "stretch") for field in fields(Augmentation)})
        picture = augment._aligned(canvas, (112, 112), plan, np.random.default_rng(seed))[..., 0] / 255
        width, height = picture.max(axis=0).sum(), picture.max(axis=1).sum()
        assert abs(width * height - 1600) < 90
        np.testing.assert_allclose((picture.mean(axis=0) @ np.arange(112)) / picture.mean(axis=0).sum(), 55.5, atol=0.6)
        ratios.append(width / height)
    assert 0.78 < min(ratios) < 0.9
    assert 1.1 < max(ratios) < 1.28


@pytest.mark.parametrize("step", ["below", "stretch", "dark", "grey", "motion", "soft", "far", "noise", "jpeg"])
def test_every_step_changes_the_picture_and_keeps_the_face(pool: Pool, step: str) -> None:
    values = dict.fromkeys(("occlusion", "shift", "turn", "zoom"), 0.0)
    steps = dict.fromkeys(("below", "stretch", "dark", "grey", "motion", "soft", "far", "noise", "jpeg"), 0.0)
    plain = seen(pool.canvas[0], SIZE, Augmentation(**values, **steps), np.random.default_rng(9))
    changed = seen(pool.canvas[0], SIZE, Augmentation(**values, **(steps | {step: 1.0})), np.random.default_rng(9))
    assert plain.shape == changed.shape == (*SIZE, 3)
    assert (plain != changed).any()
    both = [picture.mean(axis=2).ravel() for picture in (plain, changed)]
    mirrored = [changed[:, ::-1].mean(axis=2).ravel(), both[1]]
    assert max(np.corrcoef(both[0], other)[0, 1] for other in mirrored) > 0.6
    if step == "grey":
        np.testing.assert_array_equal(changed[..., 0], changed[..., 2])
