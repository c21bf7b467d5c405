"""Scores of unlike pairs on one scale: a cosine of two masked faces says something else than one of two bare ones.

Each kind of pair has a line from its cosines to log-likelihood ratios (see ``embedder.evaluation.calibration``).  A
score is *even* when it is the cosine that says the same of any two faces; so whatever is done with cosines, means and
thresholds, can be done with even scores of pairs of all kinds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedder.cards import Calibration, PairKind
from embedder.records import Signs, Wear

Floats = NDArray[np.float64]
Looks = NDArray[np.uint8]
"""(n,) what matters of a face beside who it is: 2 when it is covered, and 1 more when it is of poor quality."""
LOOKS = 4
COVERS = 3
"""Of two faces none, one or both are covered."""
PAIR_KINDS = tuple(PairKind)
KIND_OF = np.array(
    [[(a // 2 + b // 2) + COVERS * (a % 2 or b % 2) for b in range(LOOKS)] for a in range(LOOKS)], np.int64
)
"""(4, 4) the place in ``PAIR_KINDS`` of a pair of two looks."""


def is_covered(signs: Signs | None) -> bool:
    """Whether something covers a face.  One of which nobody knows counts as bare."""
    return signs is not None and signs.wear is not Wear.BARE


class Scale:
    """The lines of one calibration, as tables.  Immutable; safe to use from several threads."""

    def __init__(self, calibration: Calibration) -> None:
        lines = [calibration.groups.get(kind, calibration) for kind in PAIR_KINDS]
        self._fine_from = calibration.fine_from
        slopes = np.array([line.slope for line in lines])
        intercepts = np.array([line.intercept for line in lines])
        self._factors: Floats = (slopes / calibration.slope)[KIND_OF]
        self._lifts: Floats = ((intercepts - calibration.intercept) / calibration.slope)[KIND_OF]

    def looks(self, covered: NDArray[np.bool_], qualities: Floats) -> Looks:
        """The looks of faces that are ``covered`` (n,) or not, of the given quality scores (n,)."""
        return (2 * covered + (qualities < self._fine_from)).astype(np.uint8)

    def look(self, signs: Signs | None, quality: float) -> int:
        """The look of one face."""
        return 2 * is_covered(signs) + (quality < self._fine_from)

    def even(self, look: Looks, looks: Looks, cosines: Floats) -> Floats:
        """The even scores (n,) of ``cosines`` (n,) between faces of ``look`` (n,) and of ``looks`` (n,)."""
        factors: Floats = self._factors[look, looks]
        lifts: Floats = self._lifts[look, looks]
        return factors * cosines + lifts
