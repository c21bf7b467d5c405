"""A small network that tells classes of small pictures apart: what covers a face, whether an eye is open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from embedder.training.lessons import CENTRE, INPUT, OUTPUT, SPREAD, Lesson

WIDTHS = (16, 32, 64, 96)
OPSET, IR_VERSION = 17, 10


class SmallNet(nn.Module):
    """(n, 3, h, w) float32 BGR, normalised, to (n, classes) logits: 3×3 convolutions, every second halving; a mean."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        into = 3
        for out in WIDTHS:
            for stride in (2, 1):
                layers += [nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
                into = out
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.trunk(pictures)
        logits: Tensor = self.head(functional.dropout(features.mean(dim=(2, 3)), 0.2, self.training))
        return logits


class TorchLearner:
    """A ``Learner``: a ``SmallNet`` from random weights, the same for the same ``seed`` and number of ``threads``."""

    def __init__(self, seed: int = 0, threads: int = 1, rate: float = 3e-3) -> None:
        self._seed = seed
        self._threads = threads
        self._rate = rate

    def __call__(self, lesson: Lesson, path: Path) -> None:
        torch.manual_seed(self._seed)
        torch.set_num_threads(self._threads)
        network = SmallNet(lesson.classes).to(memory_format=torch.channels_last)
        fit(network, lesson, self._rate)
        export(network, lesson.size, path)


def fit(network: SmallNet, lesson: Lesson, rate: float) -> None:
    """Train on the lesson's batches, the learning rate falling to 0."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=lesson.steps)
    for step, (pictures, labels) in enumerate(lesson.batches, start=1):
        loss = functional.cross_entropy(network(as_input(pictures)), torch.from_numpy(labels), label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        lesson.told(step, float(loss.detach()))
    network.eval()


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """(n, height, width, 3) BGR pictures as the network's input."""
    # Permuted, it lies in memory with its channels last, which takes a third of the time off training.
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - CENTRE) / SPREAD


def export(network: SmallNet, size: tuple[int, int], path: Path) -> None:
    """Write the network as ONNX: normalised (batch, 3, *``size``) float32 pictures to (batch, classes) logits."""
    network.eval()
    nodes, weights, flow = [], [], INPUT
    for number, (conv, norm) in enumerate(zip(network.trunk[::3], network.trunk[1::3], strict=True)):
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        tensors = {f"w{number}": conv.weight * scale[:, None, None, None]}
        tensors[f"b{number}"] = norm.bias - norm.running_mean * scale
        weights += [numpy_helper.from_array(value.detach().numpy(), name) for name, value in tensors.items()]
        nodes += [
            helper.make_node("Conv", [flow, *tensors], [f"conv{number}"], strides=[*conv.stride], pads=[1] * 4),
            helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]),
        ]
        flow = f"relu{number}"
    weights += [
        numpy_helper.from_array(network.head.weight.detach().numpy(), "head_w"),
        numpy_helper.from_array(network.head.bias.detach().numpy(), "head_b"),
    ]
    nodes += [
        helper.make_node("GlobalAveragePool", [flow], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head_w", "head_b"], [OUTPUT], transB=1),
    ]
    values = [
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, *size]),
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", network.head.out_features]),
    ]
    graph = helper.make_graph(nodes, "classifier", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="atmwatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
