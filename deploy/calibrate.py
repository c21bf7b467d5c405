"""What a model's scores mean, learnt from people it was not trained on, and written into its card.

Nothing is set by hand: thresholds come from target false match rates, the log-likelihood ratio from a regression, and
how faces are linked from streams through the production clusterer.  Every second picture wears a drawn mask, as do
the pictures that a threshold has to hold for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clustering.evaluation import ClusteringReport
from deploy.atomic import write_atomically
from deploy.evaluation.acquire import HALF, NONE, RANDOM, Acquired, Acquirer
from deploy.evaluation.clustering import evaluate_stream, stream_order
from deploy.evaluation.pictures import Labelled, check_genuine
from deploy.evaluation.verification import template_set
from deploy.settings import Settings
from embedder.cards import Calibration, Line, Linking, ModelCard, PairKind, load_model_card
from embedder.comparisons import TemplateSet, genuine_rows, genuine_scores, impostor_blocks, impostor_rows
from embedder.evaluation.calibration import fit_calibration
from embedder.evaluation.metrics import FMR_TARGETS, Acquisition, VerificationReport, verification
from embedder.scale import KIND_OF, PAIR_KINDS, Scale, is_covered
from ingest.errors import UsageError

PRIOR = 1e-3
"""The share of genuine pairs that the log-likelihood ratio is to be best for: most pairs of faces are strangers."""
THRESHOLDS = tuple(round(0.20 + 0.02 * step, 2) for step in range(21))
BACKGROUNDS = (0.2, 0.4, 0.6)
MOST_IMPOSTORS = 2_000_000
ENOUGH_GENUINE, ENOUGH_IMPOSTORS = 100, 10_000
"""What a kind of pair must have to get a line of its own."""
NEARLY = 0.003
"""Of BCubed F: so much is given for fewer people who are taken for others."""
ORDERS = (1, 2)
"""Seeds of the orders in which the pictures come."""


Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Side:
    """Faces of one kind, and what is seen of each."""

    faces: TemplateSet
    covered: NDArray[np.bool_]
    qualities: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A card with what was learnt, and how the model did on the same people, by the masks they wore."""

    card: ModelCard
    reports: dict[str, VerificationReport]
    linking_f: float


