"""What else a template gives away: how well sex, age or race can be read from it by whoever holds it.

Two readers try: a linear one (logistic or ridge regression) and a small non-linear one (the same on random features of
a Gaussian kernel).  They are trained and tested on different people, so that none can succeed by knowing faces again.
What they achieve is a lower bound: a better reader, or more examples, reads more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from embedder.evaluation.regression import Floats, Scaling, random_features, ridge, softmax_regression
from embedder.records import Unit
from ingest.errors import UsageError

Truth = TypeVar("Truth", np.int64, np.float64)


class ClassReading(BaseModel):
    """How well one of several classes is read: the share read right, and the mean of that over classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: Unit
    balanced_accuracy: Unit


class ClassLeakage(BaseModel):
    """``chance`` is what naming the most frequent class always would achieve; balanced, chance is 1 / ``classes``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    linear: ClassReading
    nonlinear: ClassReading
    chance: Unit
    classes: int = Field(ge=2)
    pictures: int = Field(ge=2)


class NumberLeakage(BaseModel):
    """Mean absolute errors in the label's unit (years); ``chance`` is that of naming the training median always."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    linear: float = Field(ge=0)
    nonlinear: float = Field(ge=0)
    chance: float = Field(ge=0)
    pictures: int = Field(ge=2)


@dataclass(frozen=True, slots=True)
class LeakageOptions:
    """How the readers are trained.

    ``folds`` of people; ``features`` of the non-linear reader, and its kernel's ``width`` in units of the median
    distance between templates; ``penalties`` of the coefficients to choose from; ``seed`` draws folds and features.
    The penalty is chosen once: trained without the first two folds, tested on the second.
    """

    folds: int = 5
    features: int = 1024
    width: float = 1.0
    penalties: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    seed: int = 0


def fold_of_people(people: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """(N,) the fold of each row, 0 to ``folds`` - 1: all rows of a person in one, the folds of about equally many.

    Raises ``UsageError`` when there are fewer people than folds.
    """
    names, sizes = np.unique(people, return_counts=True)
    if len(names) < folds:
        message = f"{len(names)} people can't be divided into {folds} folds for training and testing"
        raise UsageError(message)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load, fold = np.zeros(folds, np.int64), np.zeros(len(names), np.int64)
    for person in order:
        emptiest = int(np.argmin(load))
        fold[person] = emptiest
        load[emptiest] += sizes[person]
    return fold[np.searchsorted(names, people)]


def class_leakage(
    templates: NDArray[np.float32], labels: NDArray[np.str_], people: NDArray[np.int64], options: LeakageOptions
) -> ClassLeakage:
    """How well ``labels`` (N,) are read from ``templates`` (N, D), cross-validated over ``people`` (N,).

    Raises ``UsageError`` with fewer than two classes, or fewer people than folds.
    """
    names, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        message = f"leakage of a label needs two values of it; all pictures have {len(names)}"
        raise UsageError(message)

    def guess(train: Floats, truth: NDArray[np.int64], test: Floats, penalty: float) -> NDArray[np.int64]:
        return np.asarray(np.argmax(test @ softmax_regression(train, truth, len(names), penalty), axis=1))

    readings = []
    for guessed in _guesses(templates, classes, people, options, guess=guess, error=_share_wrong):
        right = guessed == classes
        by_class = np.bincount(classes, weights=right) / sizes
        readings.append(ClassReading(accuracy=float(right.mean()), balanced_accuracy=float(by_class.mean())))
    return ClassLeakage(
        linear=readings[0],
        nonlinear=readings[1],
        chance=float(sizes.max() / sizes.sum()),
        classes=len(names),
        pictures=len(classes),
    )


def number_leakage(
    templates: NDArray[np.float32], values: NDArray[np.float64], people: NDArray[np.int64], options: LeakageOptions
) -> NumberLeakage:
    """How far off ``values`` (N,), such as ages, are when they are read from ``templates``, as ``class_leakage``."""

    def guess(train: Floats, truth: Floats, test: Floats, penalty: float) -> Floats:
        return np.asarray(test @ ridge(train, truth, penalty))

    errors = [
        _mean_off(guessed, values)
        for guessed in _guesses(templates, values, people, options, guess=guess, error=_mean_off)
    ]
    fold = fold_of_people(people, options.folds, options.seed)
    naive = np.zeros(len(values))
    for held in range(options.folds):
        naive[fold == held] = np.median(values[fold != held])
    return NumberLeakage(linear=errors[0], nonlinear=errors[1], chance=_mean_off(naive, values), pictures=len(values))


def _guesses(
    templates: NDArray[np.float32],
    truth: NDArray[Truth],
    people: NDArray[np.int64],
    options: LeakageOptions,
    *,
    guess: Callable[[Floats, NDArray[Truth], Floats, float], NDArray[Truth]],
    error: Callable[[NDArray[Truth], NDArray[Truth]], float],
) -> Iterator[NDArray[Truth]]:
    """(N,) what the linear and then the non-linear reader say of every row, trained on the people of other folds."""
    fold = fold_of_people(people, options.folds, options.seed)

    def read(rows: Floats, train: NDArray[np.bool_], test: NDArray[np.bool_], penalty: float) -> NDArray[Truth]:
        scaling = Scaling.of(rows[train])
        return guess(scaling(rows[train]), truth[train], scaling(rows[test]), penalty)

    for rows in _views(templates, options):
        trial = fold == 1
        errors = [error(read(rows, fold > 1, trial, penalty), truth[trial]) for penalty in options.penalties]
        penalty = options.penalties[int(np.argmin(errors))]
        guessed = np.zeros_like(truth)
        for held in range(options.folds):
            guessed[fold == held] = read(rows, fold != held, fold == held, penalty)
        yield guessed


def _views(templates: NDArray[np.float32], options: LeakageOptions) -> list[Floats]:
    """What each reader sees of the templates: the linear one, then the non-linear one."""
    plain = templates.astype(np.float64)
    some = plain[np.random.default_rng(options.seed).permutation(len(plain))[:500]]
    distances = np.sqrt(np.maximum(0, 2 - 2 * np.clip(some @ some.T, -1, 1)))
    width = options.width * max(float(np.median(distances)), 1e-6)
    return [plain, random_features(plain, options.features, width, options.seed)]


def _share_wrong(guessed: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float(np.mean(guessed != truth))


def _mean_off(guessed: Floats, truth: Floats) -> float:
    return float(np.abs(guessed - truth).mean())
