"""Codes: what they stand for, how near their products come to the cosines, and that these are exact."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import people

from clustering.codes import NONE, probe_codes, scores, template_codes, whole

UNIT = 127 * 63 / 0.495**2
"""What a cosine of 1 is of 128 numbers."""


def units(count: int, seed: int, dim: int = 128) -> np.ndarray:
    return people(count, dim, seed).astype(np.float32)


def products(templates: np.ndarray, probes: np.ndarray) -> np.ndarray:
    return np.stack([scores(templates, probe) for probe in probes], axis=1)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 3, 8, 128, 512]))
@settings(max_examples=40)
def test_a_product_is_what_whole_numbers_give(seed: int, count: int, asked: int, dim: int) -> None:
    templates, probes = template_codes(units(count, seed, dim)), probe_codes(units(asked, seed + 1, dim))
    exact = (templates.astype(np.int64) - NONE) @ probes.astype(np.int64).T
    np.testing.assert_array_equal(products(templates, probes), exact)


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
