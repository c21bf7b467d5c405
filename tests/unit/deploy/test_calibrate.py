"""What a model's scores mean is learnt from people, and ends up in its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import run

from deploy import calibrate as calibrate_module
from deploy.calibrate import THRESHOLDS, calibrate, write_card
from deploy.evaluation.pictures import labelled_pictures
from deploy.settings import load_settings
from embedder.cards import WEIGHTS, load_model_card
from embedder.detect import Image
from ingest.errors import UsageError


@pytest.fixture
def people(tmp_path: Path, portraits: Mapping[str, Image]) -> Path:
    """Three people with at least two pictures each; where there is one portrait, a darker one is added."""
    folder = tmp_path / "people"
    for name, image in portraits.items():
        person = folder / name.split("_")[1]
        person.mkdir(parents=True, exist_ok=True)
        small = cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(person / f"{name}.jpg"), small)
        if person.name != "a":
            cv2.imwrite(str(person / "dark.jpg"), np.asarray(small * 0.6, np.uint8)[:, ::-1])
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    shutil.copytree(WEIGHTS / "sface", folder)
    return folder


@pytest.fixture(autouse=True)
def few_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_module, "BACKGROUNDS", (0.4,))
    monkeypatch.setattr(calibrate_module, "ORDERS", (1,))


def test_a_card_learns_what_its_scores_mean(people: Path, model: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    found = calibrate(
        model, labelled_pictures(people), load_settings(), told="Test", on_progress=lambda *word: heard.append(word)
    )
    card = found.card
    assert {word[0] for word in heard} == {"Looking at faces", "Linking faces"}
    assert all(done <= total for _, done, total in heard)
    assert set(found.reports) == {"bare", "masked to bare", "masked", "half masked"}
    assert card.thresholds["1e-2"] <= card.thresholds["1e-3"] <= card.thresholds["1e-4"]
    assert card.calibration.slope > 0
    assert "7 pictures of 3 people" in card.calibration.fitted_on
    assert card.linking.threshold in THRESHOLDS
    assert found.linking_f > 0.8
    assert f"BCubed F {found.linking_f:.4f}" in card.measured["clustering, half masked"]
    write_card(model, card)
    assert load_model_card(model) == card


def test_kinds_of_pairs_get_lines_of_their_own(people: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_module, "ENOUGH_GENUINE", 1)
    monkeypatch.setattr(calibrate_module, "ENOUGH_IMPOSTORS", 1)
    calibration = calibrate(model, labelled_pictures(people), load_settings(), told="Test").card.calibration
    assert 0 < calibration.fine_from < 1
    assert calibration.groups
    assert all(line.slope > 0 for line in calibration.groups.values())
    assert len(set(calibration.groups.values())) > 1


def test_few_pictures_give_no_kind_a_line(people: Path, model: Path) -> None:
    assert not calibrate(model, labelled_pictures(people), load_settings(), told="Test").card.calibration.groups


def test_a_model_that_tells_nobody_apart_is_refused(people: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_module, "fit_calibration", lambda *_: (-0.1, 0.0))
    with pytest.raises(UsageError, match="does not tell these people apart"):
        calibrate(model, labelled_pictures(people), load_settings(), told="Test")


def test_one_picture_each_teaches_nothing(people: Path, model: Path) -> None:
    for person in people.iterdir():
        for path in sorted(person.iterdir())[1:]:
            path.unlink()
    with pytest.raises(UsageError, match="no genuine pair"):
        calibrate(model, labelled_pictures(people), load_settings(), told="Test")


def test_the_command_writes_the_card(people: Path, model: Path) -> None:
    before = load_model_card(model)
    outcome = run("models", "calibrate", model, people, "--json")
    assert outcome.code == 0, outcome.err
    after = load_model_card(model)
    assert after.calibration != before.calibration
    assert after.sha256 == before.sha256
    assert json.loads(outcome.out)["linking"] == after.linking.model_dump()
    assert run("models", "calibrate", "sface", people).code == 2
