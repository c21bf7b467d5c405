"""A small network that tells classes of small pictures apart: what covers a face, whether an eye is open."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedder.training.lessons import OUTPUT, Lesson
from embedder.training.nets.fitting import Fitting, fit
from embedder.training.nets.graph import SmallGraph, convolution

WIDTHS = (16, 32, 64, 96)
FITTING = Fitting(rate=3e-3, decay=0.02)


class SmallNet(nn.Module):
    """(n, 3, h, w) float32 BGR, normalised, to (n, classes) logits: 3×3 convolutions, every second halving; a mean."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        into = 3
        for out in WIDTHS:
            for stride in (2, 1):
                layers += convolution(into, out, stride)
                into = out
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.trunk(pictures)
        logits: Tensor = self.head(functional.dropout(features.mean(dim=(2, 3)), 0.2, self.training))
        return logits


class TorchLearner:
    """A ``Learner``: a ``SmallNet`` from random weights, the same for the same ``seed`` and number of ``threads``."""

    def __init__(self, seed: int = 0, threads: int = 1) -> None:
        self._seed = seed
        self._threads = threads

    def __call__(self, lesson: Lesson, path: Path) -> None:
        torch.manual_seed(self._seed)
        torch.set_num_threads(self._threads)
        network = SmallNet(lesson.outputs).to(memory_format=torch.channels_last)

        def loss(pictures: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(network(pictures), labels, label_smoothing=0.02)

        fit(network, lesson, loss, FITTING)
        export(network, lesson.size, path)


def export(network: SmallNet, size: tuple[int, int], path: Path) -> None:
    """Write the network as ONNX: normalised (batch, 3, *``size``) float32 pictures to (batch, classes) logits."""
    network.eval()
    graph = SmallGraph()
    graph.convolutions(network.trunk)
    graph.step("GlobalAveragePool", "mean")
    graph.step("Flatten", "flat")
    graph.linear(network.head, "head", OUTPUT)
    graph.write(path, "classifier", size, network.head.out_features)
