from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from templates import unit, write_model

from embedder.onnx_model import OnnxModel
from ingest.errors import Corrupt, UsageError


def plain(blue: int, green: int, red: int) -> np.ndarray:
    return np.full((8, 8, 3), (blue, green, red), np.uint8)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({"channels": "RGB"}, [30, 20, 10]),
        ({"channels": "BGR"}, [10, 20, 30]),
        ({"channels": "RGB", "mean": 15.0, "std": 5.0}, [3, 1, -1]),
    ],
)
def test_the_card_says_how_pixels_are_prepared(tmp_path: Path, card: dict[str, Any], expected: list[float]) -> None:
    model = OnnxModel(write_model(tmp_path, **card))
    np.testing.assert_allclose(model.embed(plain(10, 20, 30)), unit(expected), atol=1e-6)
    assert model.card.channels == card["channels"]


def test_nothing_has_no_direction_but_is_no_error(tmp_path: Path) -> None:
    assert not OnnxModel(write_model(tmp_path)).embed(plain(0, 0, 0)).any()


def test_a_model_of_fixed_batch_will_do(tmp_path: Path) -> None:
    np.testing.assert_allclose(OnnxModel(write_model(tmp_path, batch=1)).embed(plain(0, 0, 9)), [1, 0, 0])


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"input_size": [8, 16]}, r"the model takes .*8, 8.* but its card says data: \[1, 3, 8, 16\]"),
        ({"input_size": [16, 16]}, r"but its card says data: \[1, 3, 16, 16\]"),
        ({"input_name": "picture"}, r"the model takes .*data.* but its card says picture"),
        ({"dim": 4}, r"gives vectors of shape \(3,\), but its card says 4"),
        ({"sha256": "0" * 64}, "has sha256 "),
    ],
)
def test_weights_that_do_not_fit_their_card_are_refused(tmp_path: Path, card: dict[str, Any], said: str) -> None:
    with pytest.raises(Corrupt, match=said) as refusal:
        OnnxModel(write_model(tmp_path, **card))
    assert str(tmp_path) in str(refusal.value)


def test_a_folder_without_its_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"card\.json"):
        OnnxModel(tmp_path)
    folder = write_model(tmp_path)
    (folder / "means.onnx").unlink()
    with pytest.raises(UsageError, match=r"means\.onnx"):
        OnnxModel(folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"channels": "grey"}))
    with pytest.raises(UsageError, match="channels"):
        OnnxModel(folder)
