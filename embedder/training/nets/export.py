"""From a trained network to the ONNX file that ships: normalisations folded away, small weights, quick operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from embedder.training.nets.network import DIM, WIDTH, PeriocularNet
from embedder.training.nets.norms import Floats, affine, array

INPUT, OUTPUT = "face", "template"
HALF_FROM = 1024
"""Tensors of at least this many values are stored as float16; ONNX Runtime folds the cast away when it loads them."""
WEIGHT_LIMIT = 63
OPSET = 17
IR_VERSION = 10

_Shares = list[tuple[str, Floats]]
"""What sums up to a layer's output: tensors, and the share of each channel that counts."""
_Parts = Sequence[tuple[str, Floats | None]]
"""The same, or one tensor that is all of it (None)."""


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

    def constant(self, name: str, values: NDArray[Any]) -> None:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def export(network: PeriocularNet, path: Path) -> None:
    """Write ``network`` as ONNX: normalised (batch, 3, rows, 112) float32 pictures to (batch, 128) templates.

    ONNX Runtime runs a PReLU as an operator of its own, one value after another in a layout of its own, and spends half
    of SFace's time there.  Written as ``a x + (1 - a) relu(x)``, it is made of what stays in the blocked layout of the
    convolutions: the depthwise convolution that follows is done on both parts, or two of one pixel are put in between.
    """
    network.eval()
    graph = _Graph()
    layers = list(_layers(network))
    flow: _Parts = [(INPUT, None)]
    for number, (norm_conv, slope) in enumerate(layers):
        conv = norm_conv[0]
        whole = _convolved(graph, flow, number, norm_conv)
        parts = _activated(graph, whole, number, array(slope.weight))
        last = number + 1 == len(layers)
        # Where a convolution over all channels follows, it is not done twice.
        flow = [(_summed(graph, parts, number), None)] if conv.groups > 1 or last else parts
    ((features, _),) = flow
    _template(graph, features, network)
    shapes: dict[str, list[str | int | None]] = {INPUT: ["batch", 3, network.rows, WIDTH], OUTPUT: ["batch", DIM]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    whole_graph = helper.make_graph(graph.nodes, "periocular", values[:1], values[1:], graph.weights)
    model = helper.make_model(whole_graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="atmwatch")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _convolved(graph: _Graph, flow: _Parts, number: int, norm_conv: nn.Module) -> str:
    conv, norm = norm_conv
    scale, shift = affine(norm)
    weight = array(conv.weight) * scale[:, None, None, None]
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    done = []
    for part, (name, share) in enumerate(flow):
        own = weight if share is None else weight * share[:, None, None, None]
        inputs = [name, graph.weight(f"w{number}_{part}", own)]
        inputs += [graph.weight(f"b{number}", shift)] if part == 0 else []
        done.append(
            graph.node(
                "Conv",
                inputs,
                f"conv{number}_{part}",
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[kernel // 2] * 4,
                group=conv.groups,
            )
        )
    return done[0] if len(done) == 1 else graph.node("Add", done, f"conv{number}")


def _activated(graph: _Graph, flow: str, number: int, slopes: Floats) -> _Shares:
    return [(flow, slopes), (graph.node("Relu", [flow], f"relu{number}"), 1 - slopes)]


def _summed(graph: _Graph, parts: _Shares, number: int) -> str:
    done = []
    for part, (name, share) in enumerate(parts):
        weight = graph.weight(f"share{number}_{part}", share[:, None, None, None])
        done.append(graph.node("Conv", [name, weight], f"part{number}_{part}", kernel_shape=[1, 1], group=len(share)))
    return graph.node("Add", done, f"act{number}")


def _template(graph: _Graph, features: str, network: PeriocularNet) -> None:
    """The head, in bytes: half of all weights are its own, and to read them is what takes its time.

    Weights have seven bits, for processors whose sums of products of eight run over, and a scale for each output.
    """
    weight, bias = _head(network)
    scales = np.abs(weight).max(axis=1) / WEIGHT_LIMIT
    graph.constant("head_w", np.round(weight / scales[:, None]).astype(np.int8).T)
    graph.constant("head_zero", np.zeros((), np.int8))
    graph.constant("head_scales", scales.astype(np.float32))
    graph.constant("head_b", bias.astype(np.float32))
    flat = graph.node("Flatten", [features], "flat")
    graph.nodes.append(helper.make_node("DynamicQuantizeLinear", [flat], ["bytes", "bytes_scale", "bytes_zero"]))
    sums = graph.node("MatMulInteger", ["bytes", "head_w", "bytes_zero", "head_zero"], "sums")
    sums = graph.node("Cast", [sums], "sums_float", to=TensorProto.FLOAT)
    scale = graph.node("Mul", ["bytes_scale", "head_scales"], "scales")
    graph.node("Add", [graph.node("Mul", [sums, scale], "products"), "head_b"], OUTPUT)


def _layers(network: PeriocularNet) -> Iterator[tuple[nn.Module, nn.PReLU]]:
    modules = list(network.trunk)
    return zip(modules[::2], modules[1::2], strict=True)


def _head(network: PeriocularNet) -> tuple[Floats, Floats]:
    """The head's weights (dim, n) and bias with the normalisations before and after it folded in."""
    before, shift = affine(network.scale)
    after, offset = affine(network.spread)
    weight = array(network.head.weight).reshape(DIM, len(before), -1)
    bias = array(network.head.bias) + (weight.sum(axis=2) @ shift)
    flat = (weight * before[None, :, None]).reshape(DIM, -1)
    return flat * after[:, None], bias * after + offset
