"""How sure the figures are: intervals by drawing people anew.

Pairs are not independent: all pairs of one person rise and fall together.  So people are drawn, with replacement,
and a pair counts as often as the people in it were drawn: a genuine pair w times, an impostor pair of p and q
w(p) * w(q) times.  Drawing pairs instead gives intervals that are far too narrow (Bolle, Ratha & Pankanti, "Error
analysis of pattern recognition systems: the subsets bootstrap", CVIU 93, 2004; Efron & Tibshirani, 1993, for
percentile intervals).

What an interval needs of the impostor scores is the highest hundredth, all of it, and a sample of the rest: memory and
time are bounded, whatever the number of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedder.comparisons import BLOCK, TemplateSet, count_impostors, genuine_rows, impostor_rows
from embedder.evaluation.metrics import FMR_TARGETS
from embedder.pairs import PairRows

LEVEL = 0.95
DRAWS = 500
"""How often people are drawn, unless told otherwise."""
SAMPLE = 2**19
"""Impostor pairs below the highest hundredth that stand for all of those; fewer pairs are all kept."""
MAX_TAIL = 2**21
"""Of the highest hundredth; of more a sample is kept."""
_BINS = 2**15

Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class PairSample:
    """Scored pairs with the people in them.

    ``genuine`` (G,) float32 are scores and ``owner`` (G,) whose; ``impostor`` (M,) float32 are scores, ``first`` and
    ``second`` (M,) the two people, ``weight`` (M,) float64 how many pairs each stands for.  People are numbered from 0.
    """

    genuine: NDArray[np.float32]
    owner: NDArray[np.int64]
    impostor: NDArray[np.float32]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float64]
    people: int


def sample_pairs(
    probe: TemplateSet,
    gallery: TemplateSet | None = None,
    pairs: PairRows | None = None,
    *,
    tail_from: float = -2.0,
    seed: int = 0,
) -> PairSample:
    """The pairs that ``verification`` compares: all genuine ones, and of the impostors what intervals need.

    ``tail_from`` is the threshold of FMR 1 %: impostor scores from there on are all kept (below ``MAX_TAIL``).  Takes
    about the time that ``verification`` takes, and at most some 200 MB beside the genuine pairs.
    """
    second = probe if gallery is None else gallery
    names = np.union1d(probe.people, second.people)
    mine, theirs = np.searchsorted(names, probe.people), np.searchsorted(names, second.people)
    if pairs is not None:
        scores = np.einsum("ij,ij->i", probe.templates[pairs.first], second.templates[pairs.second])
        same, other = pairs.genuine, ~pairs.genuine
        i, j = pairs.first[other], pairs.second[other]
        kept = scores[other], mine[i], theirs[j], np.ones(len(i))
        return PairSample(scores[same], mine[pairs.first[same]], *kept, len(names))
    genuine, rows, _ = genuine_rows(probe, gallery)
    total = count_impostors(probe, gallery)
    rng = np.random.default_rng(seed)
    above = tail_from if total > SAMPLE else -2.0
    found = [_tail(block, above, total, rng) for block in impostor_rows(probe, gallery)]
    if total > SAMPLE:
        found.append(_below(probe, second, above, total - sum(part[3].sum() for part in found), rng))
    scores, i, j, weight = (np.concatenate(column) for column in zip(*found, strict=True))
    return PairSample(genuine, mine[rows], scores, mine[i], theirs[j], weight, len(names))


def error_intervals(sample: PairSample, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """95 % intervals under ``eer`` and the names of ``FMR_TARGETS`` (FNMR there), from ``draws`` draws of people.

    Empty where fewer than two people, or no genuine or impostor pair, are there to draw from.  A draw without a pair
    of either kind is drawn again.  A draw of a million pairs takes some 20 ms.
    """
    if sample.people < 2 or not len(sample.genuine) or not len(sample.impostor):
        return {}
    rng = np.random.default_rng(seed)
    genuine_bins, impostor_bins = _bin(sample.genuine), _bin(sample.impostor)
    found: dict[str, list[float]] = {"eer": [], **{name: [] for name in FMR_TARGETS}}
    tries = 0
    while len(found["eer"]) < draws and tries < 10 * draws:
        tries += 1
        times = np.bincount(rng.integers(sample.people, size=sample.people), minlength=sample.people).astype(np.float64)
        genuine = np.bincount(genuine_bins, weights=times[sample.owner], minlength=_BINS)
        weights = sample.weight * times[sample.first] * times[sample.second]
        impostor = np.bincount(impostor_bins, weights=weights, minlength=_BINS)
        if genuine.sum() > 0 and impostor.sum() > 0:
            fmr = np.append(np.cumsum(impostor[::-1])[::-1], 0) / impostor.sum()
            fnmr = np.append(0, np.cumsum(genuine)) / genuine.sum()
            found["eer"].append(crossing(fmr, fnmr))
            for name, denominator in FMR_TARGETS.items():
                allowed = int(np.argmax(fmr <= 1 / denominator + 1e-12))
                found[name].append(float(fnmr[allowed]))
    return {name: percentiles(np.array(values)) for name, values in found.items() if values}


def crossing(fmr: NDArray[np.float64], fnmr: NDArray[np.float64]) -> float:
    """The equal error rate: where the line through operating points (n,), of rising thresholds, meets FMR = FNMR."""
    k = max(1, int(np.argmax(fnmr >= fmr)))
    before, behind = fmr[k - 1] - fnmr[k - 1], fnmr[k] - fmr[k]
    share = before / (before + behind) if before + behind > 0 else 0.0
    return float(fnmr[k - 1] + share * (fnmr[k] - fnmr[k - 1]))


def percentiles(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of ``values``."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


_Part = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _tail(
    block: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]],
    above: float,
    total: int,
    rng: np.random.Generator,
) -> _Part:
    """Impostor scores of ``above`` and more with their rows, thinned where the tail of all pairs is too long."""
    scores, rows, columns, comparable = block
    i, j = np.nonzero(comparable & (scores >= above))
    keep = min(1.0, MAX_TAIL / max(1.0, total / min(FMR_TARGETS.values()))) if total > SAMPLE else 1.0
    if keep < 1:
        chosen = rng.random(len(i)) < keep
        i, j = i[chosen], j[chosen]
    return scores[i, j], rows[i], columns[j], np.full(len(i), 1 / keep)


def _below(probe: TemplateSet, second: TemplateSet, above: float, pairs: float, rng: np.random.Generator) -> _Part:
    """A sample of the impostor pairs with scores below ``above``, which are so many ``pairs``."""
    i = rng.integers(len(probe.people), size=SAMPLE)
    j = rng.integers(len(second.people), size=SAMPLE)
    other = probe.people[i] != second.people[j]
    i, j = i[other], j[other]
    step = max(1, BLOCK // probe.templates.shape[1])
    scores = np.concatenate(
        [
            np.einsum("ij,ij->i", probe.templates[i[at : at + step]], second.templates[j[at : at + step]])
            for at in range(0, len(i), step)
        ]
        or [np.empty(0, np.float32)]
    )
    low = scores < above
    return scores[low], i[low], j[low], np.full(int(low.sum()), max(0.0, pairs) / max(1, int(low.sum())))


def _bin(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.clip(((scores.astype(np.float64) + 1) * (_BINS // 2)).astype(np.int64), 0, _BINS - 1)
