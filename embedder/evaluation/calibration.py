"""From scores to log-likelihood ratios."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest.errors import UsageError


def fit_calibration(
    genuine: NDArray[np.floating], impostor: NDArray[np.floating], prior: float = 0.5
) -> tuple[float, float]:
    """``(slope, intercept)`` that make ``slope * score + intercept`` the natural log-likelihood ratio.

    Logistic regression with the classes weighted to ``prior``, the share of genuine pairs that the result is to
    be best for (Brümmer & du Preez, "Application-independent evaluation of speaker detection", 2006).  Targets
    are smoothed as by Platt (1999), so that classes that don't overlap give a finite slope.  Solved by Newton's
    method with backtracking (Lin, Lin & Weng, 2007).  Scores are 1-D, at least one each; memory is about 60
    bytes a score, so thin many millions out first.  Raises ``UsageError`` when a class is empty, all scores are
    equal, a score isn't finite, or the prior isn't between 0 and 1.
    """
    classes = [np.asarray(scores, np.float64).ravel() for scores in (genuine, impostor)]
    pooled = np.concatenate(classes)
    problem = None
    if not all(map(len, classes)):
        problem = "calibration needs genuine and impostor scores"
    elif not np.isfinite(pooled).all() or not 0 < prior < 1:
        problem = "calibration needs finite scores and a prior between 0 and 1"
    elif np.ptp(pooled) == 0:
        problem = "calibration needs scores that differ"
    if problem:
        raise UsageError(problem)
    centre, spread = float(pooled.mean()), float(pooled.std())
    data = [(scores - centre) / spread for scores in classes]
    weights = prior / len(data[0]), (1 - prior) / len(data[1])
    targets = (len(data[0]) + 1) / (len(data[0]) + 2), 1 / (len(data[1]) + 2)
    slope, intercept = _newton(data, weights, targets, offset=float(np.log(prior / (1 - prior))))
    return slope / spread, intercept - slope * centre / spread


def _newton(
    data: list[NDArray[np.float64]], weights: tuple[float, float], targets: tuple[float, float], offset: float
) -> tuple[float, float]:
    """Minimise the weighted cross entropy of sigmoid(slope * x + intercept + offset) against the targets."""

    def loss(at: NDArray[np.float64]) -> float:
        total = 0.0
        for x, weight, target in zip(data, weights, targets, strict=True):
            logit = at[0] * x + at[1] + offset
            total += weight * float((np.logaddexp(0, logit) - target * logit).sum())
        return total

    at = np.zeros(2)
    now = loss(at)
    for _ in range(100):
        gradient, hessian = np.zeros(2), np.zeros((2, 2))
        for x, weight, target in zip(data, weights, targets, strict=True):
            p = np.exp(-np.logaddexp(0, -(at[0] * x + at[1] + offset)))
            slack, bend = weight * (p - target), weight * p * (1 - p)
            gradient += np.array([slack @ x, slack.sum()])
            hessian += np.array([[bend @ (x * x), bend @ x], [bend @ x, bend.sum()]])
        step = np.linalg.solve(hessian + 1e-14 * np.eye(2), gradient)
        size = 1.0
        while size > 1e-10 and loss(at - size * step) > now - 1e-4 * size * float(gradient @ step):
            size /= 2
        if size <= 1e-10 or float(gradient @ step) < 1e-14:
            break
        at = at - size * step
        now = loss(at)
    return float(at[0]), float(at[1])
