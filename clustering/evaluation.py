"""How well unknown identities and their counts agree with the truth: BCubed, pairwise, NMI, visits, recall.

Every item is one visit (one picture with a usable face), with the person that it truly shows and the identity
that it was given.  All measures stay the same when items are reordered or people and identities renamed.
Sources: Bagga & Baldwin, "Algorithms for scoring coreference chains", 1998, and Amigó et al., "A comparison of
extrinsic clustering evaluation metrics", 2009 (BCubed); Strehl & Ghosh, 2002, and Vinh et al., 2010 (NMI).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from embedder.comparisons import TemplateSet
from embedder.evaluation import identification
from embedder.evaluation.bootstrap import DRAWS, Interval, percentiles
from embedder.evaluation.identification import RANKS
from embedder.records import Unit
from ingest.errors import UsageError

Labels = NDArray[np.int64] | NDArray[np.str_]


class Agreement(BaseModel):
    """Precision falls when different people are joined, recall when one is split; ``f`` is the harmonic mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Unit
    recall: Unit
    f: Unit


class ClusteringReport(BaseModel):
    """What ``evaluate clustering`` prints.

    ``images`` were tried, and the share ``failure_to_acquire`` of them had no usable face: those are in no
    other number.  ``recall_at`` is None where no person has two usable pictures.  ``intervals`` are 95 % intervals,
    over people, of BCubed's ``precision``, ``recall`` and ``f``, where asked for.  The measures are explained at the
    functions of this module.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bcubed: Agreement
    pairwise: Agreement
    nmi: Unit
    identities_true: int = Field(ge=1)
    identities_found: int = Field(ge=1)
    visit_count_mae: float = Field(ge=0, allow_inf_nan=False)
    recall_at: dict[str, Unit | None]
    images: int = Field(ge=1)
    failure_to_acquire: Unit
    intervals: dict[str, Interval] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contingency:
    """The non-empty cells of the table of people and identities.

    ``person`` and ``identity`` (C,) int64 are indices into ``person_sizes`` (P,) and ``identity_sizes`` (I,),
    the int64 numbers of items of each; ``count`` (C,) int64 is the number of items that share both.
    """

    person: NDArray[np.int64]
    identity: NDArray[np.int64]
    count: NDArray[np.int64]
    person_sizes: NDArray[np.int64]
    identity_sizes: NDArray[np.int64]

    @property
    def total(self) -> int:
        """The number of items."""
        return int(self.count.sum())


def contingency(truth: Labels, found: Labels) -> Contingency:
    """Count the items of every person and identity; labels are (N,) integers or strings.

    Sorts, so a million items take well under a second.  Raises ``UsageError`` without items, and
    ``ValueError`` when the arrays differ in length.
    """
    if truth.ndim != 1 or truth.shape != found.shape:
        message = "truth and found must be (N,), one label per item"
        raise ValueError(message)
    if not len(truth):
        message = "there is nothing to evaluate: no picture has a usable face"
        raise UsageError(message)
    _, person, person_sizes = np.unique(truth, return_inverse=True, return_counts=True)
    _, identity, identity_sizes = np.unique(found, return_inverse=True, return_counts=True)
    cells, count = np.unique(person.astype(np.int64) * len(identity_sizes) + identity, return_counts=True)
    person, identity = np.divmod(cells, len(identity_sizes))
    return Contingency(person, identity, count, person_sizes, identity_sizes)


def bcubed(table: Contingency) -> Agreement:
    """The mean over items of the share of its identity that is its person (precision), and the reverse.

    An item counts among its own companions, and ``f`` is the harmonic mean of the two means.
    """
    squares = table.count.astype(np.float64) ** 2
    precision = float((squares / table.identity_sizes[table.identity]).sum()) / table.total
    recall = float((squares / table.person_sizes[table.person]).sum()) / table.total
    return _agreement(precision, recall)


def bcubed_intervals(table: Contingency, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """95 % intervals of BCubed's ``precision``, ``recall`` and ``f``, from ``draws`` draws of people.

    The clustering stands as it is; people are drawn with replacement, and the means taken over the items of those.
    """
    squares = table.count.astype(np.float64) ** 2
    people = len(table.person_sizes)
    precise = np.bincount(table.person, weights=squares / table.identity_sizes[table.identity], minlength=people)
    complete = np.bincount(table.person, weights=squares / table.person_sizes[table.person], minlength=people)
    rng = np.random.default_rng(seed)
    means = np.zeros((draws, 2))
    for draw in range(draws):
        drawn = rng.integers(people, size=people)
        items = table.person_sizes[drawn].sum()
        means[draw] = precise[drawn].sum() / items, complete[drawn].sum() / items
    precision, recall = means.T
    f = 2 * precision * recall / (precision + recall)
    return {name: percentiles(values) for name, values in (("precision", precision), ("recall", recall), ("f", f))}


def pairwise(table: Contingency) -> Agreement:
    """Of the pairs of items with one identity, the share that is one person (precision); and the reverse.

    Precision is 1 when nothing was joined, recall is 1 when no person has two items: nothing is wrong there.
    """
    both, joined, true = (_pairs(sizes) for sizes in (table.count, table.identity_sizes, table.person_sizes))
    return _agreement(both / joined if joined else 1.0, both / true if true else 1.0)


def nmi(table: Contingency) -> float:
    """Normalised mutual information, 2 I(people; identities) / (H(people) + H(identities)), 0 to 1.

    The arithmetic mean of the entropies normalises.  1 when all items are one person and one identity.
    """
    n = table.total
    expected = (table.person_sizes[table.person] / n) * table.identity_sizes[table.identity]
    information = float((table.count / n) @ np.log(table.count / expected))
    entropies = _entropy(table.person_sizes / n) + _entropy(table.identity_sizes / n)
    return min(1.0, max(0.0, 2 * information / entropies)) if entropies > 0 else 1.0


def visit_count_mae(table: Contingency) -> float:
    """How far off the visit counts are, in visits: the mean over true people of |visits counted - true visits|.

    What was counted for a person is the size of the identity that most of their items fall in, other people's
    items in it included; of several with equally many, the largest.
    """
    sizes = table.identity_sizes[table.identity]
    order = np.lexsort((sizes, table.count, table.person))
    last = np.append(np.flatnonzero(np.diff(table.person[order])), len(order) - 1)
    return float(np.abs(sizes[order[last]] - table.person_sizes).mean())


def recall_at(truth: Labels, templates: NDArray[np.float32], ranks: Sequence[int] = RANKS) -> dict[str, float | None]:
    """Leave-one-out search: how often one of the k most similar other items shows the same person.

    ``templates`` is (N, D) float32, L2-normalised; similarity is the cosine.  None when no person has two items.
    """
    if templates.shape[:1] != truth.shape:
        message = "templates must be (N, D), one per label"
        raise ValueError(message)
    _, person = np.unique(truth, return_inverse=True)
    items = TemplateSet(templates, person.astype(np.int64), np.arange(len(person)))
    return identification.recall_at(items, ranks=ranks)


def evaluate_clustering(
    truth: Labels, found: Labels, templates: NDArray[np.float32], *, failed: int = 0, draws: int = 0
) -> ClusteringReport:
    """All measures of N items: their people, the identities they were given and their (N, D) templates.

    ``failed`` is the number of pictures beside them that showed no usable face, ``draws`` how often people are drawn
    for the intervals (0: none).  Raises ``UsageError`` when there is no item.
    """
    table = contingency(truth, found)
    images = table.total + failed
    return ClusteringReport(
        bcubed=bcubed(table),
        pairwise=pairwise(table),
        nmi=nmi(table),
        identities_true=len(table.person_sizes),
        identities_found=len(table.identity_sizes),
        visit_count_mae=visit_count_mae(table),
        recall_at=recall_at(truth, templates),
        images=images,
        failure_to_acquire=failed / images,
        intervals=bcubed_intervals(table, draws=draws) if draws else {},
    )


def _pairs(sizes: NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _entropy(shares: NDArray[np.float64]) -> float:
    return float(-(shares @ np.log(shares)))


def _agreement(precision: float, recall: float) -> Agreement:
    # a sum of shares can exceed 1 in the last bit
    precision, recall = min(1.0, precision), min(1.0, recall)
    both = precision + recall
    return Agreement(precision=precision, recall=recall, f=2 * precision * recall / both if both else 0.0)
