"""A small network that tells classes of small pictures apart: what covers a face, whether an eye is open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from embedder.training.lessons import CENTRE, OUTPUT, SPREAD, Lesson
from embedder.training.nets.graph import SmallGraph, convolution

WIDTHS = (16, 32, 64, 96)


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

    def __init__(self, seed: int = 0, threads: int = 1, rate: float = 3e-3) -> None:
        self._seed = seed
        self._threads = threads
        self._rate = rate

    def __call__(self, lesson: Lesson, path: Path) -> None:
        torch.manual_seed(self._seed)
        torch.set_num_threads(self._threads)
        network = SmallNet(lesson.outputs).to(memory_format=torch.channels_last)
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
    graph = SmallGraph()
    graph.convolutions(network.trunk)
    graph.step("GlobalAveragePool", "mean")
    graph.step("Flatten", "flat")
    graph.linear(network.head, "head", OUTPUT)
    graph.write(path, "classifier", size, network.head.out_features)
