from __future__ import annotations

import numpy as np
import pytest

from embedder.comparisons import TemplateSet
from embedder.evaluation import Acquisition, verification
from embedder.evaluation.groups import errors_by_group, group_errors, quality_band, subset
from embedder.evaluation.identification import recall_at
from embedder.evaluation.protocols import People, choose_people, one_probe_each, one_probe_pairs


def faces(degrees: list[float], people: list[int], images: list[int] | None = None) -> TemplateSet:
    angles = np.deg2rad(degrees)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return TemplateSet(vectors, np.array(people), np.arange(len(people)) if images is None else np.array(images))


def test_the_first_fifth_is_for_tuning() -> None:
    names = [f"{letter}" for letter in "kjihgfedcba"] * 2
    assert choose_people(names, People.FIRST_FIFTH) == {"a", "b"}
    assert choose_people(names, People.REST) == set("cdefghijk")
    assert choose_people(names, People.ALL) == set("abcdefghijk")
    assert choose_people("abcd", People.FIRST_FIFTH) == frozenset()


def test_one_probe_of_each_kind_meets_each_enrolled_picture() -> None:
    people = [0, 0, 0, 1, 1, 2]
    one = faces([0, 1, 2, 90, 91, 180], people)
    pairs = one_probe_pairs(one, seed=4)
    assert pairs.genuine.tolist() == [True, False, True, False]  # person 2 has no second picture
    assert pairs.second.tolist() == [0, 0, 3, 3]
    for row, column, genuine in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.genuine, strict=True):
        assert (people[row] == people[column]) == genuine
        assert row != column
    assert {tuple(one_probe_pairs(one, seed=seed).first.tolist()) for seed in range(40)} > {tuple(pairs.first.tolist())}


def test_an_enrolled_picture_is_not_its_own_masked_probe() -> None:
    probe = faces([0, 1, 90, 91], [0, 0, 1, 1], images=[5, 6, 7, 8])
    gallery = faces([0, 90], [0, 1], images=[5, 7])
    pairs = one_probe_pairs(probe, gallery)
    assert pairs.first[pairs.genuine].tolist() == [1, 3]
    report = one_probe_each(probe, gallery, draws=5)
    assert report is not None
    assert (report.eer, report.frr100, report.people, report.draws) == (0, 0, 2, 5)


def test_one_probe_each_averages_over_draws() -> None:
    # Person 0 has one probe like the enrolled picture and one like person 1: half of the draws fail.
    one = faces([0, 0, 90, 90, 90], [0, 0, 0, 1, 1])
    report = one_probe_each(one, draws=200, seed=1)
    assert report is not None
    assert 0.1 < report.frr100 < 0.6
    assert report.frr100_spread[0] == 0
    assert report.eer_spread[1] > report.eer > report.eer_spread[0]


def test_one_draw_gives_what_verification_says_of_its_pairs() -> None:
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(40), 3)
    one = faces((people * 9 + rng.normal(0, 6, 120)).tolist(), people.tolist())
    each = one_probe_each(one, draws=1, seed=5)
    whole = verification(one, acquisition=Acquisition(0), pairs=one_probe_pairs(one, seed=5))
    assert each is not None
    assert (each.eer, each.frr100) == pytest.approx((whole.eer, whole.frr100))
    assert 0 < each.eer < 0.5


def test_nobody_can_take_part_alone() -> None:
    assert one_probe_each(faces([0, 1], [0, 0])) is None
    assert one_probe_each(faces([0, 1, 90], [0, 0, 1])) is None
    assert len(one_probe_pairs(faces([], [])).first) == 0


def test_recall_counts_ties_against_and_leaves_out_the_picture_itself() -> None:
    probe = faces([0, 90, 45, 200], [0, 0, 1, 2])
    # 0 finds 45 (a stranger) before 90; 90 likewise; 45 and 200 have no mate.
    assert recall_at(probe, ranks=(1, 2)) == {"1": 0, "2": 1}
    masked = faces([0, 90, 45], [0, 0, 1])
    assert recall_at(probe, masked, ranks=(1, 2)) == {"1": 0, "2": 1}
    other = faces([3, 93, 48], [0, 0, 1], images=[10, 11, 12])
    assert recall_at(probe, other, ranks=(1,)) == {"1": 1}
    assert recall_at(faces([0, 90], [0, 1])) == {"1": None, "10": None, "20": None}


def test_errors_of_a_group_are_taken_at_the_threshold_of_all() -> None:
    one = faces([0, 10, 90, 170, 80, 95], [0, 0, 1, 1, 2, 2])
    sex = np.array(["F", "F", "M", "M", "M", "M"])
    found = errors_by_group(one, None, sex, sex, threshold=0.9)
    assert list(found) == ["F", "M"]
    women, men = found["F"], found["M"]
    assert (women.n_genuine, women.n_impostor, women.fnmr, women.fmr, women.eer) == (1, 0, 0, None, None)
    # genuine: cos 80 (fails), cos 15; impostors: 90-80, 90-95 match, 170-80, 170-95 don't
    assert (men.n_genuine, men.n_impostor, men.fnmr, men.fmr, men.people) == (2, 4, 0.5, 0.5, 2)
    assert men.eer == 0.5


def test_groups_of_probes_meet_everybody() -> None:
    one = faces([0, 10, 90, 100], [0, 0, 1, 1])
    kinds = np.array(["n95", "cloth", "n95", ""])
    found = errors_by_group(one, None, kinds, None, threshold=0.9)
    assert list(found) == ["cloth", "n95"]
    assert (found["n95"].n_genuine, found["n95"].n_impostor) == (2, 4)
    assert (found["cloth"].n_genuine, found["cloth"].n_impostor) == (1, 2)


def test_groups_of_two_sides() -> None:
    probe, gallery = faces([0, 90], [0, 1], images=[0, 1]), faces([1, 91, 2], [0, 1, 0], images=[2, 3, 4])
    names = np.array(["a", "b"]), np.array(["a", "b", "a"])
    found = errors_by_group(probe, gallery, *names, threshold=0.9)
    assert (found["a"].n_genuine, found["a"].fnmr, found["b"].n_genuine) == (2, 0, 1)


def test_a_group_without_genuine_pairs_still_has_false_matches() -> None:
    found = group_errors(faces([0, 1, 90], [0, 1, 2]), None, 0.9)
    assert (found.fnmr, found.fmr, found.eer) == (None, pytest.approx(1 / 3), None)
    assert len(subset(faces([0, 1], [0, 1]), np.array([True, False])).people) == 1


@pytest.mark.parametrize(
    ("score", "name"), [(0.0, "below 0.70"), (0.7, "0.70 to 0.85"), (0.949, "0.85 to 0.95"), (1.0, "0.95 and more")]
)
def test_quality_bands(score: float, name: str) -> None:
    assert quality_band(score) == name
