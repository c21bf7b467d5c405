"""Classifiers without training: networks made of arithmetic, and a learner that is a linear fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from templates import write_card

from embedder.training.lessons import CENTRE, SPREAD, Lesson

CELLS = 4
WEAR = {
    "sees": "face",
    "labels": ["bare", "masked", "occluded"],
    "input_size": [56, 56],
    "template": [[19, 26], [37, 26], [28, 36], [21, 46], [35, 46]],
    "landmark_weights": [1, 1, 0.5, 0.2, 0.2],
}
EYES = {"sees": "eye", "labels": ["closed", "open", "hidden"], "input_size": [32, 32], "side": 0.75}


def linear(size: tuple[int, int], weights: np.ndarray, bias: np.ndarray, path: Path) -> bytes:
    """A network of ``CELLS``² means of each channel, and a linear map of them; written to ``path``."""
    height, width = size
    cell = [height // CELLS, width // CELLS]
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["picture"], ["means"], kernel_shape=cell, strides=cell),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1),
        ],
        "linear",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 3, height, width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(weights)])],
        [
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    content = model.SerializeToString(deterministic=True)
    path.write_bytes(content)
    return content


def write_classifier(folder: Path, fields: dict[str, Any], bias: list[float], blue: float = 0.0, **card: Any) -> Path:
    """A classifier's folder: ``bias`` are its logits, the second of which grows with how ``blue`` a picture is."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.zeros((len(bias), 3 * CELLS**2))
    weights[1, : CELLS**2] = blue / CELLS**2
    content = linear(tuple(fields["input_size"]), weights, np.array(bias), folder / "net.onnx")
    common = {
        "kind": "classifier",
        "name": folder.name,
        "title": "arithmetic",
        "file": "net.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "none",
        "source": "here",
        "made_by": "tests",
        "trained_on": "nothing",
        "intended_use": "tests",
        "limits": "all",
        "model_id": "net",
        "input_name": "picture",
        "channels": "BGR",
        "mean": 0.0,
        "std": 1.0,
        "output": "logits",
        "measured": {},
    }
    write_card(folder, common | fields | card)
    return folder


class LinearLearner:
    """A ``Learner`` by least squares."""

    def __init__(self) -> None:
        self.lessons: list[Lesson] = []

    def __call__(self, lesson: Lesson, path: Path) -> None:
        self.lessons.append(lesson)
        rows, wanted = [], []
        height, width = lesson.size
        for step, (pictures, labels) in enumerate(lesson.batches, start=1):
            values = (pictures.astype(np.float64) - CENTRE) / SPREAD
            cells = values.reshape(-1, CELLS, height // CELLS, CELLS, width // CELLS, 3).mean(axis=(2, 4))
            rows.append(cells.transpose(0, 3, 1, 2).reshape(len(pictures), -1))
            wanted.append(np.eye(lesson.outputs)[labels] if labels.ndim == 1 else labels)
            lesson.told(step, 0.5)
        seen, targets = np.vstack(rows), np.vstack(wanted)
        seen = np.hstack([seen, np.ones((len(seen), 1))])
        fit = np.linalg.solve(seen.T @ seen + 0.1 * np.eye(seen.shape[1]), seen.T @ targets)
        sharp = 12 if labels.ndim == 1 else 1
        linear(lesson.size, sharp * fit[:-1].T, sharp * fit[-1], path)
