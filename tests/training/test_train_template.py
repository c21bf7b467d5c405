"""A template model of one's own, by the command: from folders to a model that the pipeline takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.calibrate import Calibrated
from deploy.evaluation.pictures import Labelled
from deploy.settings import load_settings
from deploy.training import TemplateOrder, train_template
from embedder.cards import load_model_card
from embedder.detect import Detector, Image
from embedder.embed import Embedder
from embedder.onnx_model import OnnxModel
from embedder.training.nets.network import WIDTHS
from embedder.training.nets.trainer import TrainingOptions
from ingest.errors import UsageError

QUICK = TrainingOptions(steps=2, samples=2, rows=64, widths=WIDTHS, warm_up=1, workers=0, every=1)


@pytest.fixture
def people(tmp_path: Path, portraits: Mapping[str, Image]) -> Path:
    """Five people of two pictures each, as far as a program can tell: portraits, and their mirror images darkened."""
    for name, image in portraits.items():
        folder = tmp_path / "people" / name
        folder.mkdir(parents=True)
        small = cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "1.jpg"), small)
        cv2.imwrite(str(folder / "2.jpg"), np.asarray(small * 0.6, np.uint8)[:, ::-1])
    # The fifth is kept to judge by, and there must be somebody to tell from.
    return tmp_path / "people"


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    def calibrated(folder: Path, pictures: list[Labelled], *_: object, told: str, **__: object) -> Calibrated:
        card = load_model_card(folder)
        return Calibrated(card.model_copy(update={"measured": {"data": f"{told}: {len(pictures)}"}}), {}, 1.0)

    monkeypatch.setattr("embedder.training.nets.trainer.WHITENING", 8)
    monkeypatch.setattr("deploy.training.calibrate", calibrated)  # two steps teach nothing that could be measured
    monkeypatch.setattr("deploy.training.hold_out", lambda sources: (list(sources)[:6], list(sources)[6:]))


def test_folders_become_a_model(
    people: Path, tmp_path: Path, detector: Detector, portraits: Mapping[str, Image]
) -> None:
    order = TemplateOrder("mine", (people,), training=QUICK)
    heard: list[str] = []
    stops = iter([True])
    first = train_template(tmp_path / "run", order, load_settings(), lambda *_: None, lambda: next(stops, False))
    assert first is None
    assert not (tmp_path / "run" / "mine").exists()
    found = train_template(tmp_path / "run", order, load_settings(), lambda what, *_: heard.append(what), lambda: False)
    assert found is not None
    assert heard[0] == "Training"  # what was prepared is not prepared again
    model = OnnxModel(tmp_path / "run" / "mine")
    assert model.card == found.card
    assert model.card.input_size == (64, 112)
    assert model.card.measured["data"] == "People kept from training: 4"
    assert Embedder(detector, model).embed(portraits["person_a_1"]).vector.shape == (128,)
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    other = replace(order, training=replace(QUICK, rate=1.0))
    with pytest.raises(UsageError, match="of a run with other settings"):
        train_template(tmp_path / "run", other, load_settings(), lambda *_: None, lambda: False)


def test_too_few_people_are_told(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.training.hold_out", lambda sources: (list(sources), []))
    with pytest.raises(UsageError, match="at least five labelled people"):
        train_template(tmp_path / "run", TemplateOrder("x", (people,)), load_settings(), lambda *_: None, bool)
