"""From pictures to templates with the shipped models: who resembles whom, and why a picture is refused."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import cast

import cv2
import numpy as np
import pytest
from templates import ProjectingModel

from embedder.detect import Detector, Face
from embedder.embed import Embedder, Probe, StageClock
from embedder.quality import GateOptions
from embedder.synthetic_masks import MaskKind, draw_mask
from ingest.errors import BadRecord
from ingest.reasons import Reason

Portraits = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def probes(embedder: Embedder, portraits: Portraits) -> dict[str, Probe]:
    return {name: embedder.embed(image) for name, image in portraits.items()}


def refused(embedder: Embedder, image: np.ndarray) -> Reason:
    with pytest.raises(BadRecord) as refusal:
        embedder.embed(image)
    return refusal.value.reason


def cosine(a: Probe, b: Probe) -> float:
    return float(a.vector @ b.vector)


def test_one_persons_portraits_resemble_each_other_more_than_anybody_elses(
    embedder: Embedder, probes: dict[str, Probe]
) -> None:
    pairs = {(a, b): cosine(probes[a], probes[b]) for a, b in combinations(probes, 2)}
    same = [value for (a, b), value in pairs.items() if a[:8] == b[:8]]
    other = [value for (a, b), value in pairs.items() if a[:8] != b[:8]]
    assert (len(same), len(other)) == (3, 7)
    assert min(same) > max(other) + 0.25
    assert max(other) < embedder.model.card.linking.threshold < min(same)


def test_under_a_mask_they_still_do(embedder: Embedder, portraits: Portraits, probes: dict[str, Probe]) -> None:
    for name, kind in (("person_a_1", MaskKind.SURGICAL_BLUE), ("person_b_1", MaskKind.BLACK)):
        masked = embedder.embed(draw_mask(portraits[name], probes[name].face.landmarks, kind, 3))
        own = cosine(masked, probes[name])
        others = [cosine(masked, probe) for other, probe in probes.items() if other[:8] != name[:8]]
        assert own > max(others) + 0.2


def test_a_probe_is_a_unit_vector_with_its_face_and_quality(embedder: Embedder, probes: dict[str, Probe]) -> None:
    for probe in probes.values():
        assert probe.vector.dtype == np.float32
        assert probe.vector.shape == (embedder.model.card.dim,)
        assert np.linalg.norm(probe.vector) == pytest.approx(1, abs=1e-5)
        assert probe.bystanders == ()
        distance = np.hypot(*(probe.face.landmarks[1] - probe.face.landmarks[0]))
        assert probe.quality.eye_distance_px == pytest.approx(distance, abs=0.01)
        assert probe.quality.score > 0.8


def test_larger_or_smaller_turned_or_darker_it_is_the_same_person(
    embedder: Embedder, portraits: Portraits, probes: dict[str, Probe]
) -> None:
    image, probe = portraits["person_a_1"], probes["person_a_1"]
    small = cv2.resize(image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    tilt = cv2.getRotationMatrix2D((360, 250), 12, 1.0)
    for changed in (small, cv2.warpAffine(image, tilt, (720, 900)), (image * 0.6).astype(np.uint8)):
        assert cosine(embedder.embed(np.asarray(changed, np.uint8)), probe) > 0.85


def test_the_main_face_is_embedded_and_the_others_are_bystanders(
    embedder: Embedder, portraits: Portraits, probes: dict[str, Probe]
) -> None:
    near = cv2.resize(portraits["person_a_1"], (480, 600), interpolation=cv2.INTER_AREA)
    far = cv2.resize(portraits["person_c_1"], (200, 200), interpolation=cv2.INTER_AREA)
    scene = np.full((600, 900, 3), 110, np.uint8)
    scene[:, 200:680] = near
    scene[:200, 690:890] = far
    probe = embedder.embed(scene)
    assert cosine(probe, probes["person_a_1"]) > 0.8
    (bystander,) = probe.bystanders
    assert bystander.box[0] > 680
    assert bystander.box[2] < probe.face.box[2]


def test_each_thing_that_can_be_wrong_has_its_name(embedder: Embedder, portraits: Portraits) -> None:
    image = portraits["person_a_1"]
    rng = np.random.default_rng(5)
    blocks = cv2.resize(rng.integers(40, 216, (6, 8, 3), dtype=np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    face = cv2.resize(image[30:380, 220:560], (104, 107), interpolation=cv2.INTER_AREA)
    tiny = cv2.resize(image, None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA)
    lobby = np.full((200, 260, 3), 120, np.uint8)
    lobby[50 : 50 + tiny.shape[0], 100 : 100 + tiny.shape[1]] = tiny
    assert refused(embedder, np.asarray(blocks, np.uint8)) is Reason.NO_FACE
    assert refused(embedder, np.full((240, 320, 3), 9, np.uint8)) is Reason.CAMERA_OBSCURED
    assert refused(embedder, np.tile(face, (4, 5, 1))) is Reason.TOO_MANY_FACES
    assert refused(embedder, lobby) is Reason.FACE_TOO_SMALL
    assert refused(embedder, np.asarray(cv2.GaussianBlur(image, (0, 0), 14), np.uint8)) is Reason.BLURRED


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (40, 3)])
def test_no_picture_is_too_small_to_be_refused_by_name(embedder: Embedder, shape: tuple[int, int]) -> None:
    assert refused(embedder, np.full((*shape, 3), 100, np.uint8)) is Reason.CAMERA_OBSCURED


class FixedDetector:
    """A detector that sees what it was told to see."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)
        self.asked: list[Face] = []

    def detect(self, image: np.ndarray) -> list[Face]:
        assert image.ndim == 3
        return self.faces

    def refined(self, image: np.ndarray, face: Face) -> Face:
        assert image.ndim == 3
        self.asked.append(face)
        return Face(face.box, face.landmarks + np.float32(1), face.score)


def crafted(yaw: float, x: float = 60) -> Face:
    points = np.array([[-0.5, 0], [0.5, 0], [yaw, 0.6], [-0.4, 1.1], [0.4, 1.1]], np.float32) * 40 + np.float32((x, 60))
    return Face(np.array([x - 40, 20, 80, 110], np.float32), points, 0.9)


def test_any_detector_and_model_will_do() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    detector = FixedDetector(crafted(0.0), crafted(0.1, 160))
    embedder = Embedder(cast(Detector, detector), ProjectingModel())
    probe = embedder.embed(image)
    assert detector.asked == [detector.faces[1]]
    assert probe.bystanders == (detector.faces[0],)
    np.testing.assert_array_equal(probe.face.landmarks, detector.faces[1].landmarks + 1)
    assert set(embedder.clock.seconds) == {"detect", "align", "embed"}


def test_a_head_turned_away_is_named_and_the_gate_can_be_set() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    detector = cast(Detector, FixedDetector(crafted(1.2)))
    assert refused(Embedder(detector, ProjectingModel()), image) is Reason.EXTREME_POSE
    Embedder(detector, ProjectingModel(), GateOptions(yaw=1.5)).embed(image)


def test_the_clock_sums_over_threads_and_keeps_the_time_of_failures() -> None:
    clock = StageClock()

    def step(_: int) -> None:
        with clock.time("step"):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(step, range(50)))
    before = clock.seconds["step"]
    assert before > 0
    with pytest.raises(KeyError), clock.time("step"):
        raise KeyError
    assert clock.seconds["step"] > before
