"""Faces are found where they are, small, masked, cut and in crowds; and in no other place."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.cards import WEIGHTS
from embedder.detect import Detector, DetectorOptions, Face
from embedder.synthetic_masks import MaskKind, draw_mask
from ingest.errors import UsageError

Portraits = Mapping[str, np.ndarray]
NAMES = ["person_a_1", "person_a_2", "person_a_3", "person_b_1", "person_c_1"]


def eye_distance(face: Face) -> float:
    return float(np.hypot(*(face.landmarks[1] - face.landmarks[0])))


def apart(a: Face, b: Face) -> float:
    """By how much the landmarks differ, in eye distances."""
    return float(np.abs(a.landmarks - b.landmarks).max()) / eye_distance(b)


def cut(image: np.ndarray, face: Face, *shares: float) -> tuple[np.ndarray, Face]:
    """The face's box without such shares of it left, above, right and below; and the face as it lies in there."""
    left, top, right, bottom = shares
    x, y, w, h = face.box
    x0, y0, x1, y1 = (int(v) for v in (x + left * w, y + top * h, x + (1 - right) * w, y + (1 - bottom) * h))
    away = np.array([x0, y0], np.float32)
    placed = Face(face.box - np.append(away, (0, 0)).astype(np.float32), face.landmarks - away, face.score)
    return np.ascontiguousarray(image[y0:y1, x0:x1]), placed


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=smooth), np.uint8)


def scaled(face: Face, factor: float) -> Face:
    return Face(face.box * np.float32(factor), face.landmarks * np.float32(factor), face.score)


@pytest.mark.parametrize("name", NAMES)
def test_a_portrait_has_one_face_with_its_landmarks_in_order(
    detector: Detector, portraits: Portraits, name: str
) -> None:
    (face,) = detector.detect(portraits[name])
    assert face.box.dtype == face.landmarks.dtype == np.float32
    assert (face.box.shape, face.landmarks.shape) == ((4,), (5, 2))
    assert 0.8 < face.score <= 1
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    x, y, width, height = face.box
    assert ((face.landmarks > (x, y)) & (face.landmarks < (x + width, y + height))).all()
    assert 0.3 * width < eye_distance(face) < 0.7 * width


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_hides_no_face(detector: Detector, portraits: Portraits, name: str) -> None:
    image = portraits[name]
    (bare,) = detector.detect(image)
    for kind in (MaskKind.SURGICAL_BLUE, MaskKind.N95, MaskKind.BLACK):
        (masked,) = detector.detect(draw_mask(image, bare.landmarks, kind, 3))
        assert np.abs(masked.landmarks[:2] - bare.landmarks[:2]).max() < 0.3 * eye_distance(bare)


def test_a_face_too_small_for_the_first_look_is_found_by_the_finer_one(
    detector: Detector, portraits: Portraits
) -> None:
    image = portraits["person_a_2"]
    (face,) = detector.detect(image)
    factor = 26 / float(face.box[2])
    small = resized(image, factor)
    lobby = np.full((720, 1280, 3), 120, np.uint8)
    lobby[300 : 300 + small.shape[0], 500 : 500 + small.shape[1]] = small
    (found,) = detector.detect(lobby)
    assert np.abs(found.landmarks - (face.landmarks * factor + (500, 300))).max() < 4
    assert Detector(WEIGHTS / "yunet", DetectorOptions(fine_canvas=320)).detect(lobby) == []


@pytest.mark.parametrize(("spread", "looks"), [(3, 1), (60, 3)])
def test_before_a_covered_camera_nothing_finer_is_tried(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, spread: int, looks: int
) -> None:
    grey = np.tile(np.linspace(128 - spread, 128 + spread, 640), (480, 1))
    covered = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    looked: list[int] = []
    plain = Detector._at
    monkeypatch.setattr(Detector, "_at", lambda self, image, size: looked.append(size) or plain(self, image, size))
    assert detector.detect(covered) == []
    assert len(looked) == looks


@pytest.mark.parametrize("factor", [1.0, 6.0])
def test_a_crop_so_tight_that_only_a_border_shows_the_face(
    detector: Detector, portraits: Portraits, factor: float
) -> None:
    (face,) = detector.detect(portraits["person_c_1"])
    tight, placed = cut(portraits["person_c_1"], face, 0.17, 0.17, 0.30, 0.39)
    tight = resized(tight, factor)
    assert Detector(WEIGHTS / "yunet", DetectorOptions(score=0.5, border=0.0)).detect(tight) == []
    (found,) = detector.detect(tight)
    assert apart(found, scaled(placed, factor)) < 0.35


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1.0, 3.3])
def test_with_a_border_a_face_lies_where_it_lies_without(
    detector: Detector, portraits: Portraits, name: str, factor: float
) -> None:
    (face,) = detector.detect(portraits[name])
    crop, placed = cut(portraits[name], face, -0.1, -0.1, -0.1, -0.1)
    (found,) = detector._bordered(resized(crop, factor))
    assert apart(found, scaled(placed, factor)) < 0.3
    assert np.abs(found.box / factor - placed.box).max() < 0.2 * face.box[3]


@pytest.mark.parametrize("level", [0, 127, 255])
def test_there_is_no_face_in_a_plain_picture(detector: Detector, level: int) -> None:
    assert detector.detect(np.full((480, 640, 3), level, np.uint8)) == []


@pytest.mark.parametrize("seed", range(3))
def test_there_is_no_face_in_noise(detector: Detector, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert detector.detect(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)) == []
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    assert detector.detect(np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC))) == []


