"""Training of the classifiers, with a linear fit in PyTorch's place: what is taught, judged and written."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from classifiers import LinearLearner

from embedder.cards import WEIGHTS, load_classifier_card, load_model_card
from embedder.onnx_classifier import OnnxClassifier
from embedder.signs import SignReader
from embedder.training.eyes import EyeOptions, Eyes, read_eyes, train_eyes
from embedder.training.face_eyes import CLOSED_EYE, HIDDEN_EYE, OPEN_EYE, FaceEyes, Sure
from embedder.training.folds import grouped, held_out
from embedder.training.judged import judge
from embedder.training.lessons import Pace, drawn
from embedder.training.pool import Pool
from embedder.training.shipping import Origin
from embedder.training.wear import BARE, MASKED, Told, WearFaces, WearOptions, dress, train_wear
from ingest.errors import UsageError

ORIGIN = Origin("pictures of nobody, drawn for the tests", "the tests", "22 November 2026", "none")
CARD = load_model_card(WEIGHTS / "sface")


def test_what_belongs_together_is_found_by_way_of_others() -> None:
    angles = np.deg2rad([0, 10, 20, 90, 100, 200])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert grouped(points, threshold=0.98).tolist() == [0, 0, 0, 3, 3, 5]
    assert grouped(points, -points, threshold=0.98).tolist() == [0, 0, 0, 3, 3, 0]
    many = np.repeat(np.eye(3), 700, axis=0)
    assert sorted(set(grouped(many, threshold=0.5).tolist())) == [0, 700, 1400]


def test_a_fifth_is_set_aside_and_no_group_is_on_both_sides() -> None:
    groups = np.random.default_rng(1).integers(0, 120, 1000)
    aside = held_out(groups, 3)
    assert 0.15 < aside.mean() <= 0.2
    assert not set(groups[aside]) & set(groups[~aside])
    assert (aside == held_out(groups, 3)).all()
    assert (aside != held_out(groups, 4)).any()


def test_judging_counts_by_label() -> None:
    result = judge(("a", "b", "c"), np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1]))
    assert result.confusion.tolist() == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert result.accuracy == 0.75
    assert result.by_label == {"a": pytest.approx(2 / 3), "b": 1.0}
    assert result.sentence() == "0.7500 of 4 pictures (a 0.6667 of 3, b 1.0000 of 1)"
    assert judge(("a", "b"), np.empty(0, np.int64), np.empty(0, np.int64)).accuracy == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_equal_seeds_draw_equal_pictures_whatever_the_threads(threads: int) -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        return rng.integers(0, 256, (2, 2, 3), dtype=np.uint8), int(rng.integers(5))

    batches = list(drawn(draw, Pace(5, batch=3, seed=7, threads=threads)))
    again = list(drawn(draw, Pace(5, batch=3, seed=7, threads=2)))
    assert len(batches) == 5
    for (pictures, labels), (same, equal) in zip(batches, again, strict=True):
        np.testing.assert_array_equal(pictures, same)
        np.testing.assert_array_equal(labels, equal)
    assert len({batch.tobytes() for batch, _ in batches}) == 5


def wear_options(steps: int = 12) -> WearOptions:
    return WearOptions(pace=Pace(steps, batch=32), drawn=30, likeness=0.9)


def test_wear_is_learnt_judged_on_others_and_shipped(tmp_path: Path, bare: Pool, masked: Pool) -> None:
    heard: list[tuple[int, int]] = []
    steps: list[int] = []
    told = Told(lambda done, total: heard.append((done, total)), lambda step, _: steps.append(step))
    learner = LinearLearner()
    faces = WearFaces(masked, bare, None, CARD)
    place = tmp_path / "wear"
    results = train_wear(place, faces, learner, origin=ORIGIN, options=wear_options(), told=told)
    assert heard[-1] == (30, 30)
    assert steps == list(range(1, 13))
    # Of three people (36, 12 and 12 pictures) one of the small ones is set aside: no part of a person.
    assert results["real"].confusion.sum(axis=1).tolist() == [12, 12, 0]
    assert results["drawn"].confusion.sum(axis=1).tolist() == [12, 12, 12]
    card = load_classifier_card(place)
    assert card.sha256 == sha256((place / card.file).read_bytes()).hexdigest()
    assert card.measured == {
        "real": results["real"].sentence(),
        "drawn": results["drawn"].sentence(),
        "when": "22 November 2026",
    }
    assert card.trained_on == ORIGIN.trained_on
    assert "none" in (place / "LICENSE").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["wear"]
    assert OnnxClassifier(place).card.labels == ("bare", "masked", "occluded")


def test_the_same_training_gives_the_same_weights(tmp_path: Path, bare: Pool, masked: Pool) -> None:
    faces = WearFaces(masked, bare, bare, CARD)
    for name in ("one", "two"):
        train_wear(tmp_path / name, faces, LinearLearner(), origin=ORIGIN, options=wear_options(3), told=Told())
    one, two = (json.loads((tmp_path / name / "card.json").read_text()) for name in ("one", "two"))
    assert one == two


def test_a_face_askew_teaches_nothing(tmp_path: Path, bare: Pool, masked: Pool) -> None:
    moved = bare.landmarks.copy()
    moved[:55] += 20
    faces = WearFaces(masked, Pool(bare.canvas, moved, bare.teacher, bare.person), None, CARD)
    with pytest.raises(UsageError, match="5 usable pictures are bare, and 10 are needed"):
        train_wear(tmp_path / "wear", faces, LinearLearner(), origin=ORIGIN, options=wear_options(), told=Told())
    assert not (tmp_path / "wear").exists()


def test_a_model_that_is_there_is_not_overwritten(tmp_path: Path, bare: Pool, masked: Pool) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.json").write_text("{}")
    faces = WearFaces(masked, bare, None, CARD)
    with pytest.raises(UsageError, match="is there already"):
        train_wear(tmp_path / "mine", faces, LinearLearner(), origin=ORIGIN, options=wear_options(), told=Told())
    eyes = Eyes(np.zeros((20, 40, 40, 3), np.uint8), np.zeros((20, 40, 40, 3), np.uint8), None, CARD)
    with pytest.raises(UsageError, match="is there already"):
        train_eyes(tmp_path / "mine", eyes, LinearLearner(), origin=ORIGIN, options=EyeOptions())


def test_a_dressed_face_shows_something_else_below_or_above(bare: Pool) -> None:
    rng = np.random.default_rng(0)
    face = bare.canvas[0], bare.landmarks[0]
    plan = wear_options().augmentation
    for label in (MASKED, 2):
        canvas, landmarks = dress(face, label, plan, rng)
        assert (canvas != face[0]).any()
        assert landmarks is face[1]
    assert BARE == 0


def single_eyes(count: int, opened: bool, seed: int) -> np.ndarray:
    """Skin with a dark and white eye in it, or with a line."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        picture = np.full((64, 64, 3), rng.uniform(110, 200), np.float32) + rng.normal(0, 12, (64, 64, 1))
        if opened:
            cv2.ellipse(picture, (32, 32), (22, 10), 0, 0, 360, (240, 240, 240), -1)
            cv2.circle(picture, (32, 32), 10, (20, 20, 20), -1)
        else:
            cv2.ellipse(picture, (32, 32), (22, 8), 0, 0, 180, (60, 60, 60), 2)
        found.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack([cv2.resize(picture, (40, 40), interpolation=cv2.INTER_AREA) for picture in found])


