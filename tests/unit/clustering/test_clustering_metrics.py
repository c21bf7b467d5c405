from __future__ import annotations

import json
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from clustering.evaluation import (
    bcubed,
    bcubed_intervals,
    contingency,
    evaluate_clustering,
    nmi,
    pairwise,
    recall_at,
    visit_count_mae,
)
from embedder.evaluation import identification
from ingest.errors import UsageError


def labels(*sizes: int) -> NDArray[np.int64]:
    """Labels 0, 1, 2 … each so many times."""
    return np.repeat(np.arange(len(sizes)), sizes)


def planar(*degrees: float) -> NDArray[np.float32]:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def f_bcubed(truth: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    return bcubed(contingency(truth, found)).f


# Bagga & Baldwin 1998, figures 1 to 3: people {1..5}, {6, 7}, {8..12}
CHAINS = labels(5, 2, 5)


def test_bcubed_of_the_paper_s_first_response() -> None:
    scores = bcubed(contingency(CHAINS, labels(5, 7)))
    assert scores.precision == pytest.approx(16 / 21)
    assert scores.recall == 1
    assert scores.f == pytest.approx(2 * (16 / 21) / (16 / 21 + 1))


def test_bcubed_of_the_paper_s_second_response() -> None:
    scores = bcubed(contingency(CHAINS, np.array([0] * 5 + [1] * 2 + [0] * 5)))
    assert (scores.precision, scores.recall) == pytest.approx((7 / 12, 1))


# Manning, Raghavan & Schütze, Introduction to Information Retrieval, 2008, figure 16.4
FOUND = labels(6, 6, 5)
TRUTH = np.array([0] * 5 + [1] + [0] + [1] * 4 + [2] + [0] * 2 + [2] * 3)


def test_pairs_and_information_of_the_textbook() -> None:
    table = contingency(TRUTH, FOUND)
    scores = pairwise(table)  # TP 20, FP 20, FN 24
    assert (scores.precision, scores.recall) == pytest.approx((20 / 40, 20 / 44))
    assert scores.f == pytest.approx(40 / 84)
    assert nmi(table) == pytest.approx(0.36, abs=0.005)


def test_bcubed_prefers_what_the_constraints_of_amigo_prefer() -> None:
    # homogeneity: two people apart are better than together
    truth = labels(4, 3)
    assert f_bcubed(truth, labels(4, 3)) > f_bcubed(truth, labels(7))
    # completeness: one person together is better than split
    assert f_bcubed(labels(4, 4), labels(4, 4)) > f_bcubed(labels(4, 4), labels(4, 2, 2))
    # rag bag: a stranger does less harm among strangers than in a clean identity
    truth = np.array([0, 0, 0, 0, 1, 2, 3, 4, 5])
    clean, rag = np.array([0] * 4 + [1] * 4 + [1]), np.array([0] * 4 + [1] * 4 + [0])
    assert f_bcubed(truth, clean) > f_bcubed(truth, rag)
    # size and number: one item off a large identity is better than many small ones broken
    truth = labels(5, 2, 2, 2, 2)
    large, small = labels(4, 1, 2, 2, 2, 2), labels(5, *[1] * 8)
    assert f_bcubed(truth, large) > f_bcubed(truth, small)


def test_a_perfect_clustering() -> None:
    table = contingency(CHAINS, np.array(["c", "a", "b"])[CHAINS])
    for scores in (bcubed(table), pairwise(table)):
        assert (scores.precision, scores.recall, scores.f) == pytest.approx((1, 1, 1))
    assert nmi(table) == pytest.approx(1)
    assert visit_count_mae(table) == 0


def test_all_in_one_identity() -> None:
    table = contingency(CHAINS, np.zeros(12, np.int64))
    assert bcubed(table).recall == pairwise(table).recall == 1
    assert bcubed(table).precision == pytest.approx((25 + 4 + 25) / 144)
    assert pairwise(table).precision == pytest.approx(21 / 66)
    assert nmi(table) == pytest.approx(0, abs=1e-12)
    assert visit_count_mae(table) == pytest.approx((7 + 10 + 7) / 3)


def test_every_item_its_own_identity() -> None:
    table = contingency(CHAINS, np.arange(12))
    assert bcubed(table).precision == pairwise(table).precision == 1
    assert bcubed(table).recall == pytest.approx(3 / 12)
    assert (pairwise(table).recall, pairwise(table).f) == (0, 0)
    assert visit_count_mae(table) == pytest.approx((4 + 1 + 4) / 3)


def test_one_item() -> None:
    table = contingency(np.array([7]), np.array([3]))
    assert bcubed(table).f == pairwise(table).f == nmi(table) == 1
    assert visit_count_mae(table) == 0


def test_visits_are_those_of_the_identity_with_most_of_the_person() -> None:
    # person 0: three in identity 0, two in 1; person 1: both in identity 0
    table = contingency(labels(5, 2), np.array([0, 0, 0, 1, 1, 0, 0]))
    assert visit_count_mae(table) == pytest.approx((abs(5 - 5) + abs(5 - 2)) / 2)


def test_of_equal_shares_the_larger_identity_counts() -> None:
    # person 0 has one item in identity 0 (size 1) and one in identity 1 (size 4)
    for found in (np.array([0, 1, 1, 1, 1]), np.array([1, 0, 0, 0, 0])):
        assert visit_count_mae(contingency(labels(2, 3), found)) == pytest.approx((2 + 1) / 2)


def test_no_item_is_a_usage_error() -> None:
    nothing = np.empty(0, np.int64)
    with pytest.raises(UsageError, match="no picture has a usable face"):
        contingency(nothing, nothing)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one label per item"):
        contingency(labels(3), labels(2))
    with pytest.raises(ValueError, match="one per label"):
        recall_at(labels(3), planar(0, 1))


def test_recall_finds_mates_by_rank() -> None:
    # 0 and 20 degrees are one person with a stranger between; 90 and 91 another
    templates, truth = planar(0, 12, 20, 90, 91), np.array([0, 1, 0, 2, 2])
    assert recall_at(truth, templates, ranks=(1, 2)) == {"1": 0.5, "2": 1.0}
    assert recall_at(truth, templates) == {"1": 0.5, "10": 1.0, "20": 1.0}


def test_recall_counts_ties_against() -> None:
    templates = np.eye(2, dtype=np.float32)[[0, 0, 0]]
    assert recall_at(np.array([0, 0, 1]), templates, ranks=(1, 2)) == {"1": 0.0, "2": 1.0}


def test_recall_without_a_query_is_none() -> None:
    assert recall_at(labels(1, 1), planar(0, 90)) == {"1": None, "10": None, "20": None}


def test_recall_in_small_blocks_is_the_same() -> None:
    rng = np.random.default_rng(0)
    templates = rng.standard_normal((60, 8)).astype(np.float32)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    truth = rng.integers(0, 20, 60)
    whole = recall_at(truth, templates)
    with mock.patch.object(identification, "BLOCK", 150):
        assert recall_at(truth, templates) == whole
    assert whole["1"] is not None
    assert 0 < whole["1"] < 1


def test_the_report_has_the_contract_s_keys() -> None:
    report = evaluate_clustering(np.array([0, 0, 1]), np.array(["x", "x", "y"]), planar(0, 1, 90), failed=1)
    assert json.loads(report.model_dump_json()) == {
        "bcubed": {"precision": 1, "recall": 1, "f": 1},
        "pairwise": {"precision": 1, "recall": 1, "f": 1},
        "nmi": pytest.approx(1),
        "identities_true": 2,
        "identities_found": 2,
        "visit_count_mae": 0,
        "recall_at": {"1": 1, "10": 1, "20": 1},
        "images": 4,
        "failure_to_acquire": 0.25,
        "intervals": {},
    }


def test_intervals_are_over_people() -> None:
    # Eight people stand alone and whole, one is split into ten identities: that one's share of the draws decides.
    truth = np.repeat(np.arange(9), 10)
    found = np.concatenate([np.repeat(np.arange(8), 10), np.arange(100, 110)])
    table = contingency(truth, found)
    intervals = bcubed_intervals(table, draws=400, seed=1)
    assert intervals["precision"] == pytest.approx((1, 1))
    low, high = intervals["recall"]
    assert high == pytest.approx(1)  # the split person is not drawn at all in a third of the draws
    assert 0.6 < low < bcubed(table).recall == pytest.approx(0.9)
    assert intervals["f"][0] == pytest.approx(2 * low / (1 + low))
    templates = planar(*np.linspace(0, 170, 90))
    assert evaluate_clustering(truth, found, templates, draws=400).intervals.keys() == {"precision", "recall", "f"}


def test_a_million_items_are_counted() -> None:
    truth = np.random.default_rng(0).integers(0, 300_000, 1_000_000)
    table = contingency(truth, truth // 2)
    assert bcubed(table).recall == pytest.approx(1)
    assert 0.4 < bcubed(table).precision < 0.6
    assert visit_count_mae(table) > 3
