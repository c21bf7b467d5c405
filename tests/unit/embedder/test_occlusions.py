"""Sunglasses, caps and hands: what they hide, what they leave free, and that they are the same again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.synthetic_masks import OcclusionKind, draw_occlusion

SEEDS = range(8)


def points(unit: float = 40.0, yaw: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """(5, 2) landmarks of a head in a square picture of 240 pixels."""
    head = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, 0.5], [-0.4, 1.13, 0.12], [0.4, 1.13, 0.12]])
    flat = np.stack([head[:, 0] * np.cos(yaw) + head[:, 2] * np.sin(yaw), head[:, 1]], axis=1) * unit
    spin = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return (flat @ spin.T + (120, 110)).astype(np.float32)


def picture(level: int = 150) -> np.ndarray:
    """Skin, with a grain by which one sees where it is untouched."""
    grain = np.random.default_rng(1).integers(-6, 7, (240, 240, 3))
    return np.clip(np.array([0.6, 0.8, 1.0]) * level + grain, 0, 255).astype(np.uint8)


def touched(kind: OcclusionKind, seed: int, **pose: float) -> np.ndarray:
    before = picture()
    return np.abs(draw_occlusion(before, points(**pose), kind, seed).astype(int) - before).max(axis=2) > 8


def around(covered: np.ndarray, point: np.ndarray, reach: int = 3) -> float:
    x, y = np.rint(point).astype(int)
    return float(covered[y - reach : y + reach + 1, x - reach : x + reach + 1].mean())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.5])
def test_sunglasses_hide_both_eyes_and_leave_nose_and_mouth(seed: int, yaw: float) -> None:
    covered, face = touched(OcclusionKind.SUNGLASSES, seed, yaw=yaw), points(yaw=yaw)
    assert all(around(covered, eye) > 0.9 for eye in face[:2])
    assert not any(around(covered, place) > 0.2 for place in face[2:])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cap_hides_the_hair_shades_the_brows_and_leaves_the_mouth(seed: int) -> None:
    covered, face = touched(OcclusionKind.CAP, seed), points()
    middle = face[:2].mean(axis=0)
    assert around(covered, middle - (0, 1.1 * 40)) > 0.9
    assert around(covered, middle - (0, 0.4 * 40)) > 0.6
    assert not any(around(covered, place) for place in face[2:])


def test_the_peak_s_shadow_is_darker_skin() -> None:
    before, face = picture(), points()
    after = draw_occlusion(before, face, OcclusionKind.CAP, 2).astype(float)
    column = after[:, 118:123].mean(axis=(1, 2)) / before[:, 118:123].mean()
    brow, nose = column[int(face[0, 1]) - 6], column[int(face[2, 1])]
    assert brow < 0.9 < nose


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hand_hides_a_part_of_the_lower_face_in_its_own_skin(seed: int) -> None:
    covered, face = touched(OcclusionKind.HAND, seed), points()
    lower = covered[int(face[2, 1]) : int(face[3, 1]) + 30, int(face[0, 0]) - 15 : int(face[1, 0]) + 15]
    assert lower.mean() > 0.25
    assert not any(around(covered, eye) > 0.2 for eye in face[:2])
    drawn = draw_occlusion(picture(), face, OcclusionKind.HAND, seed)[covered].astype(float)
    tone = np.median(drawn, axis=0)
    assert tone[0] < tone[1] < tone[2], "as red as the face"


@pytest.mark.parametrize("kind", OcclusionKind)
def test_equal_seeds_draw_the_same_and_nothing_else_is_touched(kind: OcclusionKind) -> None:
    before = picture()
    kept = before.copy()
    first, again, other = (draw_occlusion(before, points(), kind, seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(before, kept)
    assert not np.shares_memory(first, before)
    assert first.shape == before.shape
    assert first.dtype == np.uint8


@pytest.mark.parametrize("kind", OcclusionKind)
def test_it_is_darker_in_the_dark(kind: OcclusionKind) -> None:
    means = []
    for level in (190, 50):
        before = picture(level)
        after = draw_occlusion(before, points(), kind, 4)
        means.append(after[np.abs(after.astype(int) - before).max(axis=2) > 8].mean())
    assert means[0] > 1.8 * means[1]


@given(
    st.tuples(st.floats(-200, 400), st.floats(-200, 400)),
    st.floats(12, 300),
    st.tuples(st.floats(-1.4, 1.4), st.floats(-3.1, 3.1)),
    st.sampled_from(OcclusionKind),
    st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_any_face_anywhere_can_be_drawn_on(
    place: tuple[float, float], unit: float, turned: tuple[float, float], kind: OcclusionKind, seed: int
) -> None:
    face = points(unit, *turned) + np.array(place, np.float32) - np.float32(115)
    if np.hypot(*(face[1] - face[0])) >= 4:
        assert draw_occlusion(picture(), face, kind, seed).shape == (240, 240, 3)


@pytest.mark.parametrize("kind", OcclusionKind)
def test_what_is_outside_of_the_picture_changes_nothing(kind: OcclusionKind) -> None:
    assert np.array_equal(draw_occlusion(picture(), points() + np.float32(5000), kind, 1), picture())


def test_what_cant_be_a_face_is_refused() -> None:
    with pytest.raises(ValueError, match="not on"):
        draw_occlusion(picture()[..., 0], points(), OcclusionKind.CAP, 1)
    with pytest.raises(ValueError, match="finite"):
        draw_occlusion(picture(), points()[:4], OcclusionKind.CAP, 1)
