"""Codes: what they stand for, how near their products come to the cosines, and that these are exact."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from templates import people

from clustering.codes import GRAPH, NONE, Product, probe_codes, scores, template_codes, whole

UNIT = 127 * 63 / 0.495**2
"""What a cosine of 1 is of 128 numbers."""


def units(count: int, seed: int, dim: int = 128) -> np.ndarray:
    return people(count, dim, seed).astype(np.float32)


def products(templates: np.ndarray, probes: np.ndarray) -> np.ndarray:
    out = np.empty((len(templates), len(probes)), np.int32)
    Product()(templates, np.ascontiguousarray(probes.T), out)
    return out


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 3, 8, 128, 512]))
@settings(max_examples=40)
def test_a_product_is_what_whole_numbers_give(seed: int, count: int, asked: int, dim: int) -> None:
    templates, probes = template_codes(units(count, seed, dim)), probe_codes(units(asked, seed + 1, dim))
    exact = (templates.astype(np.int64) - NONE) @ probes.astype(np.int64).T
    np.testing.assert_array_equal(products(templates, probes), exact)
    np.testing.assert_array_equal(np.stack([scores(templates, probe) for probe in probes], axis=1), exact)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_products_are_exact_too(sign: int) -> None:
    """Processors that add up in sixteen bits would fail here first."""
    templates = np.full((5, 128), NONE + 63, np.uint8)
    probes = np.full((3, 128), sign * 127, np.int8)
    np.testing.assert_array_equal(products(templates, probes), np.full((5, 3), sign * 63 * 127 * 128))


def test_the_score_follows_the_cosine() -> None:
    vectors = units(300, 1)
    found = products(template_codes(vectors), probe_codes(vectors)) / UNIT
    assert np.abs(found - vectors @ vectors.T).max() < 0.015
    assert np.abs(found - vectors @ vectors.T).std() < 0.003


def test_codes_stay_within_their_bits_whatever_comes() -> None:
    wild = np.array([[1, -1, 0, 0.5], [9, -9, 0.001, 0]], np.float32)
    assert template_codes(wild).tolist() == [[127, 1, 64, 96], [127, 1, 64, 64]]
    assert probe_codes(wild).tolist() == [[127, -127, 0, 64], [127, -127, 0, 0]]
    assert whole(template_codes(wild)).tolist() == [[63, -63, 0, 32], [63, -63, 0, 0]]


def test_the_graph_that_is_shipped_multiplies_whole_numbers() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["templates", "probes", "none"], ["scores"])],
        "product",
        [
            helper.make_tensor_value_info("templates", TensorProto.UINT8, ["n", "dim"]),
            helper.make_tensor_value_info("probes", TensorProto.INT8, ["dim", "q"]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.INT32, ["n", "q"])],
        [helper.make_tensor("none", TensorProto.UINT8, [], [NONE])],
    )
    opset = [helper.make_opsetid("", 17)]
    assert onnx.load(GRAPH) == helper.make_model(graph, producer_name="atmwatch", opset_imports=opset, ir_version=10)
