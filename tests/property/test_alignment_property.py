"""A similarity transform is recovered whatever it was, and each landmark has the say that its weight gives it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embedder.align import similarity
from embedder.cards import WEIGHTS, load_model_card

CARD = load_model_card(WEIGHTS / "sface")
TEMPLATE = np.array(CARD.template, np.float64)
WEIGHT = np.array(CARD.landmark_weights, np.float64)
PLACE = st.floats(-2000, 2000)
POINTS = st.lists(st.tuples(PLACE, PLACE), min_size=2, max_size=8).map(lambda points: np.array(points, np.float64))
POSITIVE = st.floats(0.01, 10)
JITTER = st.lists(st.floats(-8, 8), min_size=10, max_size=10).map(lambda values: np.array(values).reshape(5, 2))


@st.composite
def transforms(draw: st.DrawFn) -> np.ndarray:
    scale, angle = draw(st.floats(0.01, 100)), draw(st.floats(-np.pi, np.pi))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, draw(PLACE)], [s, c, draw(PLACE)]])


def placed(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def error(matrix: np.ndarray, source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    return float((weights * ((placed(source, matrix) - target) ** 2).sum(axis=1)).sum())


@given(POINTS, transforms(), st.data())
def test_any_similarity_transform_is_recovered(source: np.ndarray, truth: np.ndarray, data: st.DataObject) -> None:
    assume(np.ptp(source, axis=0).max() > 1)
    weights = np.array(data.draw(st.lists(POSITIVE, min_size=len(source), max_size=len(source))))
    found = similarity(source, placed(source, truth), weights)
    size = np.abs(placed(source, truth)).max() + 1
    np.testing.assert_allclose(placed(source, found), placed(source, truth), atol=1e-6 * size)
    assert found[0, 0] == pytest.approx(found[1, 1])
    assert found[0, 1] == pytest.approx(-found[1, 0])


@given(JITTER, transforms(), st.floats(0.1, 10))
def test_only_the_ratio_of_the_weights_matters(jitter: np.ndarray, move: np.ndarray, factor: float) -> None:
    source = placed(TEMPLATE + jitter, move)
    once, again = similarity(source, TEMPLATE, WEIGHT), similarity(source, TEMPLATE, factor * WEIGHT)
    np.testing.assert_allclose(placed(source, once), placed(source, again), atol=1e-6)


@given(JITTER, transforms())
def test_it_does_not_matter_how_the_face_lies_in_the_picture(jitter: np.ndarray, move: np.ndarray) -> None:
    face = TEMPLATE + jitter
    moved = placed(face, move)
    here, there = similarity(face, TEMPLATE, WEIGHT), similarity(moved, TEMPLATE, WEIGHT)
    np.testing.assert_allclose(placed(moved, there), placed(face, here), atol=1e-5)


@given(JITTER, st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4))
def test_no_similarity_transform_near_by_fits_better(jitter: np.ndarray, nudge: list[float]) -> None:
    source = TEMPLATE + jitter
    best = similarity(source, TEMPLATE, WEIGHT)
    real, imaginary, x, y = nudge
    other = best + np.array([[real, -imaginary, x], [imaginary, real, y]])
    assert error(best, source, TEMPLATE, WEIGHT) <= error(other, source, TEMPLATE, WEIGHT) + 1e-6


@given(JITTER, st.integers(2, 4), st.tuples(PLACE, PLACE))
def test_a_landmark_without_weight_changes_nothing(jitter: np.ndarray, which: int, away: tuple[float, float]) -> None:
    source = TEMPLATE + jitter
    weights = WEIGHT.copy()
    weights[which] = 0
    moved = source.copy()
    moved[which] = away
    np.testing.assert_allclose(similarity(moved, TEMPLATE, weights), similarity(source, TEMPLATE, weights), atol=1e-9)


@given(JITTER, st.floats(3, 20), st.floats(0, 2 * np.pi))
def test_mouth_corners_that_a_mask_moves_move_the_eyes_little(jitter: np.ndarray, by: float, angle: float) -> None:
    source = TEMPLATE + 0.25 * jitter
    moved = source.copy()
    moved[3:] += by * np.array([np.cos(angle), np.sin(angle)])

    def shift(weights: np.ndarray) -> float:
        before, after = (placed(source[:2], similarity(points, TEMPLATE, weights)) for points in (source, moved))
        return float(np.hypot(*(after - before).T).max())

    assert shift(WEIGHT) < 0.8 * shift(np.ones(5))
    assert shift(WEIGHT) < 0.25 * by
    assert shift(np.array([1, 1, 0.2, 0.05, 0.05])) < 0.45 * shift(np.ones(5))
    assert shift(np.array([1, 1, 0.5, 0, 0])) < 1e-9
