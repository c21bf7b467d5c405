"""From a trained network to the ONNX file that ships: normalisations folded away, weights in half the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from embedder.training.nets.network import DIM, WIDTH, PeriocularNet

INPUT, OUTPUT = "face", "template"
HALF_FROM = 1024
"""Tensors of at least this many values are stored as float16; ONNX Runtime folds the cast away when it loads them."""
OPSET = 17
IR_VERSION = 10

Floats = NDArray[np.float32]


class _Graph:
    """Nodes in order, and the weights that they use."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: Floats) -> str:
        if values.size < HALF_FROM:
            self.weights.append(numpy_helper.from_array(values, name))
        else:
            self.weights.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            self.nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def export(network: PeriocularNet, path: Path) -> None:
    """Write ``network`` as ONNX: normalised (batch, 3, rows, 112) float32 pictures to (batch, 128) templates.

    ONNX Runtime runs a PReLU as an operator of its own, one value after another in a layout of its own, and spends half
    of SFace's time there.  Written as ``a x + (1 - a) relu(x)``, with two depthwise convolutions of one pixel, the same
    values come in half the time: convolutions, ReLU and sums stay in the blocked layout, and the sum is fused.
    """
    network.eval()
    graph, flow = _Graph(), INPUT
    for number, (norm_conv, slope) in enumerate(_layers(network)):
        conv, norm = norm_conv
        scale, shift = _affine(norm)
        weight = _array(conv.weight) * scale[:, None, None, None]
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        inputs = [flow, graph.weight(f"w{number}", weight), graph.weight(f"b{number}", shift)]
        flow = graph.node(
            "Conv",
            inputs,
            f"conv{number}",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=conv.groups,
        )
        flow = _activation(graph, flow, number, _array(slope.weight))
    flow = graph.node("Flatten", [flow], "flat")
    weight, bias = _head(network)
    graph.node("Gemm", [flow, graph.weight("head_w", weight), graph.weight("head_b", bias)], OUTPUT, transB=1)
    shapes: dict[str, list[str | int | None]] = {INPUT: ["batch", 3, network.rows, WIDTH], OUTPUT: ["batch", DIM]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    whole = helper.make_graph(graph.nodes, "periocular", values[:1], values[1:], graph.weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="atmwatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _activation(graph: _Graph, flow: str, number: int, slopes: Floats) -> str:
    positive = graph.node("Relu", [flow], f"relu{number}")
    parts = []
    for name, of, values in (("all", flow, slopes), ("positive", positive, 1 - slopes)):
        weight = graph.weight(f"{name}{number}_w", values[:, None, None, None])
        parts.append(graph.node("Conv", [of, weight], f"{name}{number}", kernel_shape=[1, 1], group=len(values)))
    return graph.node("Add", parts, f"act{number}")


def _layers(network: PeriocularNet) -> Iterator[tuple[nn.Module, nn.PReLU]]:
    modules = list(network.trunk)
    return zip(modules[::2], modules[1::2], strict=True)


def _affine(norm: nn.Module) -> tuple[Floats, Floats]:
    """What a batch normalisation does at inference: ``x * scale + shift``, per channel."""
    scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    return scale, _array(norm.bias) - _array(norm.running_mean) * scale


def _head(network: PeriocularNet) -> tuple[Floats, Floats]:
    """The head's weights (dim, n) and bias with the normalisations before and after it folded in."""
    before, shift = _affine(network.scale)
    after, offset = _affine(network.spread)
    weight = _array(network.head.weight).reshape(DIM, len(before), -1)
    bias = _array(network.head.bias) + (weight.sum(axis=2) @ shift)
    flat = (weight * before[None, :, None]).reshape(DIM, -1)
    return flat * after[:, None], bias * after + offset


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)
