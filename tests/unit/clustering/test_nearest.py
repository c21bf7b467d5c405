"""The best out of all, in one call: what the graph is, and that it is what sorting everything gives."""

from __future__ import annotations

from unittest import mock

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from templates import people

from clustering import nearest as module
from clustering.codes import NONE, probe_codes, scores, template_codes
from clustering.nearest import GRAPH, GROUP, STRIPE, Nearest


def graph() -> ModelProto:
    """How the file that is shipped was made."""
    tensor, node = helper.make_tensor_value_info, helper.make_node
    constants = {
        "none": np.uint8(NONE),
        "grouped": np.array([STRIPE // GROUP, GROUP, -1]),
        "group": np.array([GROUP]),
        "any": np.array([-1]),
        "same": np.array([0]),
        "second": np.array([1]),
        "third": np.array([2]),
    }
    best_of_groups = helper.make_graph(
        [
            node("MatMulInteger", ["stripe", "across", "none"], ["products"]),
            node("Reshape", ["products", "grouped"], ["by_group"]),
            node("ReduceMax", ["by_group", "second"], ["best"], keepdims=0),
        ],
        "best_of_groups",
        [tensor("stripe", TensorProto.UINT8, [STRIPE, "dim"])],
        [tensor("best", TensorProto.INT32, [STRIPE // GROUP, "q"])],
    )
    steps = [
        # The best groups of each probe.
        node("Transpose", ["probes"], ["across"], perm=[1, 0]),
        node("Scan", ["templates"], ["striped"], body=best_of_groups, num_scan_inputs=1),
        node("Shape", ["probes"], ["count"], start=0, end=1),
        node("Concat", ["any", "count"], ["flat"], axis=0),
        node("Reshape", ["striped", "flat"], ["of_groups"]),
        node("Transpose", ["of_groups"], ["of_probes"], perm=[1, 0]),
        node("TopK", ["of_probes", "k"], ["outdone", "groups"], axis=-1, sorted=0),
        # Their rows, and the products of these.
        node("Shape", ["probes"], ["dim"], start=1, end=2),
        node("Concat", ["any", "group", "dim"], ["as_groups"], axis=0),
        node("Reshape", ["templates", "as_groups"], ["grouped_templates"]),
        node("Gather", ["grouped_templates", "groups"], ["theirs"], axis=0),
        node("Concat", ["same", "any", "dim"], ["as_rows"], axis=0),
        node("Reshape", ["theirs", "as_rows"], ["candidates"]),
        node("Unsqueeze", ["probes", "third"], ["columns"]),
        node("MatMulInteger", ["candidates", "columns", "none"], ["column"]),
        node("Squeeze", ["column", "third"], ["line"]),
        node("TopK", ["line", "k"], ["scores", "places"], axis=-1, sorted=1),
        # Where these rows stand among all.
        node("Div", ["places", "group"], ["which"]),
        node("Mod", ["places", "group"], ["within"]),
        node("GatherElements", ["groups", "which"], ["theirs_group"], axis=1),
        node("Mul", ["theirs_group", "group"], ["first"]),
        node("Add", ["first", "within"], ["rows"]),
    ]
    whole = helper.make_graph(
        steps,
        "nearest",
        [
            tensor("templates", TensorProto.UINT8, ["stripes", STRIPE, "dim"]),
            tensor("probes", TensorProto.INT8, ["q", "dim"]),
            tensor("k", TensorProto.INT64, [1]),
        ],
        [tensor("scores", TensorProto.INT32, ["q", "most"]), tensor("rows", TensorProto.INT64, ["q", "most"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(whole, producer_name="atmwatch", opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def units(count: int, seed: int, dim: int = 128) -> np.ndarray:
    return people(count, dim, seed).astype(np.float32)


def check(templates: np.ndarray, probes: np.ndarray, k: int) -> None:
    found, rows = Nearest()(templates, probes, k)
    assert (found.dtype, rows.dtype, found.shape, rows.shape) == (
        np.int32,
        np.int64,
        (len(probes), k),
        (len(probes), k),
    )
    exact = np.stack([scores(templates, probe) for probe in probes])
    np.testing.assert_array_equal(found, -np.sort(-exact, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(exact, rows, axis=1), found)
    assert all(len(set(line)) == k for line in rows.tolist())


def test_the_graph_that_is_shipped_is_this_one() -> None:
    assert onnx.load(GRAPH) == graph()


@given(
    seed=st.integers(0, 10**6),
    stripes=st.integers(1, 3),
    asked=st.integers(1, 9),
    k=st.sampled_from([1, 2, 7, 72, STRIPE // GROUP]),
    dim=st.sampled_from([3, 8, 128]),
    alike=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_best_are_those_that_sorting_everything_gives(
    seed: int, stripes: int, asked: int, k: int, dim: int, *, alike: bool
) -> None:
    """Where many rows are alike too, and whole groups of them."""
    rng = np.random.default_rng(seed)
    vectors = units(stripes * STRIPE, seed, dim)
    if alike:
        vectors = vectors[rng.integers(0, 5, len(vectors)) if seed % 2 else np.arange(len(vectors)) // 100]
    check(template_codes(vectors), probe_codes(units(asked, seed + 1, dim)), k)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_products_are_exact_too(sign: int) -> None:
    """Processors that add up in sixteen bits would fail here first."""
    check(np.full((STRIPE, 128), NONE + 63, np.uint8), np.full((3, 128), sign * 127, np.int8), 5)


def test_faces_may_come_in_parts() -> None:
    templates, probes = template_codes(units(2 * STRIPE, 5)), probe_codes(units(9, 6))
    with mock.patch.object(module, "MOST", 2 * 2 * STRIPE // GROUP):
        check(templates, probes, 20)
