"""From a score to a probability that two pictures show one person."""

from __future__ import annotations

from math import exp, log

from embedder.cards import Calibration


def probability(similarity: float, candidates: int, calibration: Calibration) -> float:
    """The probability, 0 to 1, that a face is the person's whom it resembles by ``similarity``.

    The model's log-likelihood ratio is set against the prior: as likely as not the person is known, and then any
    of ``candidates`` identities.  So the same score means less in a larger roster.
    """
    evidence = calibration.slope * similarity + calibration.intercept - log(max(1, candidates))
    return round(1 / (1 + exp(-max(-700.0, min(700.0, evidence)))), 6)
