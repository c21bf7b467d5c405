"""Landmarks are placed where the model says, in pixels of the picture, or left where they were."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from embedder.cards import LandmarkCard, load_card
from embedder.detect import Face, Points
from embedder.landmarks import ENOUGH, IN_BOX, STILL, Landmarker, _beginnings
from ingest.errors import Corrupt, UsageError

SIZE = 32
TEMPLATE = np.array([[10, 12], [22, 12], [16, 18], [11, 24], [21, 24]], np.float64)
IMAGE = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)


def landmark_model(folder: Path, offsets: np.ndarray, size: int = SIZE, **card: Any) -> Path:
    """A model that sees every landmark off its place by the same ``offsets`` (5, 2)."""
    count = offsets.size
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["picture"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["offsets"]),
        ],
        "still",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("offsets", TensorProto.FLOAT, ["batch", count])],
        [
            numpy_helper.from_array(np.zeros((3, count), np.float32), "w"),
            numpy_helper.from_array(offsets.astype(np.float32).ravel(), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    content = model.SerializeToString(deterministic=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "still.onnx").write_bytes(content)
    fields = {
        "kind": "landmarks",
        "name": "still",
        "title": "a test",
        "file": "still.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "none",
        "source": "a test",
        "made_by": "a test",
        "trained_on": "nothing",
        "intended_use": "a test",
        "limits": "all",
        "model_id": "still-1",
        "input_name": "picture",
        "input_size": [SIZE, SIZE],
        "channels": "BGR",
        "mean": 127.5,
        "std": 64,
        "output": "offsets",
        "template": TEMPLATE.tolist(),
        "landmark_weights": [1, 1, 0.5, 0.2, 0.2],
        "looks": 1,
        "measured": {},
    }
    (folder / "card.json").write_text(json.dumps(fields | card), "utf-8")
    return folder


def face(turn: float = 0.3, scale: float = 4.0, shift: tuple[float, float] = (60, 40)) -> Face:
    """A face whose landmarks are the template's, turned (radians), scaled and shifted."""
    about = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (TEMPLATE @ about.T + shift).astype(np.float32)
    return Face(np.array([20, 20, 100, 120], np.float32), points, 0.8)


def test_what_is_in_its_place_stays_there(tmp_path: Path) -> None:
    model = Landmarker(landmark_model(tmp_path, np.zeros((5, 2)), looks=3))
    assert isinstance(load_card(tmp_path), LandmarkCard)
    found = model.refined(IMAGE, face())
    np.testing.assert_allclose(found.landmarks, face().landmarks, atol=1e-3)
    assert (found.score, found.landmarks.dtype) == (0.8, np.float32)
    np.testing.assert_array_equal(found.box, face().box)


def test_what_is_off_is_moved_in_pixels_of_the_picture(tmp_path: Path) -> None:
    model = Landmarker(landmark_model(tmp_path, np.tile([1.0, 0.0], (5, 1))))
    turn, scale = 0.3, 4.0
    moved = model.refined(IMAGE, face(turn, scale)).landmarks - face(turn, scale).landmarks
    np.testing.assert_allclose(moved, np.tile(scale * np.array([np.cos(turn), np.sin(turn)]), (5, 1)), atol=1e-3)


def test_each_look_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    offsets = np.tile([0.5, -0.25], (5, 1))
    once = Landmarker(landmark_model(tmp_path / "once", offsets))
    thrice = Landmarker(landmark_model(tmp_path / "thrice", offsets, looks=3))
    expected = face()
    for _ in range(3):
        expected = once.refined(IMAGE, expected)
    np.testing.assert_allclose(thrice.refined(IMAGE, face()).landmarks, expected.landmarks, atol=1e-3)


def test_what_has_come_to_rest_is_not_looked_at_again(tmp_path: Path) -> None:
    model = Landmarker(landmark_model(tmp_path, np.tile([STILL * 12 * 0.9, 0.0], (5, 1)), looks=8))
    with mock.patch.object(model, "_placed", wraps=model._placed) as looks:
        model.refined(IMAGE, face())
    assert looks.call_count == 2


