"""A score is even when it says the same whatever was compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.cards import Calibration, Line, PairKind
from embedder.records import Signs, Wear
from embedder.scale import KIND_OF, LOOKS, PAIR_KINDS, Scale, is_covered

LINES = {kind: Line(slope=10 + 5 * n, intercept=-4 - n) for n, kind in enumerate(PairKind)}
CALIBRATION = Calibration(slope=20, intercept=-8, fitted_on="nothing", fine_from=0.5, groups=LINES)
SCALE = Scale(CALIBRATION)
BARE, BARE_POOR, COVERED, COVERED_POOR = range(LOOKS)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (BARE, BARE, PairKind.BARE),
        (BARE, BARE_POOR, PairKind.BARE_POOR),
        (BARE, COVERED, PairKind.MIXED),
        (BARE_POOR, COVERED, PairKind.MIXED_POOR),
        (BARE, COVERED_POOR, PairKind.MIXED_POOR),
        (COVERED, COVERED, PairKind.COVERED),
        (COVERED_POOR, COVERED_POOR, PairKind.COVERED_POOR),
    ],
)
def test_a_pair_is_of_one_kind_whichever_comes_first(one: int, other: int, kind: PairKind) -> None:
    assert PAIR_KINDS[KIND_OF[one, other]] == PAIR_KINDS[KIND_OF[other, one]] == kind


@given(st.integers(0, LOOKS - 1), st.integers(0, LOOKS - 1), st.floats(-1, 1))
def test_an_even_score_says_of_any_two_faces_what_the_cosine_says_of_these(one: int, other: int, cosine: float) -> None:
    line = LINES[PAIR_KINDS[KIND_OF[one, other]]]
    (even,) = SCALE.even(np.array([one], np.uint8), np.array([other], np.uint8), np.array([cosine]))
    said = CALIBRATION.slope * even + CALIBRATION.intercept
    assert said == pytest.approx(line.slope * cosine + line.intercept, abs=1e-9)


def test_without_groups_a_score_stays_as_it_is() -> None:
    plain = Scale(Calibration(slope=20, intercept=-8, fitted_on="nothing"))
    cosines = np.linspace(-1, 1, LOOKS)
    for look in range(LOOKS):
        even = plain.even(np.full(LOOKS, look, np.uint8), np.arange(LOOKS, dtype=np.uint8), cosines)
        np.testing.assert_allclose(even, cosines)


def test_looks_tell_covered_and_poor_faces() -> None:
    masked, hidden, bare = (Signs(wear=wear, wear_score=0.9) for wear in (Wear.MASKED, Wear.OCCLUDED, Wear.BARE))
    signs = [bare, None, bare, masked, hidden]
    qualities = [0.5, 0.9, 0.49, 0.5, 0.1]
    looks = [BARE, BARE, BARE_POOR, COVERED, COVERED_POOR]
    assert [SCALE.look(*one) for one in zip(signs, qualities, strict=True)] == looks
    covered = np.array([is_covered(one) for one in signs])
    assert SCALE.looks(covered, np.array(qualities)).tolist() == looks
