from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from embedder.evaluation.leakage import LeakageOptions, class_leakage, fold_of_people, number_leakage
from embedder.evaluation.regression import Scaling, lbfgs, random_features, ridge, softmax_regression
from ingest.errors import UsageError

QUICK = LeakageOptions(folds=4, features=256, penalties=(1e-2, 1e-1))


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_scaling_brings_rows_to_mean_0_and_deviation_1() -> None:
    rows = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert Scaling.of(rows)(np.array([[3.0, 5.0], [1.0, 6.0]])).tolist() == [[1, 0, 1], [-1, 1, 1]]


def test_ridge_without_penalty_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    rows = np.hstack([rng.standard_normal((50, 3)), np.ones((50, 1))])
    values = rows @ np.array([1.0, -2.0, 0.5, 7.0])
    assert ridge(rows, values, 0.0) == pytest.approx([1, -2, 0.5, 7], abs=1e-6)
    strong = ridge(rows, values, 1e6)
    assert np.abs(strong[:3]).max() < 1e-4
    assert strong[3] == pytest.approx(values.mean(), rel=1e-3)


def test_lbfgs_solves_a_badly_scaled_bowl() -> None:
    scales = np.array([1.0, 10.0, 100.0])

    def bowl(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        return float(scales @ (at - 3) ** 2), 2 * scales * (at - 3)

    assert lbfgs(bowl, np.zeros(3)) == pytest.approx([3, 3, 3], abs=1e-5)
    assert lbfgs(bowl, np.full(3, 3.0)).tolist() == [3, 3, 3]


def test_lbfgs_ends_where_no_step_helps() -> None:
    def kink(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        return float(np.abs(at).sum()), np.where(at >= 0, 1.0, -1.0)

    assert np.abs(lbfgs(kink, np.array([0.0]))).max() < 1e-6


def test_softmax_regression_recovers_the_odds() -> None:
    # With the constant alone, the fitted shares are the classes' own.
    classes = np.repeat([0, 1, 2], [60, 30, 10])
    weights = softmax_regression(np.ones((100, 1)), classes, 3, penalty=0.0)
    shares = np.exp(weights[0]) / np.exp(weights[0]).sum()
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=1e-4)


def test_random_features_approximate_the_gaussian_kernel() -> None:
    rows = np.random.default_rng(1).standard_normal((20, 4))
    features = random_features(rows, 20_000, width=1.5, seed=2)
    distance = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    assert features @ features.T == pytest.approx(np.exp(-distance / (2 * 1.5**2)), abs=0.05)


def test_folds_keep_people_together_and_are_alike() -> None:
    people = np.repeat(np.arange(40), np.random.default_rng(3).integers(1, 6, 40))
    fold = fold_of_people(people, 5, seed=1)
    assert all(len(set(fold[people == person].tolist())) == 1 for person in range(40))
    sizes = np.bincount(fold)
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 2
    with pytest.raises(UsageError, match="3 people can't be divided into 5 folds"):
        fold_of_people(np.array([4, 4, 8, 9]), 5, seed=1)


def test_a_label_on_one_side_of_a_plane_is_read_by_both_readers() -> None:
    rows = np.random.default_rng(4).standard_normal((240, 6))
    found = class_leakage(unit(rows), np.where(rows[:, 0] > 0, "F", "M"), np.arange(240), QUICK)
    assert found.linear.accuracy > 0.9
    assert found.nonlinear.accuracy > 0.8
    assert 0.5 <= found.chance < 0.6
    assert (found.classes, found.pictures) == (2, 240)


def test_a_label_that_no_plane_divides_is_read_by_the_nonlinear_reader_alone() -> None:
    rows = np.random.default_rng(5).standard_normal((400, 3))
    found = class_leakage(unit(rows), np.where(rows[:, 0] * rows[:, 1] > 0, "x", "y"), np.arange(400), QUICK)
    assert found.linear.accuracy < 0.7
    assert found.nonlinear.accuracy > 0.9


def test_knowing_people_again_does_not_help() -> None:
    # The label is each person's own, and nothing in the template tells it but who it is.
    rng = np.random.default_rng(6)
    people = np.repeat(np.arange(60), 6)
    rows = rng.standard_normal((60, 8))[people] + 0.05 * rng.standard_normal((360, 8))
    labels = np.where(rng.random(60) < 0.5, "a", "b")[people]
    disjoint = class_leakage(unit(rows), labels, people, QUICK)
    mixed = class_leakage(unit(rows), labels, np.arange(360), QUICK)
    assert mixed.nonlinear.accuracy > 0.95
    assert disjoint.nonlinear.accuracy < 0.75


def test_balanced_accuracy_is_not_won_by_the_frequent_class() -> None:
    rows = np.random.default_rng(7).standard_normal((200, 4))
    labels = np.array(["rare"] * 20 + ["usual"] * 180)
    found = class_leakage(unit(rows), labels, np.arange(200), QUICK)
    assert found.chance == 0.9
    assert found.linear.accuracy > 0.8
    assert found.linear.balanced_accuracy < 0.65


def test_an_age_is_read_to_within_years() -> None:
    rows = unit(np.random.default_rng(8).standard_normal((300, 5)))
    ages = 40 + 30 * rows[:, 0].astype(np.float64)
    found = number_leakage(rows, ages, np.arange(300), QUICK)
    assert found.linear < 0.6
    assert found.nonlinear < 0.6
    assert found.pictures == 300
    assert found.chance == pytest.approx(np.abs(ages - np.median(ages)).mean(), rel=0.05)


def test_one_value_cannot_leak() -> None:
    with pytest.raises(UsageError, match="needs two values"):
        class_leakage(np.eye(8, dtype=np.float32), np.array(["x"] * 8), np.arange(8), QUICK)