def test_eyes_are_learnt_from_single_ones_and_then_from_faces(tmp_path: Path, bare: Pool) -> None:
    eyes = Eyes(single_eyes(40, False, 0), single_eyes(40, True, 1), bare, CARD)
    learner = LinearLearner()
    heard: list[tuple[int, int]] = []
    options = EyeOptions(pace=Pace(10, batch=32), rounds=1, hidden=10, likeness=0.999)
    result = train_eyes(
        tmp_path / "eyes",
        eyes,
        learner,
        origin=ORIGIN,
        options=options,
        told=lambda number, step, _: heard.append((number, step)),
    )
    assert heard == [(0, step) for step in range(1, 6)] + [(1, step) for step in range(1, 11)]
    assert result.pictures == 16
    assert result.accuracy > 0.8
    card = load_classifier_card(tmp_path / "eyes")
    assert card.labels == ("closed", "open", "hidden")
    assert card.measured["eyes"] == result.sentence()
    assert "with open eyes" in card.measured["faces_taught"]
    SignReader(WEIGHTS / "wear", tmp_path / "eyes")


def test_without_faces_nothing_is_said_of_hidden_eyes(tmp_path: Path) -> None:
    eyes = Eyes(single_eyes(20, False, 0), single_eyes(20, True, 1), None, CARD)
    options = EyeOptions(pace=Pace(5, batch=32), likeness=0.999)
    learner = LinearLearner()
    result = train_eyes(tmp_path / "eyes", eyes, learner, origin=ORIGIN, options=options)
    assert len(learner.lessons) == 1
    assert result.labels == ("closed", "open")
    SignReader(WEIGHTS / "wear", tmp_path / "eyes")


