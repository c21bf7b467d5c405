from __future__ import annotations

import cv2
import numpy as np
import pytest

from embedder.warp import LONGEST, warp


def smooth(height: int, width: int) -> np.ndarray:
    """A picture of slow waves, known at any point and at any scale."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 40 + k) * np.cos(y / 50 - k) for k in range(3)]
    return np.asarray(128 + 100 * np.stack(waves, axis=2), np.uint8)


def turned(scale: float, angle: float, x: float, y: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


@pytest.mark.parametrize("scale", [0.51, 0.9, 1.0, 2.5])
def test_at_moderate_scales_it_is_opencvs(scale: float) -> None:
    image, matrix = smooth(90, 120), turned(scale, 0.3, 4, 7)
    np.testing.assert_array_equal(warp(image, matrix, (50, 60)), cv2.warpAffine(image, matrix, (60, 50)))


@pytest.mark.parametrize("scale", [0.5, 0.3, 0.21, 0.1])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_shrunk_it_shows_the_same_things_at_the_same_places(scale: float, angle: float) -> None:
    image = smooth(700, 900)
    matrix = turned(scale, angle, 30 - 200 * scale, 25 - 300 * scale)
    found = warp(image, matrix, (48, 40)).astype(int)
    plain = cv2.warpAffine(image, matrix, (40, 48)).astype(int)
    inside = cv2.warpAffine(np.ones(image.shape[:2], np.uint8), matrix, (40, 48)) > 0
    inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert inside.sum() > 200
    assert np.abs(found - plain)[inside].max() <= 6


def test_shrunk_fine_detail_turns_into_its_mean_and_not_into_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    matrix = turned(0.1, 0, 0, 0)
    assert warp(noise, matrix, (80, 80))[5:-5, 5:-5].std() < 10
    assert cv2.warpAffine(noise, matrix, (80, 80)).std() > 40


def test_outside_of_the_picture_it_is_black() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    for scale in (1.0, 0.25):
        found = warp(image, turned(scale, 0, 20, 20), (60, 160))
        assert not found[:18].any()
        assert not found[:, :18].any()
        assert not found[:, 122:].any()
        assert (found[24:40, 24:40] == 200).all()
        for far in (-1e6, 1e6):
            assert not warp(image, turned(scale, 0, far, 0), (20, 20)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3)])
@pytest.mark.parametrize("scale", [0.0, 1e-9, 0.01, 0.4, 1.0, 50.0, 1e6])
def test_any_picture_at_any_scale_gives_a_view_of_the_size_asked_for(shape: tuple[int, int], scale: float) -> None:
    found = warp(np.full((*shape, 3), 9, np.uint8), turned(scale, 0.2, 3, 3), (7, 11))
    assert found.shape == (7, 11, 3)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_a_picture_longer_than_opencv_warps_is_seen_all_the_same(scale: float) -> None:
    length = LONGEST + 9000
    image = np.zeros((40, length, 3), np.uint8)
    at = LONGEST + 5000
    image[10:30, at : at + 20] = (10, 20, 30)
    found = warp(image, turned(scale, 0, -scale * (at - 10), 0), (40, 40))
    x, y = round(20 * scale), round(20 * scale)
    assert tuple(found[y, x]) == (10, 20, 30)
    assert not found[:, round(35 * scale) :].any()
