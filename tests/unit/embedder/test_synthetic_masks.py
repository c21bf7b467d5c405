"""Drawn masks: where they lie, what they leave free, and that they are the same again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.synthetic_masks import MaskKind, draw_mask, draw_masks
from embedder.synthetic_masks.head import MOUTH_DROP, Pose, fit_pose
from embedder.synthetic_masks.texture import SIZE, VARIANTS, texture

HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, 0.5], [-0.4, MOUTH_DROP, 0.12], [0.4, MOUTH_DROP, 0.12]])


def face(size: int = 240, unit: float = 50.0, yaw: float = 0.0, roll: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """(5, 2) landmarks of a head in the middle of a square picture, seen from a way off."""
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    flat = (HEAD @ turn.T @ nod.T)[:, :2] * unit
    spin = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return (flat @ spin.T + (size / 2, size * 0.4)).astype(np.float32)


def skin(size: int = 240, level: int = 150) -> np.ndarray:
    picture = np.full((size, size, 3), (0.7 * level, 0.85 * level, level), np.uint8)
    picture[:10, :10] = min(255, int(1.6 * level))
    return picture


def poster(size: int = 240) -> np.ndarray:
    """A picture of a colour that no mask has, so that whatever is drawn shows."""
    picture = np.full((size, size, 3), (90, 255, 0), np.uint8)
    picture[:20, :40] = 255
    return picture


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(before.astype(int) - after.astype(int)).max(axis=2) > 12


def at(mask: np.ndarray, point: np.ndarray, reach: int = 2) -> np.ndarray:
    x, y = np.rint(point).astype(int)
    return mask[y - reach : y + reach + 1, x - reach : x + reach + 1]


@pytest.mark.parametrize("kind", MaskKind)
@pytest.mark.parametrize(("yaw", "pitch"), [(-0.5, 0.0), (0.0, -0.3), (0.0, 0.0), (0.0, 0.3), (0.5, 0.0)])
def test_it_covers_nose_tip_mouth_and_chin_and_leaves_the_eyes_free(kind: MaskKind, yaw: float, pitch: float) -> None:
    before, points = poster(), face(yaw=yaw, pitch=pitch)
    pose = fit_pose(points)
    for seed in range(6):
        covered = changed(before, draw_mask(before, points, kind, seed))
        for place in (points[2], points[3:].mean(axis=0), pose.project(np.array([0.0, 1.8, 0.05]))):
            assert at(covered, place).mean() > 0.8
        for eye in points[:2]:
            assert not at(covered, eye, 4).any()
        assert not covered[: int(points[:2, 1].min()) - 12].any()


def test_how_high_it_sits_is_varied() -> None:
    before, points = poster(), face()
    nose = slice(int(points[2, 0]) - 2, int(points[2, 0]) + 3)
    tops = {
        int(np.argmax(changed(before, draw_mask(before, points, MaskKind.CLOTH, s))[:, nose].all(1))) for s in range(12)
    }
    assert len(tops) >= 5
    assert points[0, 1] + 3 < min(tops) < max(tops) < points[2, 1]


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


@pytest.mark.parametrize("kind", [MaskKind.SURGICAL_BLUE, MaskKind.CLOTH])
def test_an_infrared_picture_stays_grey(kind: MaskKind) -> None:
    grey = np.repeat(cv2.cvtColor(skin(), cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2)
    drawn = draw_mask(grey, face(), kind, 4).astype(int)
    assert changed(grey, drawn).mean() > 0.03
    assert np.ptp(drawn, axis=2).max() <= 1


def test_straps_go_to_the_ears_that_are_seen() -> None:
    before, points = poster(), face(yaw=0.5)
    pose = fit_pose(points)
    covered = changed(before, draw_mask(before, points, MaskKind.SURGICAL_WHITE, 1))
    near, far = (pose.project(np.array([side * 1.06, 0.36, -1.0])) for side in (-1.0, 1.0))
    row = slice(int(near[1]) - 20, int(near[1]) + 20)
    assert covered[row, int(near[0]) : int(near[0]) + 8].any()
    assert not covered[row, int(far[0]) + 12 :].any()


def test_many_get_seeds_in_a_row() -> None:
    pictures = [(skin(), face()), (skin(level=90), face(yaw=0.3))]
    drawn = list(draw_masks(pictures, MaskKind.N95, 5))
    for number, (picture, points) in enumerate(pictures):
        assert np.array_equal(drawn[number], draw_mask(picture, points, MaskKind.N95, 5 + number))


@pytest.mark.parametrize("kind", MaskKind)
def test_textures_are_kept_and_differ(kind: MaskKind) -> None:
    made = [texture(kind, variant) for variant in range(VARIANTS)]
    assert texture(kind, 0) is made[0]
    assert [level.shape for level in made[0].levels] == [(SIZE >> step, SIZE >> step, 3) for step in range(4)]
    assert not any(level.flags.writeable for one in made for level in one.levels)
    assert len({one.levels[0].tobytes() for one in made}) == VARIANTS
    # Folds shade the cloth, and leave it as bright as it is.
    assert all(115 < one.levels[0][..., 0].mean() < 138 for one in made)


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
@pytest.mark.parametrize("pitch", [-0.3, 0.0, 0.3])
def test_the_pose_is_found_again(yaw: float, pitch: float) -> None:
    points = face(yaw=yaw, roll=0.2, pitch=pitch)
    pose = fit_pose(points)
    assert pose.yaw == pytest.approx(yaw, abs=0.15)
    assert pose.pitch == pytest.approx(0.75 * pitch, abs=0.1), "only so much of it is trusted"
    assert pose.project(HEAD)[[0, 1]] == pytest.approx(points[[0, 1]], abs=0.5)
    assert np.abs(pose.project(HEAD) - points).max() < 7


def test_a_profile_s_nose_is_covered() -> None:
    points = face(yaw=1.35)
    before = poster()
    pose: Pose = fit_pose(points)
    assert pose.unit < 3 * 50
    assert at(changed(before, draw_mask(before, points, MaskKind.BLACK, 1)), points[2]).mean() > 0.6
