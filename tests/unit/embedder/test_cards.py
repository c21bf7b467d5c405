"""A card is refused, by place, for whatever would else fail later or compare wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from templates import model_card, write_card

from embedder.cards import WEIGHTS, DetectorCard, ModelCard, load_card, load_detector_card, load_model_card
from ingest.errors import UsageError

Loader = Callable[[Path], object]


def fields(**changes: Any) -> dict[str, Any]:
    return model_card().model_dump(mode="json") | changes


def test_a_card_of_either_kind_is_told_by_its_kind() -> None:
    assert isinstance(load_card(WEIGHTS / "yunet"), DetectorCard)
    assert isinstance(load_card(WEIGHTS / "sface"), ModelCard)
    assert load_card(WEIGHTS / "sface") == load_model_card(WEIGHTS / "sface")
    assert load_card(WEIGHTS / "yunet") == load_detector_card(WEIGHTS / "yunet")


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    write_card(tmp_path, fields())
    assert load_model_card(tmp_path) == model_card()


@pytest.mark.parametrize("loader", [load_card, load_model_card, load_detector_card])
def test_a_missing_card_is_named(tmp_path: Path, loader: Loader) -> None:
    with pytest.raises(UsageError, match=rf"{tmp_path} has no readable card\.json"):
        loader(tmp_path)
    (tmp_path / "card.json").mkdir()
    with pytest.raises(UsageError, match="directory"):
        loader(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[]", b'{"kind": "template",}'])
@pytest.mark.parametrize("loader", [load_card, load_model_card, load_detector_card])
def test_a_card_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes, loader: Loader) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"card\.json: the whole"):
        loader(tmp_path)


def test_each_kind_has_its_own_loader() -> None:
    with pytest.raises(UsageError, match="kind"):
        load_model_card(WEIGHTS / "yunet")
    with pytest.raises(UsageError, match="kind"):
        load_detector_card(WEIGHTS / "sface")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    write_card(tmp_path, fields(kind="oracle"))
    with pytest.raises(UsageError, match="oracle"):
        load_card(tmp_path)


@pytest.mark.parametrize("name", sorted(set(ModelCard.model_fields) - {"source_sha256", "landmarks"}))
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    content = fields()
    del content[name]
    write_card(tmp_path, content)
    with pytest.raises(UsageError, match=rf"card\.json: {name}: Field required"):
        load_model_card(tmp_path)


def linking(**changes: float) -> dict[str, float]:
    return model_card().linking.model_dump() | changes


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"extra": 1}, "extra"),
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"source_sha256": "none"}, "source_sha256"),
        ({"file": "../weights.onnx"}, "file"),
        ({"file": "weights.pkl"}, "file"),
        ({"dim": 0}, "dim"),
        ({"std": 0}, "std"),
        ({"mean": float("nan")}, "mean"),
        ({"channels": "GBR"}, "channels"),
        ({"input_size": [112]}, r"input_size\.1"),
        ({"input_size": [112, 0]}, r"input_size\.1"),
        ({"template": [[1, 2]] * 4}, r"template\.4"),
        ({"template": [[1, 2]] * 6}, "template"),
        ({"template": [[1, 2]] * 4 + [[1, float("inf")]]}, r"template\.4\.1"),
        ({"landmark_weights": [1, 1, 1, 1]}, r"landmark_weights\.4"),
        ({"landmark_weights": [0, 1, 1, 1, 1]}, r"landmark_weights\.0"),
        ({"landmark_weights": [1, 1, -1, 1, 1]}, r"landmark_weights\.2"),
        ({"thresholds": {"1e-3": "high"}}, r"thresholds\.1e-3"),
        ({"calibration": {"slope": 0, "intercept": 0, "fitted_on": "nothing"}}, r"calibration\.slope"),
        ({"calibration": {"slope": 1, "intercept": 0}}, r"calibration\.fitted_on"),
        ({"linking": linking(cohort=0)}, r"linking\.cohort"),
        ({"linking": linking(background=1.5)}, r"linking\.background"),
        ({"linking": linking(threshold=float("nan"))}, r"linking\.threshold"),
        ({"linking": linking(tolerance=1)}, r"linking\.tolerance"),
    ],
)
def test_a_value_that_can_not_be_is_refused_by_place(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    write_card(tmp_path, fields(**changes))
    with pytest.raises(UsageError, match=rf"card\.json: {place}: "):
        load_model_card(tmp_path)


def test_the_weights_of_covered_landmarks_may_be_nothing(tmp_path: Path) -> None:
    write_card(tmp_path, fields(landmark_weights=[1, 1, 0, 0, 0]))
    assert load_model_card(tmp_path).landmark_weights == (1, 1, 0, 0, 0)


def test_cards_are_frozen_and_plain_json() -> None:
    card = load_model_card(WEIGHTS / "sface")
    with pytest.raises(ValueError, match="frozen"):
        card.dim = 3
    assert ModelCard.model_validate_json(json.dumps(card.model_dump(mode="json"))) == card
