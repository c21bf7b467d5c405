"""Small networks as ONNX: convolutions with their normalisation folded in, and linear layers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from embedder.training.lessons import INPUT, OUTPUT
from embedder.training.nets.norms import Floats, affine, array

OPSET, IR_VERSION = 17, 10


def convolution(into: int, out: int, stride: int) -> list[nn.Module]:
    """A 3×3 convolution, normalised, with ReLU; ``SmallGraph.convolutions`` takes any number of them."""
    return [nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]


class SmallGraph:
    """A graph in the making: each step goes on from where the last one ended."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._flow = INPUT

    def convolutions(self, trunk: nn.Sequential) -> None:
        """The layers of ``convolution``s."""
        for number, (conv, norm) in enumerate(zip(trunk[::3], trunk[1::3], strict=True)):
            scale, shift = affine(norm)
            names = self._kept(
                {
                    f"w{number}": array(conv.weight) * scale[:, None, None, None],
                    f"b{number}": shift,
                }
            )
            self.step("Conv", f"conv{number}", names, strides=[*conv.stride], pads=[1] * 4)
            self.step("Relu", f"relu{number}")

    def linear(self, layer: nn.Linear, name: str, output: str | None = None) -> None:
        """A linear layer; its weights are called ``name``_w and ``name``_b."""
        names = self._kept({f"{name}_w": array(layer.weight), f"{name}_b": array(layer.bias)})
        self.step("Gemm", output or name, names, transB=1)

    def step(self, kind: str, output: str, inputs: Iterable[str] = (), **attributes: Any) -> None:
        """One node, over what the last one gave and ``inputs``."""
        self._nodes.append(helper.make_node(kind, [self._flow, *inputs], [output], **attributes))
        self._flow = output

    def write(self, path: Path, name: str, size: tuple[int, int], outputs: int) -> None:
        """Write it, from normalised (batch, 3, *``size``) float32 pictures to (batch, ``outputs``)."""
        values = [
            helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, *size]),
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", outputs]),
        ]
        graph = helper.make_graph(self._nodes, name, values[:1], values[1:], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="atmwatch")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _kept(self, tensors: dict[str, Floats]) -> list[str]:
        self._weights += [numpy_helper.from_array(value, name) for name, value in tensors.items()]
        return [*tensors]