def test_an_eye_that_is_there_twice_is_not_judged_on(tmp_path: Path) -> None:
    one = single_eyes(1, False, 0)
    eyes = Eyes(np.concatenate([one] * 30), single_eyes(30, True, 1), None, CARD)
    options = EyeOptions(pace=Pace(3, batch=8), likeness=0.99)
    result = train_eyes(tmp_path / "eyes", eyes, LinearLearner(), origin=ORIGIN, options=options)
    assert "closed" not in result.by_label


def test_too_few_eyes_are_refused(tmp_path: Path) -> None:
    eyes = Eyes(single_eyes(9, False, 0), single_eyes(20, True, 1), None, CARD)
    with pytest.raises(UsageError, match="9 usable pictures are closed, and 10 are needed"):
        train_eyes(tmp_path / "eyes", eyes, LinearLearner(), origin=ORIGIN, options=EyeOptions())


def test_unreadable_eyes_are_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "eye.png"), np.full((64, 64, 3), 100, np.uint8))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    paths = [tmp_path / name for name in ("eye.png", "broken.jpg", "gone.jpg")]
    found, refused = read_eyes(paths)
    assert found.shape == (1, 40, 40, 3)
    assert refused == paths[1:]
    assert read_eyes([])[0].shape == (0, 40, 40, 3)


def test_faces_teach_what_a_model_is_sure_of(bare: Pool) -> None:
    eyes = FaceEyes(bare, CARD, hidden=4, seed=0)
    assert [eyes.weight(label) for label in (CLOSED_EYE, OPEN_EYE, HIDDEN_EYE)] == [0, 0, 0]
    rng = np.random.default_rng(0)
    assert eyes.draw(HIDDEN_EYE, rng).shape == (64, 64, 3)
    found = eyes.label(OnnxClassifier(WEIGHTS / "eyes", 2), Sure())
    assert found[OPEN_EYE] > 50
    assert found[CLOSED_EYE] == found[HIDDEN_EYE] == 0
    assert 0 < eyes.weight(OPEN_EYE) < 1
    drawn_eye = eyes.draw(OPEN_EYE, rng)
    assert drawn_eye.shape == (64, 64, 3)
    middle = drawn_eye[16:48, 16:48]
    assert OnnxClassifier(WEIGHTS / "eyes").probabilities([np.ascontiguousarray(middle)])[0, OPEN_EYE] > 0.5


def test_faces_that_look_away_teach_nothing_of_eyes(bare: Pool) -> None:
    away = Pool(bare.canvas, bare.landmarks + 20, bare.teacher, bare.person)
    with pytest.raises(UsageError, match="none of the faces looks ahead"):
        FaceEyes(away, CARD, hidden=4, seed=0)