def astray(model: Landmarker, places: dict[int, Points]) -> Face:
    """What becomes of a face on which the looks do not come to rest, where each new beginning leads to its place."""
    lost = [(face().landmarks, 1.0), *((places[number], 0.0) for number in sorted(places))]
    with mock.patch.object(model, "_looked", side_effect=lost):
        return model.refined(IMAGE, face())


def test_a_face_that_does_not_come_to_rest_is_where_most_new_beginnings_lead(tmp_path: Path) -> None:
    model = Landmarker(landmark_model(tmp_path, np.zeros((5, 2)), looks=3))
    rng, real = np.random.default_rng(3), face(0.1, 4.2, (70, 60)).landmarks
    places = {number: real + rng.normal(0, 0.5, (5, 2)).astype(np.float32) for number in range(0, 14, 2)}
    places |= {number: real + np.float32(40 * number) for number in range(1, 14, 2)}
    found = astray(model, places)
    np.testing.assert_allclose(found.landmarks, real, atol=1)
    assert (found.score, found.landmarks.dtype) == (0.8, np.float32)
    np.testing.assert_array_equal(found.box, face().box)


def test_where_too_few_agree_the_face_stays_as_it_was(tmp_path: Path) -> None:
    model = Landmarker(landmark_model(tmp_path, np.zeros((5, 2)), looks=3))
    places = {number: face().landmarks + np.float32(30 * (number // (ENOUGH - 1))) for number in range(14)}
    given = astray(model, places)
    np.testing.assert_array_equal(given.landmarks, face().landmarks)
    assert given.score == face().score


def test_new_beginnings_are_of_the_landmarks_and_of_the_box() -> None:
    given = face()
    found = list(_beginnings(given))
    assert len(found) == 14
    np.testing.assert_allclose(found[0], given.landmarks, atol=1e-4)
    inside = (found[7] - given.box[:2]) / given.box[2:]
    np.testing.assert_allclose(inside, IN_BOX, atol=1e-6)
    apart = np.array([np.linalg.norm(points[1] - points[0]) for points in found])
    np.testing.assert_allclose(apart / np.repeat(apart[[0, 7]], 7), [1, 0.75, 1.3, 1, 1, 1, 1] * 2, rtol=1e-5)
    assert len({points.tobytes() for points in found}) == 14


def test_a_face_that_would_leave_its_place_stays(tmp_path: Path) -> None:
    model = Landmarker(landmark_model(tmp_path, np.tile([12.0, 0.0], (5, 1))))
    assert model.refined(IMAGE, face()).landmarks is not face()
    np.testing.assert_array_equal(model.refined(IMAGE, face()).landmarks, face().landmarks)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), TEMPLATE / 20])
def test_where_nothing_can_be_seen_nothing_is_said(points: np.ndarray, tmp_path: Path) -> None:
    model = Landmarker(landmark_model(tmp_path, np.ones((5, 2))))
    given = Face(np.zeros(4, np.float32), points.astype(np.float32), 0.5)
    assert model.refined(IMAGE, given) is given


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"input_size": [16, 16]}, "its card says picture"),
        ({"input_name": "face"}, "its card says face"),
        ({"output": "points"}, "its card says points"),
        ({"sha256": "0" * 64}, "its card says 0000"),
    ],
)
def test_weights_that_do_not_fit_their_card_are_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=told):
        Landmarker(landmark_model(tmp_path, np.zeros((5, 2)), **change))


def test_a_model_of_other_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="gives 6 numbers, and five landmarks have 10"):
        Landmarker(landmark_model(tmp_path, np.zeros((3, 2))))


def test_a_card_of_another_kind_is_refused(tmp_path: Path) -> None:
    landmark_model(tmp_path, np.zeros((5, 2)), kind="detector")
    with pytest.raises(UsageError, match="kind"):
        Landmarker(tmp_path)
