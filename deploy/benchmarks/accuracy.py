"""The accuracy benchmark: every condition and every model over the same pictures, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clustering.evaluation import ClusteringReport
from deploy.benchmarks.machine import Machine, this_machine
from deploy.benchmarks.plots import Curve, check_plots, write_plots
from deploy.benchmarks.speed import milliseconds_per_face
from deploy.evaluation.acquire import HALF, NONE, RANDOM, Acquired, Acquirer
from deploy.evaluation.clustering import evaluate_stream, stream_order
from deploy.evaluation.labels import LabelTable, read_labels
from deploy.evaluation.leakage import LeakageReport, evaluate_leakage
from deploy.evaluation.pictures import Labelled, check_genuine, labelled_pictures, listed_pictures, matching
from deploy.evaluation.verification import VerificationEvaluation, VerificationOptions, evaluate_verification
from embedder.evaluation.bootstrap import DRAWS
from embedder.evaluation.leakage import LeakageOptions
from embedder.evaluation.protocols import People
from ingest.errors import UsageError

UNMASKED, MASKED_PROBE, BOTH_MASKED = "unmasked", "masked probe, unmasked gallery", "both masked"
CONDITIONS = {UNMASKED: (NONE, NONE), MASKED_PROBE: (RANDOM, NONE), BOTH_MASKED: (RANDOM, RANDOM)}
"""What is compared: the masks drawn on probes and on the gallery."""
STREAMS = {"unmasked": NONE, "every second picture masked": HALF, "all masked": RANDOM}
REAL_CONDITIONS = {"masked against masked": ("masked_*", "masked_*"), MASKED_PROBE: ("masked_*", "unmasked_*")}
"""The names of probe and gallery files in a folder of people with and without real masks."""

Counting = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Given what is done and how often, shows progress; tells it how many are done."""


@dataclass(frozen=True, slots=True)
class AccuracyOptions:
    """``folder`` of people, of whom ``people`` are measured; the others are measured where they are given.

    ``real_masks`` is a folder of people with files ``masked_*`` and ``unmasked_*``; ``attributes`` a folder of pictures
    and ``labels`` their table.  ``plots`` is where plots are drawn.
    """

    folder: Path
    people: People = People.REST
    real_masks: Path | None = None
    attributes: Path | None = None
    labels: Path | None = None
    plots: Path | None = None
    draws: int = DRAWS
    seed: int = 1


class AccuracyBench(BaseModel):
    """What ``bench accuracy`` writes; figures by condition, then by model.  ``models`` maps names to model ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured_at: datetime
    machine: Machine
    people: People
    seed: int
    models: dict[str, str]
    milliseconds_per_face: dict[str, float]
    verification: dict[str, dict[str, VerificationEvaluation]]
    clustering: dict[str, dict[str, ClusteringReport]]
    real_masks: dict[str, dict[str, VerificationEvaluation]]
    leakage: dict[str, LeakageReport]


def bench_accuracy(acquirer: Acquirer, options: AccuracyOptions, counting: Counting) -> AccuracyBench:
    """Measure all that ``options`` name with every model of ``acquirer``; what is missing is told before long work."""
    if options.plots:
        check_plots()
    pictures = labelled_pictures(options.folder, options.people)
    check_genuine(pictures, pictures)
    real = labelled_pictures(options.real_masks) if options.real_masks else []
    for patterns in REAL_CONDITIONS.values() if real else ():
        check_genuine(*(matching(real, pattern) for pattern in patterns))
    attributed = _attributed(options)
    run = _Run(acquirer, options, counting)
    models = {name: embedder.model for name, embedder in acquirer.embedders.items()}
    speed = milliseconds_per_face(models)
    by_mask = run.acquired("Embedding", pictures, [NONE, RANDOM, HALF])
    verification = {
        condition: run.verified(condition, by_mask[masks[0]], by_mask[masks[1]])
        for condition, masks in CONDITIONS.items()
    }
    clustering = {stream: run.clustered(by_mask[mask]) for stream, mask in STREAMS.items()}
    return AccuracyBench(
        measured_at=datetime.now(UTC).replace(microsecond=0),
        machine=this_machine(),
        people=options.people,
        seed=options.seed,
        models={name: model.card.model_id for name, model in models.items()},
        milliseconds_per_face=speed,
        verification=verification,
        clustering=clustering,
        real_masks=run.real(real) if real else {},
        leakage=run.leaked(*attributed) if attributed else {},
    )


_ByModel = dict[str, Acquired]


@dataclass(frozen=True, slots=True)
class _Run:
    acquirer: Acquirer
    options: AccuracyOptions
    counting: Counting

    def acquired(self, what: str, pictures: Sequence[Labelled], masks: Sequence[str]) -> dict[str, _ByModel]:
        """What came of the pictures, by mask, then by model."""
        with self.counting(what, len(pictures)) as advance:
            found = self.acquirer.acquire(pictures, masks, self.options.seed, advance)
        return {mask: {name: found[name, mask] for name in self.acquirer.embedders} for mask in masks}

    def verified(self, condition: str, probe: _ByModel, gallery: _ByModel) -> dict[str, VerificationEvaluation]:
        options = VerificationOptions(draws=self.options.draws, seed=self.options.seed)
        found = {
            name: evaluate_verification(side, None if probe is gallery else gallery[name], options)
            for name, side in probe.items()
        }
        if self.options.plots:
            curves = {
                name: Curve(one.scores, one.report.eer, one.report.thresholds["eer"]) for name, one in found.items()
            }
            write_plots(self.options.plots / condition.replace(",", "").replace(" ", "_"), condition, curves)
        return {name: one.report for name, one in found.items()}

    def clustered(self, looks: _ByModel) -> dict[str, ClusteringReport]:
        found = {}
        for name, look in looks.items():
            with self.counting("Clustering", len(look.probes)) as advance:
                found[name] = evaluate_stream(
                    look,
                    self.acquirer.embedders[name].model.card,
                    self.acquirer.settings,
                    stream_order(look, self.options.seed),
                    on_progress=advance,
                    draws=self.options.draws,
                )
        return found

    def real(self, pictures: Sequence[Labelled]) -> dict[str, dict[str, VerificationEvaluation]]:
        looks = self.acquired("Embedding real masks", pictures, [NONE])[NONE]
        found = {}
        for condition, patterns in REAL_CONDITIONS.items():
            sides = [matching(pictures, pattern) for pattern in patterns]
            probe = {name: look.only(sides[0]) for name, look in looks.items()}
            same = patterns[0] == patterns[1]
            gallery = probe if same else {name: look.only(sides[1]) for name, look in looks.items()}
            found[condition] = self.verified(f"real masks, {condition}", probe, gallery)
        return found

    def leaked(self, pictures: Sequence[Labelled], table: LabelTable, missing: int) -> dict[str, LeakageReport]:
        looks = self.acquired("Embedding attributes", pictures, [NONE, RANDOM])
        options = LeakageOptions(seed=self.options.seed)
        return {
            name: evaluate_leakage(name, {mask: looks[mask][name] for mask in looks}, table, missing, options)
            for name in self.acquirer.embedders
        }


def _attributed(options: AccuracyOptions) -> tuple[list[Labelled], LabelTable, int] | None:
    """The pictures whose attributes are to be read, their labels, and how many files are missing."""
    if options.attributes is None and options.labels is None:
        return None
    if options.attributes is None or options.labels is None:
        message = "a folder of attributes and its table of labels go together: give both, or neither"
        raise UsageError(message)
    table = read_labels(options.labels)
    pictures, missing = listed_pictures(options.attributes, table)
    return pictures, table, missing
