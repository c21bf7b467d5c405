"""Classifiers learn, are the same for the same seed, and are exported as what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from embedder.training.lessons import Lesson, Pace, drawn
from embedder.training.nets.classifier import SmallNet, TorchLearner, export
from embedder.training.nets.fitting import as_input


def draw(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """A bright or a dark middle in noise."""
    label = int(rng.integers(2))
    picture = rng.integers(60, 200, (24, 24, 3), dtype=np.uint8)
    picture[8:16, 8:16] = 230 if label else 20
    return picture, label


def learnt(path: Path, seed: int = 0) -> list[float]:
    losses: list[float] = []
    pace = Pace(60, batch=16)
    lesson = Lesson(2, (24, 24), drawn(draw, pace), pace.steps, lambda _, loss: losses.append(loss))
    TorchLearner(seed)(lesson, path)
    return losses


def test_what_was_learnt_is_written_and_holds_for_new_pictures(tmp_path: Path) -> None:
    losses = learnt(tmp_path / "net.onnx")
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    pictures, labels = next(drawn(draw, Pace(1, batch=200, seed=9)))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    logits = session.run(["logits"], {"picture": as_input(pictures).contiguous().numpy()})[0]
    assert (logits.argmax(axis=1) == labels).mean() > 0.95


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, seed in (("one", 3), ("two", 3), ("three", 4)):
            learnt(tmp_path / name, seed)
    finally:
        torch.set_num_threads(before)
    one, two, three = ((tmp_path / name).read_bytes() for name in ("one", "two", "three"))
    assert one == two
    assert one != three


@pytest.mark.parametrize("classes", [2, 3])
def test_the_export_is_the_network(tmp_path: Path, classes: int) -> None:
    torch.manual_seed(5)
    network = SmallNet(classes)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (7, 40, 48, 3), dtype=np.uint8)
    with torch.no_grad():
        for _ in range(3):
            network(as_input(pictures))  # so that the normalisations have something to fold in
    export(network, (40, 48), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    logits = session.run(None, {"picture": as_input(pictures).contiguous().numpy()})[0]
    with torch.inference_mode():
        np.testing.assert_allclose(logits, network(as_input(pictures)).numpy(), atol=1e-4)
    assert logits.shape == (7, classes)
