"""``atmwatch train``: what it makes of folders, with a linear fit in PyTorch's place, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from classifiers import LinearLearner
from command import run

from deploy.cli import train, training
from embedder.cards import load_classifier_card, load_landmark_card
from embedder.detect import Image
from embedder.signs import SignReader


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_learner", lambda *_: LinearLearner())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, portraits: Mapping[str, Image]) -> Path:
    """Bare faces of three people, the same with the lower half painted, and single eyes."""
    root = tmp_path_factory.mktemp("pictures")
    for name in ("bare", "masked", "open", "closed"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for name, image in portraits.items():
        small = cv2.resize(image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
        for number in range(4):
            lit = np.clip(small * rng.uniform(0.8, 1.1), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / "bare" / f"{name}_{number}.jpg"), lit)
            cv2.imwrite(str(root / "masked" / f"{name}_{number}.jpg"), np.ascontiguousarray(lit[:, ::-1]))
    for number in range(15):
        eye = np.full((64, 64, 3), 150, np.float32) + rng.normal(0, 20, (64, 64, 1))
        cv2.imwrite(str(root / "closed" / f"{number}.png"), np.clip(eye, 0, 255))
        cv2.circle(eye, (32, 32), 14, (20.0, 20.0, 20.0), -1)
        cv2.imwrite(str(root / "open" / f"{number}.png"), np.clip(eye, 0, 255))
    (root / "open" / "broken.png").write_bytes(b"no picture")
    return root


@pytest.mark.usefixtures("linear")
def test_both_are_trained_and_can_be_used_together(tmp_path: Path, folders: Path) -> None:
    wear, eyes = tmp_path / "wear", tmp_path / "eyes"
    faces = ("--masked", folders / "masked", "--bare", folders / "bare")
    options = ("--steps", "2", "--threads", "2", "--licence", "ours")
    outcome = run("train", "wear", wear, *faces, *options, "--work", tmp_path / "work", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["model"] == str(wear)
    assert set(found["held_out"]) == {"real", "drawn"}
    assert np.sum(found["held_out"]["drawn"]["confusion"]) % 3 == 0
    card = load_classifier_card(wear)
    assert card.trained_on == "20 pictures of masked (masked); 20 pictures of bare (bare)"
    assert (card.licence, card.made_by) == ("ours", "atmwatch train wear")
    singles = ("--open", folders / "open", "--closed", folders / "closed", "--faces", folders / "bare")
    outcome = run("train", "eyes", eyes, *singles, *options)
    assert outcome.code == 0, outcome.err
    assert "1 pictures of eyes can't be read, broken.png first." in outcome.err
    assert "Held out, eyes: accuracy" in outcome.out
    assert f"The model is in {eyes}." in outcome.out
    assert (tmp_path / "eyes.work" / "faces" / "progress.json").exists()
    SignReader(wear, eyes)
    assert run("models", "verify", wear, eyes).code == 0


@pytest.mark.usefixtures("linear")
def test_landmarks_are_trained_and_can_be_used(tmp_path: Path, folders: Path) -> None:
    place = tmp_path / "landmarks"
    options = ("--faces", folders / "bare", "--steps", "2", "--threads", "2", "--licence", "ours")
    outcome = run("train", "landmarks", place, *options)
    assert outcome.code == 0, outcome.err
    assert "Training: 2 of 2, loss 0.500" in outcome.err
    assert "masked: the eyes are 0." in outcome.out
    assert f"The model is in {place}." in outcome.out
    card = load_landmark_card(place)
    assert (card.licence, card.made_by) == ("ours", "atmwatch train landmarks")
    assert run("models", "verify", place).code == 0
    again = run("train", "landmarks", tmp_path / "more", *options, "--work", tmp_path / "landmarks.work", "--json")
    assert set(json.loads(again.out)["held_out"]) == {"bare", "masked"}


def test_without_pytorch_it_says_what_to_install(
    tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(training, "import_module", missing)
    outcome = run("train", "eyes", tmp_path / "eyes", "--open", folders / "open", "--closed", folders / "closed")
    assert outcome.code == 2
    assert "training needs torch, which the extra train brings: pip install 'atmwatch[train]'" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("linear")
def test_what_can_not_be_learnt_from_is_refused(tmp_path: Path, folders: Path) -> None:
    (tmp_path / "empty").mkdir()
    closed = ("--closed", folders / "closed")
    outcome = run("train", "eyes", tmp_path / "eyes", "--open", tmp_path / "empty", *closed)
    assert outcome.code == 2
    assert "has no picture" in outcome.err
    outcome = run("train", "eyes", folders, "--open", folders / "open", *closed)
    assert outcome.code == 2
    assert "is there already" in outcome.err
