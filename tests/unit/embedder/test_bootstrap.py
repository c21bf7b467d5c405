from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from embedder.comparisons import TemplateSet
from embedder.evaluation import Acquisition, bootstrap, verification
from embedder.evaluation.bootstrap import PairSample, error_intervals, percentiles, sample_pairs
from embedder.pairs import PairRows


def crowd(people: int, each: int, noise: float = 0.6, seed: int = 0, dim: int = 16) -> TemplateSet:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    vectors = rng.standard_normal((people, dim))[labels] + noise * rng.standard_normal((len(labels), dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TemplateSet(vectors.astype(np.float32), labels, np.arange(len(labels)))


def sample_of(
    genuine: list[float], owner: list[int], impostor: list[tuple[float, int, int]], people: int
) -> PairSample:
    scores, first, second = (np.array(column) for column in zip(*impostor, strict=True))
    return PairSample(
        np.array(genuine, np.float32),
        np.array(owner, np.int64),
        scores.astype(np.float32),
        first.astype(np.int64),
        second.astype(np.int64),
        np.ones(len(impostor)),
        people,
    )


def test_a_sample_of_few_pairs_is_all_of_them_with_the_people_in_them() -> None:
    faces = TemplateSet(np.eye(4, dtype=np.float32)[[0, 0, 1, 2]], np.array([7, 7, 9, 11]), np.arange(4))
    sample = sample_pairs(faces)
    assert sample.people == 3
    assert sample.genuine.tolist() == [1.0]
    assert sample.owner.tolist() == [0]
    found = sorted(zip(sample.first.tolist(), sample.second.tolist(), strict=True))
    assert found == [(0, 1), (0, 1), (0, 2), (0, 2), (1, 2)]
    assert sample.weight.tolist() == [1.0] * 5


def test_a_sample_of_pairs_in_a_file() -> None:
    faces = TemplateSet(np.eye(4, dtype=np.float32)[[0, 0, 1, 2]], np.array([7, 7, 9, 11]), np.arange(4))
    rows = PairRows(np.array([0, 0, 2]), np.array([1, 2, 3]), np.array([True, False, False]))
    sample = sample_pairs(faces, pairs=rows)
    assert (sample.genuine.tolist(), sample.owner.tolist()) == ([1.0], [0])
    assert (sample.first.tolist(), sample.second.tolist()) == ([0, 1], [1, 2])


@pytest.mark.parametrize("two_sides", [False, True])
def test_a_thinned_sample_stands_for_all_pairs(two_sides: bool) -> None:
    faces = crowd(60, 4)
    gallery = TemplateSet(crowd(60, 4, seed=1).templates, faces.people, faces.images) if two_sides else None
    report = verification(faces, gallery, acquisition=Acquisition(0))
    tail = report.thresholds["1e-2"]
    whole = sample_pairs(faces, gallery, tail_from=tail)
    with mock.patch.object(bootstrap, "SAMPLE", 4000), mock.patch.object(bootstrap, "MAX_TAIL", 100):
        thinned = sample_pairs(faces, gallery, tail_from=tail, seed=3)
    assert len(thinned.impostor) < 4600 < len(whole.impostor) == report.n_impostor
    assert thinned.weight.sum() == pytest.approx(report.n_impostor)
    for threshold in (-0.2, 0.1, 0.3, tail):
        share = [float(s.weight[s.impostor >= threshold].sum() / s.weight.sum()) for s in (whole, thinned)]
        assert share[1] == pytest.approx(share[0], rel=0.35, abs=0.03)


def test_intervals_hold_the_figures_and_shrink_with_more_people() -> None:
    widths = []
    for people in (30, 300):
        faces = crowd(people, 3, noise=0.9)
        report = verification(faces, acquisition=Acquisition(0))
        sample = sample_pairs(faces, tail_from=report.thresholds["1e-2"])
        found = error_intervals(sample, draws=60, seed=2)
        assert found.keys() == {"eer", "1e-2", "1e-3", "1e-4"}
        low, high = found["eer"]
        assert low <= report.eer <= high
        assert found["1e-2"][0] <= report.frr100 <= found["1e-2"][1]
        widths.append(high - low)
        assert found == error_intervals(sample, draws=60, seed=2)
    assert widths[1] < 0.5 * widths[0]


def test_people_are_drawn_and_not_pairs() -> None:
    # One of ten people fails in all of their 50 pairs: drawn pairs would say 0.1 +- 0.02, drawn people say 0 to 0.3.
    genuine = [0.0 if person == 0 else 0.9 for person in range(10) for _ in range(50)]
    owner = [person for person in range(10) for _ in range(50)]
    impostor = [(0.5, p, q) for p in range(10) for q in range(p + 1, 10)]
    found = error_intervals(sample_of(genuine, owner, impostor, 10), draws=300)
    low, high = found["1e-3"]
    assert low == 0
    assert high >= 0.25


def test_the_rates_of_a_single_possible_draw_are_exact() -> None:
    # Every draw of two people weighs the pairs alike, or has no impostor pair and is drawn again.
    sample = sample_of([0.2, 0.8, 0.2, 0.8], [0, 0, 1, 1], [(0.5, 0, 1), (0.1, 0, 1), (0.1, 0, 1), (0.1, 1, 0)], 2)
    found = error_intervals(sample, draws=20)
    assert found["1e-3"] == (0.5, 0.5)
    assert found["eer"] == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(
    "sample",
    [
        sample_of([0.5], [0], [(0.1, 0, 0)], 1),
        sample_of([], [], [(0.1, 0, 1)], 2),
        PairSample(*(np.zeros(0, kind) for kind in ("f4", "i8", "f4", "i8", "i8", "f8")), 3),
    ],
)
def test_without_pairs_there_are_no_intervals(sample: PairSample) -> None:
    assert error_intervals(sample) == {}


def test_the_middle_of_values() -> None:
    values: NDArray[np.float64] = np.arange(1001) / 1000
    assert percentiles(values) == pytest.approx((0.025, 0.975))
