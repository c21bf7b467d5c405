"""Small regressions in NumPy: what a probe of templates needs, and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Features brought to mean 0 and deviation 1 of the rows that it was made from, with a 1 behind them."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, rows: Floats) -> Scaling:
        """The scaling of ``rows`` (n, d); a constant feature becomes 0."""
        deviation = rows.std(axis=0)
        return cls(rows.mean(axis=0), np.where(deviation > 1e-12, deviation, 1.0))

    def __call__(self, rows: Floats) -> Floats:
        scaled = (rows - self.mean) / self.deviation
        return np.hstack([scaled, np.ones((len(rows), 1))])


def random_features(rows: Floats, count: int, width: float, seed: int) -> Floats:
    """(n, count) features whose inner products approximate the Gaussian kernel exp(-|x - y|² / (2 width²)).

    Rahimi & Recht, "Random features for large-scale kernel machines", NIPS 2007.
    """
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((rows.shape[1], count)) / width
    return np.asarray(np.sqrt(2 / count) * np.cos(rows @ directions + rng.uniform(0, 2 * np.pi, count)))


def ridge(rows: Floats, values: Floats, penalty: float) -> Floats:
    """(d,) coefficients of ``rows`` (n, d), the last of them 1, for ``values`` (n,): mean squares plus penalty."""
    shrink = penalty * np.eye(rows.shape[1])
    shrink[-1, -1] = 1e-9  # the constant is free
    return np.asarray(np.linalg.solve(rows.T @ rows / len(rows) + shrink, rows.T @ values / len(rows)))


def softmax_regression(rows: Floats, classes: NDArray[np.int64], count: int, penalty: float) -> Floats:
    """(d, count) coefficients of multinomial logistic regression on ``rows`` (n, d), the last feature 1.

    ``classes`` (n,) lie in 0 to ``count`` - 1.  Minimises mean cross entropy plus half the ``penalty`` times the
    squared coefficients, but for the constant's, by L-BFGS.
    """
    truth = np.zeros((len(rows), count))
    truth[np.arange(len(rows)), classes] = 1
    free = np.ones((rows.shape[1], 1))
    free[-1] = 0

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, count)
        logits = rows @ weights
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        totals = shares.sum(axis=1, keepdims=True)
        value = float((np.log(totals[:, 0]) - (logits * truth).sum(axis=1)).mean())
        value += 0.5 * penalty * float((free * weights**2).sum())
        gradient = rows.T @ (shares / totals - truth) / len(rows) + penalty * free * weights
        return value, gradient.ravel()

    return lbfgs(loss, np.zeros(rows.shape[1] * count)).reshape(-1, count)


def lbfgs(
    loss: Callable[[Floats], tuple[float, Floats]], start: Floats, *, rounds: int = 200, memory: int = 10
) -> Floats:
    """The minimum of a smooth convex ``loss``, which gives value and gradient.

    Two-loop recursion with backtracking (Nocedal & Wright, "Numerical optimization", 2006, algorithm 7.4).  Ends when
    the gradient is below 1e-5, no step helps any more, or after so many ``rounds``.
    """
    at, (value, gradient) = start, loss(start)
    past: deque[tuple[Floats, Floats, float]] = deque(maxlen=memory)
    for _ in range(rounds):
        if np.abs(gradient).max() < 1e-5:
            break
        direction = -_two_loops(gradient, past)
        slope = float(direction @ gradient)
        size = 1.0 if past else min(1.0, 1 / float(np.abs(gradient).sum()))
        while size > 1e-12:
            candidate = at + size * direction
            new_value, new_gradient = loss(candidate)
            if new_value <= value + 1e-4 * size * slope:
                break
            size /= 2
        else:
            break
        step, turn = candidate - at, new_gradient - gradient
        bend = float(step @ turn)
        if bend > 1e-12:
            past.append((step, turn, 1 / bend))
        at, value, gradient = candidate, new_value, new_gradient
    return at


def _two_loops(gradient: Floats, past: deque[tuple[Floats, Floats, float]]) -> Floats:
    """The inverse Hessian, as ``past`` steps and turns of the gradient tell it, times the gradient."""
    direction = gradient.copy()
    shares = []
    for step, turn, scale in reversed(past):
        shares.append(scale * float(step @ direction))
        direction = direction - shares[-1] * turn
    if past:
        step, turn, _ = past[-1]
        direction = direction * (float(step @ turn) / float(turn @ turn))
    for (step, turn, scale), share in zip(past, reversed(shares), strict=True):
        direction = direction + (share - scale * float(turn @ direction)) * step
    return direction
