"""The network that places landmarks: convolutions that keep where things are, and two linear layers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedder.training.lessons import OUTPUT, Lesson
from embedder.training.nets.fitting import Fitting, fit
from embedder.training.nets.graph import SmallGraph, convolution

LAYERS = ((32, 2), (64, 2), (64, 1), (128, 2), (128, 1), (128, 2))
"""Channels and stride of each convolution."""
HIDDEN = 128
FITTING = Fitting(rate=1.5e-3, decay=1e-4, rising=0.05)
WEIGHTS = (2.0, 2.0, 1.0, 0.5, 0.5)
"""Of each landmark: the eyes carry the alignment, and the mouth is behind the mask."""
NEAR = 0.5
"""In pixels of the input: below it, errors count by their square."""


class LandmarkNet(nn.Module):
    """(n, 3, h, w) float32 BGR, normalised, to (n, 10): by how many pixels each landmark is off its place, x and y."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        into, height, width = 3, *size
        for out, stride in LAYERS:
            layers += convolution(into, out, stride)
            into, height, width = out, -(-height // stride), -(-width // stride)
        self.trunk = nn.Sequential(*layers)
        self.hidden = nn.Linear(into * height * width, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2 * len(WEIGHTS))

    def forward(self, pictures: Tensor) -> Tensor:
        features = functional.relu(self.hidden(self.trunk(pictures).flatten(1)))
        found: Tensor = self.head(features)
        return found


class LandmarkLearner:
    """A ``Learner``: a ``LandmarkNet`` from random weights, the same for the same ``seed`` and ``threads``."""

    def __init__(self, seed: int = 0, threads: int = 1) -> None:
        self._seed = seed
        self._threads = threads

    def __call__(self, lesson: Lesson, path: Path) -> None:
        torch.manual_seed(self._seed)
        torch.set_num_threads(self._threads)
        network = LandmarkNet(lesson.size).to(memory_format=torch.channels_last)
        weights = torch.tensor(WEIGHTS).repeat_interleave(2)

        def loss(pictures: Tensor, offsets: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                found = network(pictures)
            missed = functional.smooth_l1_loss(found.float(), offsets, beta=NEAR, reduction="none")
            return (missed * weights).mean()

        fit(network, lesson, loss, FITTING)
        export(network, lesson.size, path)


def export(network: LandmarkNet, size: tuple[int, int], path: Path) -> None:
    """Write the network as ONNX: normalised (batch, 3, *``size``) float32 pictures to (batch, 10) offsets."""
    network.eval()
    graph = SmallGraph()
    graph.convolutions(network.trunk)
    graph.step("Flatten", "flat")
    graph.linear(network.hidden, "hidden")
    graph.step("Relu", "hidden_relu")
    graph.linear(network.head, "head", OUTPUT)
    graph.write(path, "landmarks", size, network.head.out_features)
