"""The metrics against definitions spelled out pair by pair, on templates whose scores are exact and often tie."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction
from random import Random
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clustering.evaluation import bcubed, contingency, nmi, pairwise, recall_at, visit_count_mae
from embedder import comparisons
from embedder.comparisons import TemplateSet, genuine_scores, impostor_blocks
from embedder.evaluation import FMR_TARGETS, Acquisition, VerificationReport, fit_calibration, verification
from embedder.pairs import Pair, parse_pairs

# the 24-cell: unit vectors whose inner products are exactly -1, -1/2, 0, 1/2 and 1
CELL = np.array(
    [*np.eye(4), *-np.eye(4), *itertools.product((-0.5, 0.5), repeat=4)],
    dtype=np.float32,
)
ITEMS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 23)), min_size=2, max_size=12)
LABELS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25)


def face_set(items: list[tuple[int, int]]) -> TemplateSet:
    people = np.array([person for person, _ in items], dtype=np.int64)
    return TemplateSet(CELL[[vector for _, vector in items]], people, np.arange(len(items)))


def check_against_definitions(report: VerificationReport, genuine: list[float], impostor: list[float]) -> None:
    def fmr(t: float) -> Fraction:
        return Fraction(sum(score >= t for score in impostor), len(impostor))

    def fnmr(t: float) -> Fraction:
        return Fraction(sum(score < t for score in genuine), len(genuine))

    assert (report.n_genuine, report.n_impostor) == (len(genuine), len(impostor))
    scores = sorted({*genuine, *impostor})
    above = [float(np.nextafter(np.float32(score), np.float32(9))) for score in scores]
    thresholds = sorted({*scores, *above})
    best = max(1 - (fmr(t) + fnmr(t)) / 2 for t in thresholds)
    assert report.accuracy == pytest.approx(float(best))
    for name, denominator in FMR_TARGETS.items():
        lowest = next(t for t in thresholds if fmr(t) <= Fraction(1, denominator))
        assert report.thresholds[name] == lowest
        assert report.frr_at_fmr[name] == pytest.approx(float(fnmr(lowest)))
    points = [(fmr(t), fnmr(t)) for t in (*scores, math.inf)]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if y0 <= x0 and y1 >= x1:
            before, behind = x0 - y0, y1 - x1  # never both 0: the points of two thresholds differ
            assert report.eer == pytest.approx(float(y0 + before / (before + behind) * (y1 - y0)))
            break
    else:
        pytest.fail("no operating points lie on either side of FMR = FNMR")
    candidates = [*sorted(set(genuine)), float(np.nextafter(np.float32(max(genuine)), np.float32(9)))]
    assert report.thresholds["eer"] == next(t for t in candidates if fmr(t) <= fnmr(t))


@settings(max_examples=50, deadline=None)
@given(ITEMS, st.integers(12, 60))
def test_verification_within_one_set(items: list[tuple[int, int]], block: int) -> None:
    genuine: list[float] = []
    impostor: list[float] = []
    for (a, u), (b, v) in itertools.combinations(items, 2):
        (genuine if a == b else impostor).append(float(CELL[u] @ CELL[v]))
    faces = face_set(items)
    with mock.patch.object(comparisons, "BLOCK", block):
        assert sorted(genuine_scores(faces)) == sorted(genuine)
        assert sorted(np.concatenate(list(impostor_blocks(faces)))) == sorted(impostor)
        if genuine and impostor:
            report = verification(faces, acquisition=Acquisition(len(items)))
            check_against_definitions(report, genuine, impostor)


@settings(max_examples=50, deadline=None)
@given(ITEMS, st.data())
def test_verification_between_two_sets(items: list[tuple[int, int]], data: st.DataObject) -> None:
    others = data.draw(st.permutations([(i, a, data.draw(st.integers(0, 23))) for i, (a, _) in enumerate(items)]))
    others = others[: data.draw(st.integers(1, len(others)))]
    genuine: list[float] = []
    impostor: list[float] = []
    for (i, (a, u)), (j, b, v) in itertools.product(enumerate(items), others):
        if i != j:
            (genuine if a == b else impostor).append(float(CELL[u] @ CELL[v]))
    probe = face_set(items)
    numbers, people, vectors = (np.array(column) for column in zip(*others, strict=True))
    gallery = TemplateSet(CELL[vectors], people, numbers)
    with mock.patch.object(comparisons, "BLOCK", data.draw(st.integers(12, 60))):
        assert sorted(genuine_scores(probe, gallery)) == sorted(genuine)
        if genuine and impostor:
            report = verification(probe, gallery, acquisition=Acquisition(len(items)))
            check_against_definitions(report, genuine, impostor)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(2, 4), st.floats(0.1, 3))
def test_verification_of_random_templates(seed: int, people: int, each: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    vectors = rng.standard_normal((people, 6))[labels] + noise * rng.standard_normal((len(labels), 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    faces = TemplateSet(vectors.astype(np.float32), labels, np.arange(len(labels)))
    report = verification(faces, acquisition=Acquisition(len(labels)))
    impostor = np.concatenate(list(impostor_blocks(faces)))
    if len(impostor) < 150:
        check_against_definitions(report, genuine_scores(faces).tolist(), impostor.tolist())
    assert report.frr_at_fmr["1e-2"] <= report.frr_at_fmr["1e-3"] <= report.frr_at_fmr["1e-4"]
    assert report.accuracy >= 1 - report.eer - 1e-9


@settings(deadline=None)
@given(LABELS)
def test_clustering_measures(pairs: list[tuple[int, int]]) -> None:
    truth, found = (np.array(column) for column in zip(*pairs, strict=True))
    table = contingency(truth, found)
    n = len(pairs)

    def mean_share(of: NDArray[np.int64], within: NDArray[np.int64]) -> float:
        return float(np.mean([np.mean(of[within == within[i]] == of[i]) for i in range(n)]))

    scores = bcubed(table)
    assert scores.precision == pytest.approx(mean_share(truth, found))
    assert scores.recall == pytest.approx(mean_share(found, truth))

    two = list(itertools.combinations(pairs, 2))
    joined = [a == b for (a, c), (b, d) in two if c == d]
    true = [c == d for (a, c), (b, d) in two if a == b]
    assert pairwise(table).precision == pytest.approx(np.mean(joined) if joined else 1)
    assert pairwise(table).recall == pytest.approx(np.mean(true) if true else 1)

    p, q, r = Counter(truth.tolist()), Counter(found.tolist()), Counter(pairs)
    entropies = [-sum(k / n * math.log(k / n) for k in counts.values()) for counts in (p, q)]
    shared = sum(k / n * math.log(k * n / (p[a] * q[b])) for (a, b), k in r.items())
    assert nmi(table) == pytest.approx(2 * shared / sum(entropies) if sum(entropies) else 1, abs=1e-9)

    errors = []
    for person, visits in p.items():
        _, counted = max((r[person, identity], size) for identity, size in q.items())
        errors.append(abs(counted - visits))
    assert visit_count_mae(table) == pytest.approx(np.mean(errors))


@settings(deadline=None)
@given(LABELS, st.randoms(use_true_random=False), st.permutations(range(6)), st.permutations(range(6)))
def test_names_and_order_do_not_matter(
    pairs: list[tuple[int, int]], random: Random, people: list[int], identities: list[int]
) -> None:
    renamed = [(people[a], identities[b]) for a, b in pairs]
    random.shuffle(renamed)
    tables = [contingency(*(np.array(column) for column in zip(*p, strict=True))) for p in (pairs, renamed)]
    for measure in (nmi, visit_count_mae):
        assert measure(tables[0]) == pytest.approx(measure(tables[1]), abs=1e-9)
    for agreement in (bcubed, pairwise):
        one, two = (agreement(table) for table in tables)
        assert (one.precision, one.recall, one.f) == pytest.approx((two.precision, two.recall, two.f))


@settings(deadline=None)
@given(LABELS)
def test_truth_and_found_swapped_swap_precision_and_recall(pairs: list[tuple[int, int]]) -> None:
    truth, found = (np.array(column) for column in zip(*pairs, strict=True))
    one, other = contingency(truth, found), contingency(found, truth)
    for agreement in (bcubed, pairwise):
        assert agreement(one).precision == pytest.approx(agreement(other).recall)
        assert agreement(one).f == pytest.approx(agreement(other).f)


@settings(deadline=None)
@given(ITEMS)
def test_recall_is_that_of_a_sorted_list(items: list[tuple[int, int]]) -> None:
    ranks = (1, 2, 5)
    hits: dict[int, list[bool]] = {k: [] for k in ranks}
    for i, (a, u) in enumerate(items):
        others = [(-float(CELL[u] @ CELL[v]), a == b) for j, (b, v) in enumerate(items) if j != i]
        if any(mate for _, mate in others):
            for k in ranks:
                hits[k].append(any(mate for _, mate in sorted(others)[:k]))
    truth = np.array([a for a, _ in items])
    expected = {str(k): pytest.approx(np.mean(hit)) if hit else None for k, hit in hits.items()}
    assert recall_at(truth, CELL[[v for _, v in items]], ranks) == expected


@settings(deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8),
)
def test_calibration_is_finite_and_a_stationary_point(genuine: list[float], impostor: list[float]) -> None:
    assume(np.ptp(genuine + impostor) > 1e-3)
    slope, intercept = fit_calibration(np.array(genuine), np.array(impostor))
    assert math.isfinite(slope)
    assert math.isfinite(intercept)
    # the smoothed targets' residuals balance between the classes: the derivative by the intercept is zero
    residual = 0.0
    targets = ((genuine, (len(genuine) + 1) / (len(genuine) + 2)), (impostor, 1 / (len(impostor) + 2)))
    for scores, target in targets:
        residual += float(np.mean([1 / (1 + math.exp(-(slope * s + intercept))) - target for s in scores]))
    assert residual == pytest.approx(0, abs=1e-4)


NAMES = st.text("abcdefgXYZ_é", min_size=1, max_size=8).filter(lambda name: not name.lower().startswith("name"))


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.integers(0, 9999), NAMES, st.integers(0, 9999)), min_size=1, max_size=10),
    st.sampled_from([" ", "\t", ",", "  ", ", "]),
)
def test_written_pairs_are_read_again(rows: list[tuple[str, int, str, int]], separator: str) -> None:
    pairs = [Pair(i, *row) for i, row in enumerate(rows, start=1)]
    lines = [(p.name, p.number, p.other_number) if p.genuine else row for p, row in zip(pairs, rows, strict=True)]
    assert parse_pairs("\n".join(separator.join(map(str, line)) for line in lines)) == pairs
