from __future__ import annotations

import json
import math
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from embedder import comparisons
from embedder.comparisons import TemplateSet, count_impostors, genuine_scores, impostor_blocks
from embedder.evaluation import Acquisition, VerificationReport, fit_calibration, verification
from embedder.pairs import PairRows
from ingest.errors import UsageError


def planar(*degrees: float) -> NDArray[np.float32]:
    """Unit vectors in the plane: the score of two is the cosine of the angle between them."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def faces(templates: NDArray[np.float32], people: list[int], images: list[int] | None = None) -> TemplateSet:
    numbers = np.arange(len(people)) if images is None else np.array(images)
    return TemplateSet(templates, np.array(people, dtype=np.int64), numbers.astype(np.int64))


def report_of(genuine: list[float], impostor: list[float]) -> VerificationReport:
    """The report of pairs with exactly these scores, by templates (score, rest) against (1, 0)."""
    scores = np.array(genuine + impostor, dtype=np.float32)
    probe = np.stack([scores, np.sqrt(1 - scores.astype(np.float64) ** 2).astype(np.float32)], axis=1)
    gallery = np.tile(np.array([1, 0], dtype=np.float32), (len(scores), 1))
    is_genuine = np.arange(len(scores)) < len(genuine)
    rows = np.arange(len(scores))
    people = [0] * len(scores)
    return verification(
        faces(probe, people),
        faces(gallery, people),
        acquisition=Acquisition(len(scores)),
        pairs=PairRows(rows, rows, is_genuine),
    )


def random_faces(people: int, each: int, seed: int = 0, dim: int = 16) -> TemplateSet:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    vectors = rng.standard_normal((people, dim))[labels] + rng.standard_normal((people * each, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = rng.permutation(len(labels))
    return faces(vectors[order].astype(np.float32), labels[order].tolist())


def test_the_json_has_the_contract_s_keys() -> None:
    report = json.loads(report_of([0.75, 0.5], [0.25, 0.0]).model_dump_json())
    assert set(report) == {
        "eer",
        "accuracy",
        "frr_at_fmr",
        "frr100",
        "failure_to_acquire",
        "n_genuine",
        "n_impostor",
        "thresholds",
        "images",
        "people",
    }
    assert set(report["frr_at_fmr"]) == {"1e-2", "1e-3", "1e-4"}
    assert set(report["thresholds"]) == {"1e-2", "1e-3", "1e-4", "eer"}


def test_separated_scores_make_no_error() -> None:
    report = report_of([0.75, 0.5], [0.25, 0.0])
    assert (report.eer, report.accuracy, report.frr100) == (0, 1, 0)
    assert set(report.frr_at_fmr.values()) == {0}
    assert report.thresholds["eer"] == 0.5
    just_above = float(np.nextafter(np.float32(0.25), np.float32(1)))
    assert report.thresholds["1e-2"] == report.thresholds["1e-4"] == just_above


def test_reversed_scores_are_all_wrong() -> None:
    report = report_of([0.0, 0.25], [0.5, 0.75])
    assert report.eer == 1
    assert report.accuracy == 0.5
    assert report.frr100 == 1


def test_one_constant_score_is_chance() -> None:
    report = report_of([0.5] * 3, [0.5] * 7)
    assert report.eer == pytest.approx(0.5)
    assert report.accuracy == 0.5
    assert report.frr_at_fmr == {"1e-2": 1, "1e-3": 1, "1e-4": 1}
    assert report.thresholds["eer"] == float(np.nextafter(np.float32(0.5), np.float32(1)))


def test_worked_example() -> None:
    # t = 0.25: FMR 1/4, FNMR 0.  t = 0.5: FMR 1/4, FNMR 1/4.  Above 0.625: FMR 0, FNMR 2/4.
    report = report_of([0.25, 0.5, 0.75, 0.875], [-0.5, 0.0, 0.125, 0.625])
    assert report.eer == 0.25
    assert report.thresholds["eer"] == 0.5
    assert report.accuracy == 0.875
    assert report.frr100 == 0.5
    assert report.n_genuine == report.n_impostor == 4


def test_equal_error_on_a_genuine_step_is_the_fmr_there() -> None:
    # FNMR jumps from 0 to 1/2 at 0.25, where FMR is 1/3
    assert report_of([0.25, 0.75], [0.0, 0.125, 0.5]).eer == pytest.approx(1 / 3)


def test_equal_error_of_a_tie_is_interpolated() -> None:
    # at t = 0.5 (FMR 1/2, FNMR 0), just above it (0, 1/4): the line between them meets the diagonal at 1/6
    assert report_of([0.5, 0.75, 0.75, 0.75], [0.0, 0.5]).eer == pytest.approx(1 / 6)


@pytest.mark.parametrize(("allowed", "count"), [(1, 100), (0, 99), (2, 299), (3, 300)])
def test_a_target_that_is_met_exactly_counts_as_met(allowed: int, count: int) -> None:
    impostor = [round(i * 2**-10, 12) for i in range(count)]
    threshold = report_of([0.75], impostor).thresholds["1e-2"]
    assert sum(score >= threshold for score in impostor) == allowed


def test_ties_at_the_threshold_are_all_rejected() -> None:
    # two impostors tie at 0.5: with 100 of them, one match would be allowed and two are not
    report = report_of([0.5, 0.75], [0.5, 0.5] + [0.0] * 98)
    assert report.thresholds["1e-2"] > 0.5
    assert report.frr100 == 0.5


def test_every_pair_of_different_pictures_once() -> None:
    # ann at 0 and 60 degrees, bob at 90: scores 0.5 | 0, cos 30
    report = verification(faces(planar(0, 60, 90), [4, 4, 9]), acquisition=Acquisition(4, 1))
    assert (report.n_genuine, report.n_impostor) == (1, 2)
    assert (report.images, report.people, report.failure_to_acquire) == (4, 2, 0.25)
    assert report.eer == 0.5
    assert report.thresholds["1e-2"] == pytest.approx(math.cos(math.pi / 6), abs=1e-6)


def test_ordered_pairs_when_the_gallery_differs() -> None:
    probe = faces(planar(0, 10, 90), [0, 0, 1], images=[5, 6, 7])
    gallery = faces(planar(91, 11, 1), [1, 0, 0], images=[7, 6, 5])
    scores = np.sort(genuine_scores(probe, gallery))
    assert scores == pytest.approx([math.cos(math.radians(11)), math.cos(math.radians(9))], abs=1e-6)
    assert count_impostors(probe, gallery) == 4
    assert sum(len(block) for block in impostor_blocks(probe, gallery)) == 4


def test_a_picture_missing_from_the_gallery_still_meets_the_others() -> None:
    probe = faces(planar(0, 10, 90), [0, 0, 1], images=[5, 6, 7])
    gallery = faces(planar(11, 91), [0, 1], images=[6, 7])
    assert len(genuine_scores(probe, gallery)) == 1  # picture 5 against 6
    assert count_impostors(probe, gallery) == 3
    stranger = faces(planar(11), [8], images=[8])
    assert len(genuine_scores(probe, stranger)) == 0


@pytest.mark.parametrize("separate", [False, True])
def test_small_blocks_give_the_same_report(separate: bool) -> None:
    probe = random_faces(people=13, each=5)
    other = random_faces(people=13, each=5, seed=1)
    gallery = faces(other.templates, probe.people.tolist()) if separate else None
    whole = verification(probe, gallery, acquisition=Acquisition(65))
    with mock.patch.object(comparisons, "BLOCK", 130):
        parts = verification(probe, gallery, acquisition=Acquisition(65))
    assert parts.n_impostor == (13 * 12 * 25 // (1 if separate else 2))
    assert parts.n_genuine == 13 * (20 if separate else 10)
    assert parts.frr_at_fmr == pytest.approx(whole.frr_at_fmr)
    assert parts.thresholds == pytest.approx(whole.thresholds, abs=1e-6)
    assert (parts.eer, parts.accuracy) == pytest.approx((whole.eer, whole.accuracy))


def test_low_error_targets_are_exact() -> None:
    probe = random_faces(people=150, each=2, dim=8)
    impostor = np.sort(np.concatenate(list(impostor_blocks(probe))))[::-1]
    genuine = genuine_scores(probe)
    with mock.patch.object(comparisons, "BLOCK", 6000):
        report = verification(probe, acquisition=Acquisition(300))
    assert report.n_impostor == 150 * 149 // 2 * 4
    for name, target in (("1e-2", 0.01), ("1e-3", 0.001), ("1e-4", 0.0001)):
        rejected = impostor[math.floor(report.n_impostor * target)]
        assert report.frr_at_fmr[name] == pytest.approx(np.mean(genuine <= rejected), abs=1e-9)
        assert report.thresholds[name] == pytest.approx(rejected, abs=1e-6)


def test_the_order_of_pictures_does_not_matter() -> None:
    probe = random_faces(people=10, each=4)
    order = np.random.default_rng(3).permutation(40)
    shuffled = TemplateSet(probe.templates[order], probe.people[order], probe.images[order])
    a, b = (verification(s, acquisition=Acquisition(40)) for s in (probe, shuffled))
    assert a.eer == pytest.approx(b.eer)
    assert a.thresholds == pytest.approx(b.thresholds, abs=1e-6)


def test_pairs_of_a_protocol() -> None:
    probe = faces(planar(0, 60, 90, 200), [4, 4, 9, 11])
    rows = PairRows(np.array([0, 2]), np.array([1, 0]), np.array([True, False]), left_out=3)
    report = verification(probe, acquisition=Acquisition(4), pairs=rows)
    assert (report.n_genuine, report.n_impostor, report.people) == (1, 1, 2)
    assert report.eer == 0
    assert report.thresholds["eer"] == pytest.approx(0.5, abs=1e-6)


def test_no_genuine_pair_says_why() -> None:
    with pytest.raises(UsageError, match=r"no genuine pair .* 2 people .*; 3 of 5 pictures have no usable face"):
        verification(faces(planar(0, 60), [0, 1]), acquisition=Acquisition(5, 3))


def test_no_impostor_pair_says_why() -> None:
    with pytest.raises(UsageError, match=r"no impostor pair .* 1 people"):
        verification(faces(planar(0, 60), [0, 0]), acquisition=Acquisition(2))


def test_no_usable_picture_says_why() -> None:
    empty = faces(np.empty((0, 2), np.float32), [])
    with pytest.raises(UsageError, match=r"no genuine pair .* 0 people .*; 7 of 7"):
        verification(empty, acquisition=Acquisition(7, 7))
    assert list(impostor_blocks(empty)) == []
    assert Acquisition(0).failure_rate == 0


@pytest.mark.parametrize("genuine", [True, False])
def test_a_protocol_without_pairs_of_a_kind_says_why(genuine: bool) -> None:
    rows = PairRows(np.array([0]), np.array([1]), np.array([genuine]), left_out=3)
    kind = "impostor" if genuine else "genuine"
    with pytest.raises(UsageError, match=rf"no {kind} pair .* in the pairs file; 3 of its pairs are left out"):
        verification(faces(planar(0, 60), [0, 0]), acquisition=Acquisition(2), pairs=rows)


@pytest.mark.parametrize(
    ("templates", "people", "images", "problem"),
    [
        (planar(0, 60).astype(np.float64), [0, 1], [0, 1], "float32"),
        (planar(0, 60)[0], [0, 1], [0, 1], "float32"),
        (planar(0, 60), [0], [0, 1], "as many as"),
        (planar(0, 60), [0, 1], [0], "as many as"),
        (planar(0, 60), [0, 1], [3, 3], "twice"),
        (planar(0, 60) * np.float32(1.01), [0, 1], [0, 1], "normalised"),
        (planar(0, math.nan), [0, 1], [0, 1], "normalised"),
    ],
)
def test_a_template_set_that_does_not_fit_together_is_refused(
    templates: NDArray[np.float32], people: list[int], images: list[int], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        faces(templates, people, images)


def test_a_picture_of_two_people_is_refused() -> None:
    with pytest.raises(ValueError, match="another person"):
        count_impostors(faces(planar(0), [0]), faces(planar(0), [1]))


def test_more_failures_than_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="failed"):
        Acquisition(3, 4)


@pytest.mark.parametrize("prior", [0.5, 0.05])
def test_calibration_recovers_the_likelihood_ratio_of_two_normals(prior: float) -> None:
    # equal variances: log N(s; 0.6, 0.1) / N(s; 0.1, 0.1) = 50 s - 17.5
    rng = np.random.default_rng(7)
    slope, intercept = fit_calibration(rng.normal(0.6, 0.1, 20_000), rng.normal(0.1, 0.1, 80_000), prior)
    assert slope == pytest.approx(50, rel=0.05)
    assert intercept == pytest.approx(-17.5, rel=0.05)


def test_calibration_does_not_depend_on_how_many_impostors_there_are() -> None:
    rng = np.random.default_rng(8)
    genuine, impostor = rng.normal(0.5, 0.15, 4000), rng.normal(0.1, 0.1, 4000)
    few = fit_calibration(genuine, impostor)
    many = fit_calibration(genuine, np.tile(impostor, 10))
    assert many == pytest.approx(few, rel=0.02)


def test_calibration_stays_finite_where_classes_do_not_overlap() -> None:
    slope, intercept = fit_calibration(np.array([0.75, 0.875], np.float32), np.array([0.0, 0.125, 0.25], np.float32))
    assert 0 < slope < 100
    assert slope * 0.75 + intercept > 0 > slope * 0.25 + intercept


def test_calibration_of_far_apart_classes_converges() -> None:
    rng = np.random.default_rng(9)
    slope, intercept = fit_calibration(rng.normal(0.9, 0.001, 1000), rng.normal(0, 0.001, 100_000))
    assert math.isfinite(slope)
    assert slope * 0.9 + intercept > 5
    assert intercept < -5


def test_calibration_of_reversed_scores_has_a_negative_slope() -> None:
    assert fit_calibration(np.array([0.0, 0.1, 0.3]), np.array([0.2, 0.5, 0.6]))[0] < 0


@pytest.mark.parametrize(
    ("genuine", "impostor", "prior"),
    [([], [0.1], 0.5), ([0.1], [], 0.5), ([0.5], [0.5], 0.5), ([math.nan], [0.5], 0.5), ([0.1], [0.5], 1.0)],
)
def test_calibration_refuses_what_it_cannot_fit(genuine: list[float], impostor: list[float], prior: float) -> None:
    with pytest.raises(UsageError, match="calibration needs"):
        fit_calibration(np.array(genuine), np.array(impostor), prior)
