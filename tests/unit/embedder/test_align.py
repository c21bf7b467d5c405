"""Alignment: the same face comes out alike however it lies in the picture, mask or not."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest

from embedder.align import align, similarity
from embedder.cards import WEIGHTS, load_model_card
from embedder.detect import Detector, Face

CARD = load_model_card(WEIGHTS / "sface")
TEMPLATE = np.array(CARD.template, np.float32)
WEIGHT = np.array(CARD.landmark_weights, np.float64)
SIZE = CARD.input_size


def placed(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.fixture(scope="module")
def known(detector: Detector, portraits: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Face]:
    image = portraits["person_a_1"]
    return image, detector.refined(image, detector.detect(image)[0])


def aligned(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return align(image, landmarks.astype(np.float32), TEMPLATE, WEIGHT, SIZE)


def unlike(a: np.ndarray, b: np.ndarray) -> float:
    """The mean difference in grey values over the middle of the face."""
    return float(np.abs(a.astype(float) - b.astype(float))[20:-20, 20:-20].mean())


def test_a_face_that_lies_like_the_template_is_cut_out_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 220, 3), dtype=np.uint8)
    found = aligned(image, TEMPLATE + np.array([30, 40]))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - image[40:152, 30:142]).max() <= 1


def test_the_eyes_come_to_lie_where_the_model_expects_them(known: tuple[np.ndarray, Face]) -> None:
    image, face = known
    matrix = similarity(face.landmarks, TEMPLATE, WEIGHT)
    distance = np.hypot(*(TEMPLATE[1] - TEMPLATE[0]))
    assert np.abs(placed(face.landmarks, matrix) - TEMPLATE)[:2].max() < 0.12 * distance
    assert aligned(image, face.landmarks).shape == (*SIZE, 3)


@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0), (1.0, 35), (1.7, -20), (0.6, 90), (0.45, 10), (0.3, 180)])
def test_scaled_turned_and_shifted_it_stays_the_same_face(
    known: tuple[np.ndarray, Face], scale: float, angle: float
) -> None:
    image, face = known
    centre = face.landmarks.mean(axis=0)
    change = cv2.getRotationMatrix2D(centre.tolist(), angle, scale)
    change[:, 2] += (350, 400) - centre
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    changed = np.asarray(cv2.warpAffine(image, change, (700, 800), flags=shrink), np.uint8)
    before, after = aligned(image, face.landmarks), aligned(changed, placed(face.landmarks, change))
    other = np.asarray(before[:, ::-1])
    assert unlike(before, after) < 8 < 0.5 * unlike(before, other)


def test_however_large_the_picture_the_face_is_the_same(known: tuple[np.ndarray, Face]) -> None:
    """From a factor of two on the picture is reduced first: nothing may shift there."""
    image, face = known
    b = face.box.astype(int)
    x, y = max(0, b[0] - b[2]), max(0, b[1] - b[2])
    part = image[y : b[1] + 2 * b[3], x : b[0] + 2 * b[2]]
    points = face.landmarks - (x, y)
    reference = aligned(part, points)
    for factor in (1.5, 2.0, 3.0, 5.3):
        size = round(part.shape[1] * factor), round(part.shape[0] * factor)
        larger = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        grown = (points + 0.5) * (size[0] / part.shape[1], size[1] / part.shape[0]) - 0.5
        assert unlike(reference, aligned(larger, grown)) < 5


def test_a_face_at_the_border_is_black_where_there_is_no_picture(known: tuple[np.ndarray, Face]) -> None:
    image, face = known
    middle = int(face.landmarks[2, 0])
    half = np.ascontiguousarray(image[:, :middle])
    found, whole = aligned(half, face.landmarks), aligned(image, face.landmarks)
    assert np.abs(found.astype(int) - whole)[:, :45].max() <= 3
    assert not found[:, 75:].any()


def test_a_face_in_a_picture_longer_than_opencv_warps(known: tuple[np.ndarray, Face]) -> None:
    image, face = known
    strip = np.zeros((400, 33_000, 3), np.uint8)
    strip[:, 32_000 : 32_000 + image.shape[1]] = image[:400]
    found = aligned(strip, face.landmarks + np.array([32_000, 0]))
    assert np.abs(found.astype(int) - aligned(image[:400], face.landmarks)).max() <= 12


def test_a_guessed_mouth_moves_the_eyes_little(known: tuple[np.ndarray, Face]) -> None:
    _, face = known
    moved = face.landmarks.copy()
    moved[3:] += np.float32(0.3 * np.hypot(*(face.landmarks[1] - face.landmarks[0])))

    def shift(weights: np.ndarray) -> float:
        eyes = [placed(face.landmarks[:2], similarity(p, TEMPLATE, weights)) for p in (face.landmarks, moved)]
        return float(np.abs(eyes[0] - eyes[1]).max())

    assert shift(WEIGHT) < 0.8 * shift(np.ones(5))


def test_landmarks_in_one_point_are_no_error() -> None:
    found = aligned(np.full((50, 50, 3), 80, np.uint8), np.full((5, 2), 20.0))
    assert found.shape == (*SIZE, 3)
