from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from templates import model_card

from clustering.calibration import probability
from embedder.cards import WEIGHTS, Calibration, load_model_card

CALIBRATION = Calibration(slope=20, intercept=-8, fitted_on="nothing")
COSINES = st.floats(-1, 1)
COUNTS = st.integers(0, 10**7)
ANY = st.builds(
    Calibration, slope=st.floats(1e-3, 1e6), intercept=st.floats(-1e6, 1e6), fitted_on=st.just("an example")
)


@given(COSINES, COSINES, COUNTS, ANY)
def test_a_better_score_is_never_less_probable(a: float, b: float, candidates: int, calibration: Calibration) -> None:
    low, high = sorted((a, b))
    assert probability(low, candidates, calibration) <= probability(high, candidates, calibration)


@given(COSINES, COUNTS, COUNTS, ANY)
def test_among_more_people_a_score_never_says_more(score: float, a: int, b: int, calibration: Calibration) -> None:
    few, many = sorted((a, b))
    assert probability(score, many, calibration) <= probability(score, few, calibration)


@given(st.floats(-1e300, 1e300), COUNTS, ANY)
def test_it_is_a_probability_whatever_the_score(score: float, candidates: int, calibration: Calibration) -> None:
    assert 0 <= probability(score, candidates, calibration) <= 1


def test_it_is_the_logistic_function_of_evidence_and_prior() -> None:
    assert probability(0.4, 1, CALIBRATION) == 0.5
    assert probability(0.4, 0, CALIBRATION) == 0.5
    assert probability(0.4, 3, CALIBRATION) == 0.25
    assert probability(0.4, 99, CALIBRATION) == 0.01
    assert probability(0.5, 1, CALIBRATION) == pytest.approx(0.880797)
    assert probability(1e9, 1, CALIBRATION) == 1
    assert probability(-1e9, 1, CALIBRATION) == 0


def test_the_shipped_calibration_tells_people_apart() -> None:
    calibration = load_model_card(WEIGHTS / "sface").calibration
    assert probability(0.75, 100, calibration) > 0.9
    assert probability(0.1, 1, calibration) < 0.1
    assert model_card().calibration == calibration
