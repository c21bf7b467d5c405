"""Landmarks are learnt from faces shown askew: what is shown, what is to be said of it, and how it is judged."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from classifiers import LinearLearner

from embedder.cards import WEIGHTS, load_landmark_card, load_model_card
from embedder.landmarks import Landmarker
from embedder.training.augment import Augmentation
from embedder.training.lessons import Pace
from embedder.training.placing import LOOKS, MIRRORED, SIZE, Placed, PlacingOptions, _Lesson, train_landmarks
from embedder.training.pool import Pool
from embedder.training.shipping import Origin
from embedder.training.wear import Told
from ingest.errors import UsageError

CARD = load_model_card(WEIGHTS / "sface")
ORIGIN = Origin("pictures of nobody, drawn for the tests", "the tests", "22 November 2026", "none")
QUIET = Augmentation(0, below=0, dark=0, grey=0, motion=0, soft=0, far=0, noise=0, jpeg=0)
OPTIONS = PlacingOptions(pace=Pace(6, batch=16), likeness=0.9)


def test_what_is_to_be_said_of_a_face_in_its_place_is_nothing(bare: Pool) -> None:
    options = replace(OPTIONS, shift=0, turn=0, zoom=0, masked=0, augmentation=QUIET)
    lesson = _Lesson(bare, np.arange(len(bare)), CARD, options)
    rng = np.random.default_rng(1)
    for _ in range(20):
        picture, offsets = lesson.draw(rng)
        assert (picture.shape, picture.dtype, offsets.shape, offsets.dtype) == ((*SIZE, 3), np.uint8, (10,), np.float32)
        # A face is no template: its landmarks are off by what the alignment leaves, mirrored or not.
        assert np.abs(offsets[:4]).max() < 2.5


def test_landmarks_that_are_off_are_brought_back_by_what_is_said(bare: Pool) -> None:
    """The whole circle: a face off its place, seen by who knows the answer, is back in it after one look."""
    lesson = _Lesson(bare, np.arange(len(bare)), CARD, replace(OPTIONS, near=0.0, lost=0.0))
    rng = np.random.default_rng(2)
    for number in range(10):
        _, landmarks = lesson.face(number)
        matrix = lesson.wrong(landmarks, rng)
        seen = landmarks @ matrix[:, :2].T + matrix[:, 2]
        off = np.abs(seen - lesson.template).max()
        assert 0.1 < off < 30
        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
        np.testing.assert_allclose(seen @ inverse[:, :2].T + inverse[:, 2], landmarks, atol=1e-6)


def test_so_many_faces_are_nearly_right_and_so_many_lost(bare: Pool) -> None:
    lesson = _Lesson(bare, np.arange(len(bare)), CARD, replace(OPTIONS, near=0.3, lost=0.25))
    rng = np.random.default_rng(4)
    shares = [lesson._share(rng) for _ in range(4000)]
    assert np.mean([share == OPTIONS.nearly for share in shares]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([share == OPTIONS.wildly for share in shares]) == pytest.approx(0.25, abs=0.03)
    assert set(shares) == {OPTIONS.nearly, 1.0, OPTIONS.wildly}


def test_a_mirror_changes_sides() -> None:
    assert [MIRRORED[i] for i in MIRRORED] == list(range(5))


def test_a_landmark_model_is_learnt_judged_on_others_and_shipped(tmp_path: Path, bare: Pool) -> None:
    steps: list[int] = []
    told = Told(step=lambda step, _: steps.append(step))
    place = tmp_path / "landmarks"
    found = train_landmarks(place, bare, CARD, LinearLearner(), origin=ORIGIN, options=OPTIONS, told=told)
    assert steps == list(range(1, 7))
    assert set(found.before) == set(found.after) == {"bare", "masked"}
    assert len(found.after["bare"]) == len(found.after["masked"]) == 12  # one of three people is set aside
    assert all(np.isfinite(values).all() for of in (found.before, found.after) for values in of.values())
    card = load_landmark_card(place)
    assert card.sha256 == sha256((place / card.file).read_bytes()).hexdigest()
    assert (card.input_size, card.looks) == (SIZE, LOOKS)
    assert card.measured == {what: found.sentence(what) for what in found.after} | {"when": ORIGIN.made_on}
    assert Landmarker(place).card == card
    with pytest.raises(UsageError, match="there already"):
        train_landmarks(place, bare, CARD, LinearLearner(), origin=ORIGIN, options=OPTIONS, told=told)


def test_a_sentence_names_median_and_tail() -> None:
    errors = {"bare": np.linspace(0, 0.1, 11)}
    said = Placed(before={"bare": 2 * errors["bare"]}, after=errors).sentence("bare")
    assert (
        said == "0.050 of the eye distance off at the median, 0.090 in one of ten (before: 0.100 and 0.180), 11 faces"
    )