@pytest.mark.parametrize("margin", [0, 30])
@pytest.mark.parametrize("side", [64, 96, 120])
def test_everybody_in_a_crowd_is_found(detector: Detector, portraits: Portraits, margin: int, side: int) -> None:
    montage = crowd(detector, portraits["person_a_1"], side, margin)
    found = detector.detect(montage)
    assert len(found) == 20
    centres = np.array([face.box[:2] + face.box[2:] / 2 for face in found]) - margin
    assert sorted(map(tuple, (centres // side).astype(int).tolist())) == [(x, y) for x in range(5) for y in range(4)]
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    few = Detector(WEIGHTS / "yunet", DetectorOptions(max_faces=7)).detect(montage)
    assert [face.score for face in few] == [face.score for face in found[:7]]


def crowd(detector: Detector, image: np.ndarray, side: int, margin: int) -> np.ndarray:
    """The same face twenty times, 5 by 4 in tiles of ``side`` pixels, on grey."""
    tile, _ = cut(image, detector.detect(image)[0], 0.0, 0.0, 0.0, 0.0)
    tile = np.asarray(cv2.resize(tile, (round(side * 0.7), side), interpolation=cv2.INTER_AREA), np.uint8)
    gap = side - tile.shape[1]
    tile = cv2.copyMakeBorder(tile, 0, 0, gap // 2, gap - gap // 2, cv2.BORDER_REPLICATE)
    grid = np.tile(tile, (4, 5, 1))
    border = (margin, margin, margin, margin)
    return np.asarray(cv2.copyMakeBorder(grid, *border, cv2.BORDER_CONSTANT, value=(127, 127, 127)), np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 4000), (65_535, 1), (1, 65_535), (3, 20_000)])
def test_a_strip_of_a_picture_costs_no_more_than_another(detector: Detector, shape: tuple[int, int]) -> None:
    """A border as long as the strip around the strip would take gigabytes."""
    assert detector.detect(np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)) == []


@settings(max_examples=12)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 9))
def test_any_size_will_do(detector: Detector, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for face in detector.detect(image):
        assert np.isfinite(face.landmarks).all()
        assert (face.box[2:] > 0).all()


def test_the_picture_may_be_a_part_of_another_and_stays_as_it_is(detector: Detector, portraits: Portraits) -> None:
    image = portraits["person_c_1"]
    view = image[:400, 50:450]
    assert not view.flags.writeable
    assert apart(detector.detect(view)[0], detector.detect(view.copy())[0]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_second_look_stays_near_and_keeps_box_and_score(detector: Detector, portraits: Portraits, name: str) -> None:
    (face,) = detector.detect(portraits[name])
    refined = detector.refined(portraits[name], face)
    assert 0 < apart(refined, face) < 0.3
    assert refined.score == face.score
    np.testing.assert_array_equal(refined.box, face.box)
    assert apart(detector.refined(portraits[name], refined), refined) < 0.02


def test_a_second_look_places_the_landmarks_of_small_faces_better(detector: Detector, portraits: Portraits) -> None:
    once, twice = [], []
    for image in portraits.values():
        truth = detector.refined(image, detector.detect(image)[0])
        for factor in (0.2, 0.3, 0.5):
            small = resized(image, factor)
            (face,) = detector.detect(small)
            once.append(apart(face, scaled(truth, factor)))
            twice.append(apart(detector.refined(small, face), scaled(truth, factor)))
    assert np.mean(twice) < 0.8 * np.mean(once)


def test_a_second_look_at_a_huge_face_sees_what_it_sees_at_a_moderate_one(
    detector: Detector, portraits: Portraits
) -> None:
    image = portraits["person_a_1"][:400, 200:520]
    (face,) = detector.detect(image)
    huge = resized(image, 7.0)
    found = detector.refined(huge, scaled(face, 7.0))
    assert apart(found, scaled(detector.refined(image, face), 7.0)) < 0.04


def test_a_second_look_at_a_picture_longer_than_opencv_warps(detector: Detector, portraits: Portraits) -> None:
    image = portraits["person_b_1"][:300]
    (face,) = detector.detect(image)
    strip = np.full((300, 33_000, 3), 120, np.uint8)
    strip[:, 32_500 : 32_500 + image.shape[1]] = image
    away = np.array([32_500, 0], np.float32)
    there = Face(face.box + np.append(away, (0, 0)).astype(np.float32), face.landmarks + away, face.score)
    found, expected = detector.refined(strip, there), detector.refined(image, face)
    assert apart(Face(face.box, found.landmarks - away, face.score), expected) < 0.03


def test_where_the_second_look_disagrees_the_first_one_counts(detector: Detector, portraits: Portraits) -> None:
    image = portraits["person_a_1"]
    (face,) = detector.detect(image)
    astray = Face(face.box, face.landmarks + np.float32(0.5 * face.box[3]), face.score)
    assert detector.refined(image, astray) is astray
    assert detector.refined(np.zeros_like(image), face) is face


def test_a_second_look_past_the_pictures_edge_is_no_error(detector: Detector, portraits: Portraits) -> None:
    image = portraits["person_a_1"]
    (face,) = detector.detect(image)
    half = image[:, : int(face.landmarks[2, 0])]
    assert apart(detector.refined(half, face), face) < 0.6
    nowhere = Face(face.box + np.float32(5000), face.landmarks + np.float32(5000), face.score)
    assert detector.refined(image, nowhere) is nowhere


def test_threads_change_nothing(detector: Detector, portraits: Portraits) -> None:
    images = list(portraits.values()) * 2
    alone = [detector.detect(image)[0].landmarks.tobytes() for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert [faces[0].landmarks.tobytes() for faces in pool.map(detector.detect, images)] == alone


def test_another_kind_of_model_is_no_detector() -> None:
    with pytest.raises(UsageError, match="kind"):
        Detector(WEIGHTS / "sface")
