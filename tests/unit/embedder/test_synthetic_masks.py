"""Drawn masks: where they lie, what they leave free, and that they are the same again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.synthetic_masks import MaskKind, draw_mask
from embedder.synthetic_masks.head import MOUTH_DROP, fit_pose

HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, 0.5], [-0.4, MOUTH_DROP, 0.12], [0.4, MOUTH_DROP, 0.12]])


def face(size: int = 240, unit: float = 50.0, yaw: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """(5, 2) landmarks of a head in the middle of a square picture, seen from a way off."""
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    flat = (HEAD @ turn.T)[:, :2] * unit
    spin = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return (flat @ spin.T + (size / 2, size * 0.4)).astype(np.float32)


def skin(size: int = 240, level: int = 150) -> np.ndarray:
    picture = np.full((size, size, 3), (0.7 * level, 0.85 * level, level), np.uint8)
    picture[:10, :10] = min(255, int(1.6 * level))
    return picture


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(before.astype(int) - after.astype(int)).max(axis=2) > 12


def at(mask: np.ndarray, point: np.ndarray, reach: int = 2) -> np.ndarray:
    x, y = np.rint(point).astype(int)
    return mask[y - reach : y + reach + 1, x - reach : x + reach + 1]


@pytest.mark.parametrize("kind", MaskKind)
@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.5])
def test_it_covers_nose_tip_mouth_and_chin_and_leaves_the_eyes_free(kind: MaskKind, yaw: float) -> None:
    before, points = skin(), face(yaw=yaw)
    covered = changed(before, draw_mask(before, points, kind, 3))
    pose = fit_pose(points)
    for place in (points[2], points[3:].mean(axis=0), pose.project(np.array([0.0, 1.8, 0.05]))):
        assert at(covered, place).mean() > 0.8
    for eye in points[:2]:
        assert not at(covered, eye, 4).any()
    assert not covered[: int(points[:2, 1].min()) - 12].any()


def test_it_turns_with_the_head() -> None:
    before, upright = skin(), changed(skin(), draw_mask(skin(), face(), MaskKind.BLACK, 1))
    rolled = changed(before, draw_mask(before, face(roll=0.4), MaskKind.BLACK, 1))
    centre = np.array([120, 96])

    def direction(covered: np.ndarray) -> np.ndarray:
        y, x = np.nonzero(covered)
        away = np.array([x.mean(), y.mean()]) - centre
        return away / np.linalg.norm(away)

    a, b = direction(upright), direction(rolled)
    assert np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b) == pytest.approx(0.4, abs=0.08)


def test_a_turned_head_shows_more_of_the_near_cheek() -> None:
    points = face(yaw=0.5)
    covered = changed(skin(), draw_mask(skin(), points, MaskKind.SURGICAL_WHITE, 1))
    row = covered[int(points[3:, 1].mean())]
    nose = int(points[2, 0])
    assert row[:nose].sum() > 1.5 * row[nose:].sum()


@pytest.mark.parametrize("kind", MaskKind)
def test_equal_seeds_draw_equal_masks_and_nothing_else_is_touched(kind: MaskKind) -> None:
    before = skin()
    kept = before.copy()
    first, again, other = (draw_mask(before, face(), kind, seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(before, kept)
    assert first.shape == before.shape
    assert first.dtype == np.uint8


def test_kinds_look_different_and_like_themselves() -> None:
    shown = {kind: draw_mask(skin(), face(), kind, 2) for kind in MaskKind}
    x, y = face()[3:].mean(axis=0).astype(int)
    tone = {kind: image[y : y + 20, x - 20 : x + 20].reshape(-1, 3).mean(axis=0) for kind, image in shown.items()}
    assert tone[MaskKind.SURGICAL_BLUE][0] > tone[MaskKind.SURGICAL_BLUE][2] + 30
    assert np.ptp(tone[MaskKind.SURGICAL_WHITE]) < 40
    assert tone[MaskKind.BLACK].mean() < 40 < tone[MaskKind.N95].mean()


def test_it_takes_the_light_of_the_face() -> None:
    lit, dark = (draw_mask(skin(level=level), face(), MaskKind.SURGICAL_WHITE, 1) for level in (150, 40))
    y, x = face()[2].astype(int)[::-1]
    assert lit[y : y + 30, x - 15 : x + 15].mean() > 2.5 * dark[y : y + 30, x - 15 : x + 15].mean()
    half = skin()
    half[:, 120:] = (half[:, 120:] * 0.3).astype(np.uint8)
    sided = draw_mask(half, face(), MaskKind.SURGICAL_WHITE, 1)
    assert sided[y + 20, 80:100].mean() > 1.4 * sided[y + 20, 140:160].mean()


def test_edges_are_smooth() -> None:
    grey = cv2.cvtColor(draw_mask(skin(), face(), MaskKind.BLACK, 1), cv2.COLOR_BGR2GRAY).astype(int)
    column = grey[int(face()[3, 1]) :, 120]
    fall = column[np.argmin(column) :]
    assert np.any((fall > 40) & (fall < 110)), "the lower edge goes from black to skin by way of grey"


@given(
    st.tuples(st.floats(-40, 280), st.floats(-40, 280)),
    st.floats(12, 400),
    st.tuples(st.floats(-1.2, 1.2), st.floats(-3, 3)),
    st.sampled_from(MaskKind),
)
@settings(max_examples=30, deadline=None)
def test_any_face_anywhere_can_be_drawn_on(
    place: tuple[float, float], unit: float, turned: tuple[float, float], kind: MaskKind
) -> None:
    points = face(unit=unit, yaw=turned[0], roll=turned[1]) + np.array(place) - (120, 96)
    drawn = draw_mask(skin(), points.astype(np.float32), kind, 0)
    assert drawn.shape == (240, 240, 3)


def test_a_face_outside_of_the_picture_changes_nothing() -> None:
    assert np.array_equal(draw_mask(skin(), face() + 5000, MaskKind.CLOTH, 1), skin())


@pytest.mark.parametrize(
    ("image", "landmarks", "text"),
    [
        (skin()[..., 0], face(), "not on"),
        (skin().astype(np.float32), face(), "not on"),
        (skin(), face()[:4], "finite"),
        (skin(), np.full((5, 2), np.nan, np.float32), "finite"),
        (skin(), face(unit=2.0), "pixels apart"),
    ],
)
def test_what_cant_be_a_face_is_refused(image: np.ndarray, landmarks: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        draw_mask(image, landmarks, MaskKind.N95, 1)


@pytest.mark.parametrize("yaw", [-0.6, -0.2, 0.0, 0.3, 0.6])
def test_the_pose_is_found_again(yaw: float) -> None:
    pose = fit_pose(face(yaw=yaw, roll=0.2))
    assert pose.yaw == pytest.approx(yaw, abs=0.12)
    assert pose.project(HEAD)[[0, 1]] == pytest.approx(face(yaw=yaw, roll=0.2)[[0, 1]], abs=0.5)
    assert np.abs(pose.project(HEAD) - face(yaw=yaw, roll=0.2)).max() < 4
