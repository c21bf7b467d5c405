"""The gate names what is wrong; lenient, and in one order."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from templates import QUALITY

from embedder.detect import Face
from embedder.quality import GateOptions, check_faces, check_quality, main_face, measure
from embedder.records import Quality
from ingest.errors import BadRecord
from ingest.reasons import Reason

GATE = GateOptions()
SHAPE = (480, 640, 3)


def at(x: float, y: float, width: float, height: float | None = None, score: float = 0.9) -> Face:
    """A face whose box has its middle at (x, y)."""
    height = 1.3 * width if height is None else height
    box = np.array([x - width / 2, y - height / 2, width, height], np.float32)
    return Face(box, looking(0.0, width / 2) + np.float32((x, y)), score)


def looking(yaw: float, distance: float = 40.0, roll: float = 0.0) -> np.ndarray:
    """(5, 2) landmarks around the origin of a head turned so far that the nose is ``yaw`` eye distances off."""
    points = np.array([[-0.5, 0], [0.5, 0], [yaw, 0.6], [-0.4, 1.1], [0.4, 1.1]]) * distance
    spin = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return (points @ spin).astype(np.float32)


def eyes(contrast: float = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(np.clip(rng.normal(120, contrast, (38, 78)), 0, 255), np.uint8)


def refused(check: Callable[[], None]) -> tuple[Reason, str]:
    with pytest.raises(BadRecord) as refusal:
        check()
    return refusal.value.reason, refusal.value.detail


def test_the_largest_face_is_the_main_one() -> None:
    assert main_face([at(200, 240, 60), at(440, 240, 90), at(320, 100, 40)], SHAPE) == 1


def test_of_equally_large_faces_it_is_the_most_central() -> None:
    assert main_face([at(80, 100, 80), at(330, 250, 80), at(560, 240, 80)], SHAPE) == 1


def test_a_little_larger_at_the_edge_does_not_outdo_the_middle() -> None:
    assert main_face([at(50, 60, 90), at(320, 240, 80)], SHAPE) == 1
    assert main_face([at(50, 60, 300), at(320, 240, 80)], SHAPE) == 0


def test_the_score_and_the_order_do_not_choose() -> None:
    crowd = [at(320, 240, 80, score=0.6), at(100, 240, 60, score=0.99)]
    assert main_face(crowd, SHAPE) == 0
    assert main_face(crowd[::-1], SHAPE) == 1
    assert main_face([at(9000, 9000, 10)], SHAPE) == 0


def test_without_a_face_detail_decides_whose_fault_it_is() -> None:
    rng = np.random.default_rng(0)
    room = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (640, 480))
    assert refused(lambda: check_faces([], room, GATE))[0] is Reason.NO_FACE
    for covered in (np.zeros(SHAPE, np.uint8), np.full(SHAPE, 255, np.uint8), np.full((1, 1, 3), 90, np.uint8)):
        reason, detail = refused(lambda covered=covered: check_faces([], covered, GATE))
        assert (reason, detail) == (Reason.CAMERA_OBSCURED, "The picture has hardly any detail (deviation 0.0).")
    sensor_noise = rng.normal(12, 6, SHAPE).clip(0, 255).astype(np.uint8)
    assert refused(lambda: check_faces([], sensor_noise, GATE))[0] is Reason.CAMERA_OBSCURED


def test_a_crowd_is_at_no_machine() -> None:
    image = np.zeros(SHAPE, np.uint8)
    faces = [at(30 * i, 200, 20) for i in range(13)]
    check_faces(faces[:12], image, GATE)
    reason, detail = refused(lambda: check_faces(faces, image, GATE))
    assert reason is Reason.TOO_MANY_FACES
    assert detail.startswith("13 faces, more than 12")


@pytest.mark.parametrize("roll", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("yaw", [-0.8, -0.2, 0.0, 0.5])
def test_yaw_is_the_noses_way_along_the_eyes_however_the_head_is_tilted(yaw: float, roll: float) -> None:
    found = measure(Face(np.array([0, 0, 80, 100], np.float32), looking(yaw, 37.0, roll), 0.9), eyes())
    assert found.yaw == pytest.approx(yaw, abs=2e-3)
    assert found.eye_distance_px == pytest.approx(37, abs=0.02)
    assert found.detection == 0.9


def test_what_is_measured_of_the_eye_region() -> None:
    region = eyes()
    found = measure(at(50, 50, 80), region)
    blurred = measure(at(50, 50, 80), np.asarray(cv2.GaussianBlur(region, (0, 0), 3)))
    assert found.brightness == pytest.approx(region.mean(), abs=0.01)
    assert found.contrast == pytest.approx(region.std(), abs=0.01)
    assert blurred.sharpness < 0.01 * found.sharpness
    flat = measure(at(50, 50, 80), np.full((38, 78), 7, np.uint8))
    assert (flat.sharpness, flat.contrast, flat.brightness, flat.score) == (0, 0, 7, 0)


def test_the_score_falls_with_each_of_its_parts() -> None:
    best = measure(at(50, 50, 200), eyes()).score
    worse = [
        measure(at(50, 50, 30), eyes()),
        measure(at(50, 50, 200, score=0.6), eyes()),
        measure(at(50, 50, 200), eyes(contrast=3)),
        measure(at(50, 50, 200), np.asarray(cv2.GaussianBlur(eyes(), (0, 0), 3))),
        measure(Face(np.zeros(4, np.float32), looking(0.4, 100.0), 0.9), eyes()),
    ]
    assert all(0 < quality.score < best <= 1 for quality in worse)


def test_eyes_in_one_point_are_no_error() -> None:
    found = measure(Face(np.zeros(4, np.float32), np.full((5, 2), 3, np.float32), 0.9), eyes())
    assert (found.eye_distance_px, found.score) == (0, 0)
    assert refused(lambda: check_quality(found, GATE))[0] is Reason.FACE_TOO_SMALL


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=10, max_size=10), st.integers(0, 255), st.floats(0, 1), st.data()
)
def test_any_face_can_be_measured(points: list[float], level: int, score: float, data: st.DataObject) -> None:
    region = np.full((3, 4), level, np.uint8)
    region[data.draw(st.integers(0, 2)), data.draw(st.integers(0, 3))] = 255 - level
    face = Face(np.zeros(4, np.float32), np.array(points, np.float32).reshape(5, 2), score)
    assert 0 <= measure(face, region).score <= 1


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"eye_distance_px": 11.4}, Reason.FACE_TOO_SMALL, "The eyes are 11 pixels apart; 12 are needed."),
        ({"yaw": 0.76}, Reason.EXTREME_POSE, Reason.EXTREME_POSE.sentence),
        ({"yaw": -1.5}, Reason.EXTREME_POSE, Reason.EXTREME_POSE.sentence),
        ({"contrast": 3.9}, Reason.CAMERA_OBSCURED, "The eye region has no contrast (deviation 3.9)."),
        ({"sharpness": 5.9}, Reason.BLURRED, "The eye region's sharpness is 5.9; 6 is needed."),
        ({"eye_distance_px": 1, "yaw": 2, "contrast": 0, "sharpness": 0}, Reason.FACE_TOO_SMALL, "apart"),
        ({"yaw": 2, "contrast": 0, "sharpness": 0}, Reason.EXTREME_POSE, "turned"),
        ({"contrast": 0, "sharpness": 0}, Reason.CAMERA_OBSCURED, "no contrast"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(changes: dict[str, float], reason: Reason, said: str) -> None:
    quality = Quality.model_validate(QUALITY.model_dump() | changes)
    gate = GateOptions(eye_distance=12, sharpness=6, contrast=4, yaw=0.75)
    found, detail = refused(lambda: check_quality(quality, gate))
    assert found is reason
    assert said in detail


def test_what_is_at_a_limit_passes() -> None:
    gate = GateOptions(eye_distance=12, sharpness=6, contrast=4, yaw=0.75)
    limits = {"eye_distance_px": 12, "yaw": -0.75, "contrast": 4, "sharpness": 6}
    check_quality(Quality.model_validate(QUALITY.model_dump() | limits), gate)
    check_quality(QUALITY, GATE)
