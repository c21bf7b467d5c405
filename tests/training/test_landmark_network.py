"""The landmark network learns where things are, and is exported as what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from embedder.training.lessons import Lesson, Pace, drawn
from embedder.training.nets.fitting import as_input
from embedder.training.nets.landmarks import LandmarkLearner, LandmarkNet, export

SIZE = (32, 32)


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A bright spot in noise, and how far it lies from the middle: the same for all five landmarks."""
    picture = rng.integers(0, 60, (*SIZE, 3), dtype=np.uint8)
    x, y = rng.integers(8, 24, 2)
    picture[y - 2 : y + 3, x - 2 : x + 3] = 230
    return picture, np.tile(np.array([x - 16, y - 16], np.float32), 5)


def test_it_finds_what_it_was_shown_elsewhere(tmp_path: Path) -> None:
    losses: list[float] = []
    pace = Pace(150, batch=32)
    lesson = Lesson(10, SIZE, drawn(draw, pace), pace.steps, lambda _, loss: losses.append(loss))
    LandmarkLearner()(lesson, tmp_path / "net.onnx")
    assert len(losses) == 150
    pictures, offsets = next(drawn(draw, Pace(1, batch=100, seed=9)))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    found = session.run(["logits"], {"picture": as_input(pictures).contiguous().numpy()})[0]
    assert np.abs(found - offsets).mean() < 0.2 * np.abs(offsets).mean()


def test_the_export_is_the_network(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = LandmarkNet((40, 48))
    pictures = np.random.default_rng(0).integers(0, 256, (7, 40, 48, 3), dtype=np.uint8)
    with torch.no_grad():
        for _ in range(3):
            network(as_input(pictures))  # so that the normalisations have something to fold in
    export(network, (40, 48), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    found = session.run(None, {"picture": as_input(pictures).contiguous().numpy()})[0]
    with torch.inference_mode():
        np.testing.assert_allclose(found, network(as_input(pictures)).numpy(), atol=1e-4)
    assert found.shape == (7, 10)
