"""The network that is trained: SFace, on the upper rows of its input.

SFace (Zhong, Deng et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP 30, 2021)
is a MobileNet (Howard et al., 2017) of 13 depthwise-separable blocks with PReLU (He et al., 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from ingest.errors import UsageError

WIDTHS = (32, 64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
"""Channels out of the first convolution and of each block, as SFace has them."""
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of each block."""
WIDTH = 112
STRIDE, STEP = 16, 8
"""Pixels to a cell of what the head sees, and of how many the input's rows are a multiple."""
DIM = 128
CENTRE, SPREAD = 127.5, 128.0
EARLY = 2 + 4 * 6
"""Layers of the trunk at high resolution: half of the work of a training step, and the most general of all."""


def _layer(into: int, out: int, kernel: int, stride: int, groups: int) -> list[nn.Module]:
    conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [nn.Sequential(conv, nn.BatchNorm2d(out, eps=1e-3)), nn.PReLU(out)]


class PeriocularNet(nn.Module):
    """(n, 3, rows, 112) float32 RGB, 0 to 255, to (n, 128) L2-normalised; ``rows`` is a multiple of 8 up to 112.

    ``widths`` are its channels, as in ``WIDTHS``.  The convolution that makes those of place i is ``trunk[4 * i]``;
    its PReLU follows, and then the depthwise convolution of the next block.
    """

    def __init__(self, rows: int = WIDTH, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        if rows % STEP or not STEP <= rows <= WIDTH:
            message = f"the network takes a multiple of {STEP} rows up to {WIDTH}, not {rows}"
            raise UsageError(message)
        self.rows = rows
        self.cells = -(-rows // STRIDE)
        self.widths = widths
        layers = _layer(3, widths[0], 3, 1, 1)
        for into, out, stride in zip(widths[:-1], widths[1:], STRIDES, strict=True):
            layers += _layer(into, into, 3, stride, into) + _layer(into, out, 1, 1, 1)
        self.trunk = nn.Sequential(*layers)
        self.scale = nn.BatchNorm2d(widths[-1], eps=2e-5)
        self.head = nn.Linear(widths[-1] * self.cells * (WIDTH // STRIDE), DIM)
        self.spread = nn.BatchNorm1d(DIM, eps=2e-5)

    def forward(self, pictures: Tensor) -> Tensor:
        return functional.normalize(self.raw(pictures))

    def raw(self, pictures: Tensor) -> Tensor:
        """The (n, 128) vectors before they are brought to length 1."""
        features = self.trunk((pictures - CENTRE) / SPREAD)
        raw: Tensor = self.spread(self.head(self.scale(features).flatten(1)))
        return raw

    def freeze_early(self) -> None:
        """Leave the high-resolution layers as they are from here on."""
        self.trunk[:EARLY].requires_grad_(False)


def from_sface(path: Path, rows: int = WIDTH) -> PeriocularNet:
    """The network with SFace's weights, from its ONNX file; with all 112 rows it is SFace.

    A head on fewer rows gets the part of SFace's that looks at them.  Raises ``UsageError`` for another architecture.
    """
    model = onnx.load(path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}

    def value(name: str) -> Tensor:
        return torch.from_numpy(np.array(stored[casts.get(name, name)], np.float32))

    net = PeriocularNet(rows)
    try:
        _fill(net, model.graph.node, value)
    except (StopIteration, KeyError, RuntimeError, AttributeError) as error:
        message = f"{path} is no SFace: training starts from its architecture"
        raise UsageError(message) from error
    return net


def _fill(net: PeriocularNet, nodes: Iterable[onnx.NodeProto], value: Callable[[str], Tensor]) -> None:
    convs = iter([module for module in net.trunk if isinstance(module, nn.Sequential)])
    slopes = iter([module for module in net.trunk if isinstance(module, nn.PReLU)])
    norm: Any = None
    with torch.no_grad():
        for node in nodes:
            if node.op_type == "Conv":
                conv, norm = next(convs)
                conv.weight.copy_(value(node.input[1]))
            elif node.op_type == "BatchNormalization":
                target = net.scale if node.name == "bn1" else net.spread if node.name == "fc1" else norm
                for tensor, name in zip(
                    (target.weight, target.bias, target.running_mean, target.running_var), node.input[1:5], strict=True
                ):
                    tensor.copy_(value(name))
            elif node.op_type == "PRelu":
                next(slopes).weight.copy_(value(node.input[1]).ravel())
            elif node.op_type == "Gemm":
                weight = value(node.input[1]).view(DIM, -1, WIDTH // STRIDE, WIDTH // STRIDE)
                net.head.weight.copy_(weight[:, :, : net.cells].flatten(1))
                net.head.bias.copy_(value(node.input[2]))


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """(n, rows, 112, 3) uint8 BGR pictures as the network's input."""
    return torch.from_numpy(pictures[..., ::-1].copy()).permute(0, 3, 1, 2).float()