def calibrate(
    folder: Path,
    pictures: Sequence[Labelled],
    settings: Settings,
    *,
    told: str,
    seed: int = 1,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Calibrated:
    """Learn what the scores of the model in ``folder`` mean from ``pictures``; nothing is written.

    ``told`` says in the card whose pictures these are.  ``on_progress`` hears what is done, how much of it, and of
    how much.  Raises ``UsageError`` when the pictures hold no two of one person.
    """
    check_genuine(pictures, pictures)
    card = load_model_card(folder)
    settings = settings.model_copy(update={"model": str(folder), "threshold": None})
    acquirer = Acquirer(settings)
    total = len(pictures)
    acquired = acquirer.acquire(
        pictures, (NONE, RANDOM, HALF), seed, lambda done: on_progress("Looking at faces", done, total)
    )
    by_mask = {mask: acquired[str(folder), mask] for mask in (NONE, RANDOM, HALF)}
    names = {name: number for number, name in enumerate(sorted({picture.person for picture in pictures}))}
    sets = {mask: template_set(side, names) for mask, side in by_mask.items()}
    failed = {mask: Acquisition(len(side.pictures), len(side.failures)) for mask, side in by_mask.items()}
    reports = {
        "bare": verification(sets[NONE], acquisition=failed[NONE]),
        "masked to bare": verification(sets[RANDOM], sets[NONE], acquisition=failed[RANDOM]),
        "masked": verification(sets[RANDOM], acquisition=failed[RANDOM]),
        "half masked": verification(sets[HALF], acquisition=failed[HALF]),
    }
    whose = f"{told}: {len(sets[HALF].images):,} pictures of {len(names):,} people, every second with a drawn mask"
    pooled = _calibration(sets[HALF], whose)
    card = card.model_copy(
        update={
            "thresholds": {name: round(reports["half masked"].thresholds[name], 4) for name in FMR_TARGETS},
            "calibration": _by_kind(pooled, *(_side(by_mask[mask], sets[mask]) for mask in (NONE, RANDOM))),
        }
    )
    linking, report = _linking(by_mask[HALF], card, settings, on_progress)
    measured = {"data": f"{whose}; {datetime.now(UTC):%d %B %Y}"}
    for name, of in reports.items():
        measured[name] = f"EER {of.eer:.4f}, FNMR {of.frr_at_fmr['1e-4']:.4f} at FMR 1e-4"
    measured["clustering, half masked"] = f"BCubed F {report.bcubed.f:.4f}"
    card = card.model_copy(update={"linking": linking, "measured": measured})
    return Calibrated(ModelCard.model_validate(card.model_dump()), reports, report.bcubed.f)


def write_card(folder: Path, card: ModelCard) -> None:
    """Put ``card`` in the place of the folder's."""
    write_atomically(folder / "card.json", card.model_dump_json(indent=2).encode() + b"\n")


def _side(acquired: Acquired, faces: TemplateSet) -> _Side:
    probes = [acquired.probes[picture.number] for picture in acquired.usable]
    covered = np.array([is_covered(probe.signs) for probe in probes])
    return _Side(faces, covered, np.array([probe.quality.score for probe in probes]))


def _calibration(faces: TemplateSet, whose: str) -> Calibration:
    line = _line(genuine_scores(faces), np.concatenate(list(impostor_blocks(faces))))
    if line is None:
        message = "the model does not tell these people apart: their own pictures score no higher than strangers'"
        raise UsageError(message)
    return Calibration(slope=line.slope, intercept=line.intercept, fitted_on=whose)


def _line(genuine: Scores, impostor: Scores) -> Line | None:
    """The line from cosines to log-likelihood ratios; None where genuine pairs score no higher."""
    slope, intercept = fit_calibration(genuine, impostor[:: max(1, len(impostor) // MOST_IMPOSTORS)], PRIOR)
    return Line(slope=round(slope, 2), intercept=round(intercept, 3)) if slope > 0 else None


def _by_kind(pooled: Calibration, bare: _Side, masked: _Side) -> Calibration:
    """``pooled`` with a line for each kind of pair that there is enough of."""
    qualities = np.concatenate([bare.qualities, masked.qualities])
    fine_from = round(float(np.median(qualities)), 3)
    scale = Scale(pooled.model_copy(update={"fine_from": fine_from}))
    looks = [scale.looks(side.covered, side.qualities) for side in (bare, masked)]
    genuine: dict[PairKind, list[Scores]] = {kind: [] for kind in PairKind}
    impostor: dict[PairKind, list[Scores]] = {kind: [] for kind in PairKind}
    for first, second in ((0, 0), (1, 0), (1, 1)):
        sets = (bare.faces, masked.faces)[first], (bare.faces, masked.faces)[second] if first != second else None
        scores, probes, others = genuine_rows(*sets)
        _sort(scores, KIND_OF[looks[first][probes], looks[second][others]], genuine)
        for block, rows, columns, pairs in impostor_rows(*sets):
            kinds = KIND_OF[looks[first][rows][:, None], looks[second][columns][None]]
            _sort(block[pairs], kinds[pairs], impostor)
    groups = {}
    for kind in PairKind:
        own, strangers = np.concatenate(genuine[kind]), np.concatenate(impostor[kind])
        enough = len(own) >= ENOUGH_GENUINE and len(strangers) >= ENOUGH_IMPOSTORS
        line = _line(own, strangers) if enough else None
        if line is not None:
            groups[kind] = line
    return pooled.model_copy(update={"fine_from": fine_from, "groups": groups})


def _sort(scores: Scores, kinds: NDArray[np.int64], into: dict[PairKind, list[Scores]]) -> None:
    for number, kind in enumerate(PAIR_KINDS):
        into[kind].append(scores[kinds == number])


def _linking(
    acquired: Acquired, card: ModelCard, settings: Settings, on_progress: Callable[[str, int, int], None]
) -> tuple[Linking, ClusteringReport]:
    """The strictest threshold and background of those that cluster shuffled streams ``NEARLY`` best.

    Strictest, as a bank's roster is many times as large as any set of people to calibrate on: the more people there
    are, the more often somebody is taken for another, while a person's own pictures are found as before.
    """
    orders = [stream_order(acquired, seed) for seed in ORDERS]
    choices = list(product(BACKGROUNDS, THRESHOLDS))
    tried: dict[tuple[float, float], list[ClusteringReport]] = {}
    for done, (background, threshold) in enumerate(choices):
        on_progress("Linking faces", done, len(choices))
        linking = card.linking.model_copy(update={"background": background, "threshold": threshold})
        trial = card.model_copy(update={"linking": linking})
        tried[background, threshold] = [
            evaluate_stream(acquired, trial, settings, order, on_progress=lambda _: None, draws=0) for order in orders
        ]
    means = {choice: float(np.mean([report.bcubed.f for report in reports])) for choice, reports in tried.items()}
    best = max(means.values())
    good = [choice for choice, mean in means.items() if mean >= best - NEARLY]
    precision = {choice: float(np.mean([report.bcubed.precision for report in tried[choice]])) for choice in good}
    background, threshold = max(good, key=lambda choice: (precision[choice], means[choice]))
    linking = card.linking.model_copy(update={"background": background, "threshold": threshold})
    return linking, tried[background, threshold][0]
