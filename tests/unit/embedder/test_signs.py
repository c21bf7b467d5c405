"""What covers a face, and whether its eyes are open, by the shipped models and by arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from classifiers import EYES, WEAR, write_classifier

from embedder.cards import WEIGHTS
from embedder.detect import Detector, Face, Image
from embedder.embed import Embedder
from embedder.eyes import LEFT, RIGHT, eye_distance, eye_view
from embedder.onnx_model import OnnxModel
from embedder.quality import main_face
from embedder.records import Signs, Wear
from embedder.signs import SignReader, open_eyes
from embedder.synthetic_masks import MaskKind, OcclusionKind, draw_mask, draw_occlusion
from embedder.warp import warp
from ingest.errors import Corrupt

LABELS = ("closed", "open", "hidden")
STRAIGHT = np.array([[80, 100], [120, 100], [100, 125], [85, 145], [115, 145]], np.float32)


@pytest.fixture(scope="module")
def reader() -> SignReader:
    return SignReader(WEIGHTS / "wear", WEIGHTS / "eyes")


@pytest.fixture(scope="module")
def faces(portraits: Mapping[str, Image], detector: Detector) -> list[tuple[Image, Face]]:
    found = []
    for image in portraits.values():
        seen = detector.detect(image)
        found.append((image, detector.refined(image, seen[main_face(seen, image.shape)])))
    return found


def test_an_eye_lies_upright_in_the_middle_of_its_view() -> None:
    turn = np.deg2rad(30)
    turned = (STRAIGHT - 100) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 100
    for landmarks in (STRAIGHT, turned):
        for eye, other in ((RIGHT, LEFT), (LEFT, RIGHT)):
            matrix = eye_view(landmarks, eye, 0.75, (32, 32))
            places = landmarks @ matrix[:, :2].T + matrix[:, 2]
            np.testing.assert_allclose(places[eye], [16, 16], atol=1e-4)
            side = 1 if other == LEFT else -1
            np.testing.assert_allclose(places[other], [16 + side * 32 / 0.75, 16], atol=1e-3)


def test_a_head_that_turns_aside_keeps_its_size() -> None:
    aside = STRAIGHT.copy()
    aside[:, 0] = 100 + (aside[:, 0] - 100) * 0.4
    assert eye_distance(STRAIGHT) == 40
    assert eye_distance(aside) == pytest.approx(0.78 * 45)
    upwards = STRAIGHT.copy()
    upwards[3:, 1] = 110
    assert eye_distance(upwards) == 40


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([[0.2, 0.8, 0], [0.2, 0.8, 0]], 0.8),
        ([[0.8, 0.2, 0], [0.2, 0.8, 0]], 0.5),
        ([[0.1, 0.3, 0.6], [0.2, 0.8, 0]], 0.8),
        ([[0.1, 0.3, 0.6], [0, 0.1, 0.9]], None),
        ([[0, 1, 0], [0.5, 0.5, 0]], 0.9901),
        ([[0, 1, 0], [0, 1, 0]], 0.9999),
    ],
)
def test_two_eyes_give_one_answer(found: list[list[float]], expected: float | None) -> None:
    assert open_eyes(np.array(found, np.float32), LABELS) == pytest.approx(expected, abs=1e-4)


def test_without_a_label_for_it_no_eye_is_hidden() -> None:
    assert open_eyes(np.array([[0.3, 0.7]] * 2, np.float32), ("closed", "open")) == pytest.approx(0.7)
    assert open_eyes(np.array([[0.7, 0.3]] * 2, np.float32), ("open", "closed")) == pytest.approx(0.7)


def test_bare_faces_with_open_eyes_are_seen_as_such(reader: SignReader, faces: list[tuple[Image, Face]]) -> None:
    for image, face in faces:
        signs = reader.read(image, face.landmarks)
        assert signs.wear is Wear.BARE
        assert signs.wear_score > 0.5
        assert signs.eyes_open is not None
        assert signs.eyes_open > 0.7


@pytest.mark.parametrize("kind", list(MaskKind))
def test_a_mask_is_seen_and_the_eyes_above_it(
    reader: SignReader, faces: list[tuple[Image, Face]], detector: Detector, kind: MaskKind
) -> None:
    for image, face in faces:
        masked = draw_mask(image, face.landmarks, kind, 3)
        again = detector.detect(masked)
        signs = reader.read(masked, detector.refined(masked, again[main_face(again, masked.shape)]).landmarks)
        assert signs.wear is Wear.MASKED
        assert signs.eyes_open is not None
        assert signs.eyes_open > 0.5


def test_behind_sunglasses_nothing_is_said_of_eyes(reader: SignReader, faces: list[tuple[Image, Face]]) -> None:
    said = []
    for image, face in faces:
        signs = reader.read(draw_occlusion(image, face.landmarks, OcclusionKind.SUNGLASSES, 3), face.landmarks)
        assert signs.wear is Wear.OCCLUDED
        said.append(signs.eyes_open)
    assert said.count(None) >= len(said) - 1


def test_tiny_eyes_tell_nothing(reader: SignReader, faces: list[tuple[Image, Face]]) -> None:
    image, face = faces[0]
    scale = 15.5 / eye_distance(face.landmarks)
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    assert reader.read(small, face.landmarks * np.float32(scale)).eyes_open is None


def shut(image: Image, landmarks: np.ndarray) -> Image:
    """The picture with lids over the eyes, of the skin below them, and the line of the lashes."""
    distance = eye_distance(landmarks)
    found = image.astype(np.float32)
    for x, y in landmarks[:2].tolist():
        lid, lashes = np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.float32)
        cv2.ellipse(lid, (int(x), int(y)), (int(0.3 * distance), int(0.17 * distance)), 0, 0, 360, 1.0, -1)
        lid = np.asarray(cv2.GaussianBlur(lid, (0, 0), 0.03 * distance))[:, :, None]
        along = int(0.22 * distance), int(0.08 * distance)
        wide = max(1, round(0.025 * distance))
        cv2.ellipse(lashes, (int(x), int(y + 0.02 * distance)), along, 0, 5, 175, 1.0, wide, cv2.LINE_AA)
        below, beside = (slice(int(v), int(w)) for v, w in ((y + 0.28 * distance, y + 0.36 * distance), (x, x + 9)))
        skin = image[below, beside].reshape(-1, 3).mean(axis=0)
        found = found * (1 - lid) + skin * (1 - 0.75 * lashes[:, :, None]) * lid
    return np.asarray(np.clip(found, 0, 255), np.uint8)


def test_closed_eyes_are_told_from_open_ones(reader: SignReader, faces: list[tuple[Image, Face]]) -> None:
    for image, face in faces:
        before, after = (reader.read(i, face.landmarks).eyes_open for i in (image, shut(image, face.landmarks)))
        assert before is not None
        assert before > 0.9
        assert after is not None
        assert after < 0.2


@pytest.mark.parametrize(
    ("wear", "eyes", "said"),
    [
        (EYES, EYES, "a classifier of an eye, and no face's"),
        (WEAR, WEAR, "a classifier of a face, and no eye's"),
        (WEAR | {"labels": ["bare", "masked", "hatted"]}, EYES, "its labels are bare, masked, hatted, not"),
        (WEAR | {"labels": ["bare", "masked"]}, EYES, "its labels are bare, masked, not"),
        (WEAR, EYES | {"labels": ["closed", "hidden"]}, "its labels are closed, hidden, not"),
    ],
)
def test_a_classifier_of_something_else_is_refused(tmp_path: Path, wear: dict, eyes: dict, said: str) -> None:
    folders = [
        write_classifier(tmp_path / name, fields, [0.0] * len(fields["labels"]))
        for name, fields in (("wear", wear), ("eyes", eyes))
    ]
    with pytest.raises(Corrupt, match=said):
        SignReader(*folders)


def test_the_cards_say_what_answers_mean(tmp_path: Path, faces: list[tuple[Image, Face]]) -> None:
    wear = write_classifier(tmp_path / "wear", WEAR | {"labels": ["occluded", "bare", "masked"]}, [0, 0, 2])
    eyes = write_classifier(tmp_path / "eyes", EYES | {"labels": ["open", "closed"]}, [0, 1])
    image, face = faces[0]
    expected = Signs(wear=Wear.MASKED, wear_score=round(float(np.exp(2) / (2 + np.exp(2))), 4), eyes_open=0.2689)
    assert SignReader(wear, eyes).read(image, face.landmarks) == expected


def test_an_embedder_reads_signs_if_it_has_a_reader(
    detector: Detector, reader: SignReader, portraits: Mapping[str, Image]
) -> None:
    image = portraits["person_a_1"]
    with_signs = Embedder(detector, OnnxModel(WEIGHTS / "sface"), reader=reader)
    probe = with_signs.embed(image)
    assert probe.signs == reader.read(image, probe.face.landmarks)
    assert with_signs.clock.seconds["signs"] > 0


def test_the_edge_of_the_picture_is_no_error(reader: SignReader) -> None:
    image = np.random.default_rng(3).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    assert isinstance(reader.read(image, STRAIGHT - 110), Signs)
    matrix = eye_view(np.zeros((5, 2), np.float32), LEFT, 0.75, (32, 32))
    assert warp(image, matrix, (32, 32)).shape == (32, 32, 3)
