"""A classifier's folder is loaded only when its weights are what its card says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifiers import EYES, WEAR, write_classifier

from embedder.cards import ClassifierCard, load_card, load_classifier_card
from embedder.onnx_classifier import OnnxClassifier
from ingest.errors import Corrupt, UsageError


def plain(blue: int, size: int = 32) -> np.ndarray:
    return np.full((size, size, 3), (blue, 0, 0), np.uint8)


def test_a_classifiers_card_is_told_by_its_kind(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, EYES, [0, 0, 0])
    assert isinstance(load_card(folder), ClassifierCard)
    assert load_classifier_card(folder) == load_card(folder)


@pytest.mark.parametrize(
    ("fields", "change", "said"),
    [
        (EYES, {"labels": ["open", "open", "closed"]}, "labels must differ"),
        (EYES, {"labels": ["open"]}, "labels"),
        (EYES, {"side": None}, "an eye needs side"),
        (EYES, {"side": 0}, "side"),
        (WEAR, {"template": None}, "a face needs template"),
        (WEAR, {"landmark_weights": None}, "a face needs template and landmark_weights"),
        (WEAR, {"sees": "hand"}, "sees"),
    ],
)
def test_a_card_says_where_to_look(tmp_path: Path, fields: dict[str, Any], change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_classifier_card(write_classifier(tmp_path, fields, [0, 0, 0], **change))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_probabilities_are_the_softmax_whatever_the_batch(tmp_path: Path, batch: int) -> None:
    model = OnnxClassifier(write_classifier(tmp_path, EYES, [0, 0, -50], blue=0.01), batch)
    found = model.probabilities([plain(0), plain(100), plain(200)])
    opened = 1 / (1 + np.exp(-np.array([0, 1, 2])))
    np.testing.assert_allclose(found, np.stack([1 - opened, opened, np.zeros(3)], axis=1), atol=1e-6)
    assert found.dtype == np.float32
    assert model.probabilities([]).shape == (0, 3)


@pytest.mark.parametrize(("channels", "expected"), [("BGR", 0.7311), ("RGB", 0.5)])
def test_the_card_says_how_pixels_are_prepared(tmp_path: Path, channels: str, expected: float) -> None:
    folder = write_classifier(tmp_path, EYES, [0, 0, -50], blue=1.0, channels=channels, mean=50.0, std=50.0)
    red = OnnxClassifier(folder).probabilities([np.full((32, 32, 3), (100, 50, 50), np.uint8)])
    assert red[0, 1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 64}, "has sha256 "),
        ({"input_size": [16, 32]}, r"but its card says picture: \[1, 3, 16, 32\]"),
        ({"input_name": "face"}, "but its card says face"),
        ({"output": "vector"}, r"gives \['logits'\], but its card says vector"),
        ({"labels": ["closed", "open"]}, r"gives \(3,\) values, but its card names 2 labels"),
        ({"labels": ["closed", "open", "hidden", "gone"]}, "names 4 labels"),
    ],
)
def test_weights_that_do_not_fit_their_card_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(Corrupt, match=said) as refusal:
        OnnxClassifier(write_classifier(tmp_path, EYES, [0, 0, 0], **change))
    assert str(tmp_path) in str(refusal.value)
