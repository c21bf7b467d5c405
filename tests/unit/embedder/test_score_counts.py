from __future__ import annotations

import numpy as np
import pytest

from embedder.comparisons import TemplateSet
from embedder.evaluation.curve import BINS, ScoreCounts, count_scores
from embedder.pairs import PairRows


def faces(degrees: list[float], people: list[int]) -> TemplateSet:
    angles = np.deg2rad(degrees)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return TemplateSet(vectors, np.array(people), np.arange(len(people)))


def test_every_pair_is_counted_in_its_bin() -> None:
    counts = count_scores(faces([0, 60, 120], [1, 1, 2]))
    assert (counts.genuine.sum(), counts.impostor.sum()) == (1, 2)
    at = np.flatnonzero(counts.impostor)
    assert counts.thresholds[at] == pytest.approx([-0.5, 0.5], abs=3 / BINS)
    threshold = np.searchsorted(counts.thresholds, 0.0)
    assert (counts.fmr[threshold], counts.fnmr[threshold]) == (0.5, 0)


def test_curves_run_from_accepting_all_to_rejecting_all() -> None:
    counts = count_scores(faces([0, 10, 50, 90, 200, 181], [1, 1, 2, 2, 3, 3]))
    assert (counts.fmr[0], counts.fnmr[0]) == (1, 0)
    assert (counts.fmr[-1], counts.fnmr[-1]) == (0, 1)
    assert np.all(np.diff(counts.fmr) <= 0)
    assert np.all(np.diff(counts.fnmr) >= 0)


def test_the_pairs_of_a_file_and_of_two_sides() -> None:
    one = faces([0, 60, 120], [1, 1, 2])
    rows = PairRows(np.array([0, 0]), np.array([1, 2]), np.array([True, False]))
    assert count_scores(one, pairs=rows).impostor.sum() == 1
    assert count_scores(one, faces([0, 60, 120], [1, 1, 2])).impostor.sum() == 4


def test_a_histogram_is_a_density() -> None:
    impostor = np.zeros(BINS, np.int64)
    impostor[0] = 3
    impostor[-1] = 1
    edges, genuine, densities = ScoreCounts(np.zeros(BINS, np.int64), impostor).histogram(4)
    assert edges.tolist() == [-1, -0.5, 0, 0.5, 1]
    assert densities.tolist() == [1.5, 0, 0, 0.5]
    assert genuine.tolist() == [0, 0, 0, 0]
