"""Verification of acquired pictures: error rates, how sure they are, for whom they are worse, and the curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from deploy.evaluation.acquire import Acquired
from deploy.evaluation.labels import LabelTable
from deploy.evaluation.pictures import Labelled
from embedder.comparisons import TemplateSet
from embedder.evaluation.bootstrap import DRAWS, Interval, error_intervals, sample_pairs
from embedder.evaluation.curve import ScoreCounts, count_scores
from embedder.evaluation.groups import GroupErrors, Names, errors_by_group, quality_band
from embedder.evaluation.identification import recall_at
from embedder.evaluation.metrics import Acquisition, VerificationReport, verification
from embedder.evaluation.protocols import OneProbeEach, one_probe_each, one_probe_pairs
from embedder.pairs import Pair, PairRows, resolve_pairs
from embedder.records import Unit
from ingest.errors import UsageError

GROUPS_AT = "1e-3"
"""The FMR of all pairs at whose threshold groups are compared."""


class VerificationEvaluation(VerificationReport):
    """``VerificationReport``, and what stands around it.

    ``intervals`` are 95 % intervals over people of ``eer`` and of the FNMR at each FMR (none if not asked for).
    ``one_probe_each`` is the protocol of one authentic and one impostor probe per person, None where fewer than two
    people can take part.  ``recall_at`` is closed-set identification.  ``detection_rate`` is the share of drawn masks
    under which the detector finds the face again.  ``groups`` are errors by group of ``mask_kind`` and ``quality``
    (the probe's), and of the labels (both pictures'), at the threshold of FMR 1e-3 over all pairs.
    """

    intervals: dict[str, Interval] = Field(default_factory=dict)
    one_probe_each: OneProbeEach | None = None
    recall_at: dict[str, Unit | None] = Field(default_factory=dict)
    detection_rate: Unit | None = None
    masks_drawn: int = Field(default=0, ge=0)
    groups: dict[str, dict[str, GroupErrors]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VerificationOptions:
    """``pairs`` of a file restrict the comparisons; so does ``one_probe`` (each person's one of each kind).

    ``draws`` of people make the intervals (0: none), ``seed`` draws; ``labels`` add groups.
    """

    pairs: tuple[Pair, ...] | None = None
    one_probe: bool = False
    draws: int = DRAWS
    seed: int = 1
    labels: LabelTable | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A report, and the counted scores behind it, for plots."""

    report: VerificationEvaluation
    scores: ScoreCounts


def evaluate_verification(
    probe: Acquired, gallery: Acquired | None, options: VerificationOptions | None = None
) -> Verified:
    """Compare ``probe`` with ``gallery`` (or with itself).  Raises ``UsageError`` where there is nothing to compare."""
    options = options or VerificationOptions()
    sides = [probe] if gallery is None else [probe, gallery]
    acquisition = Acquisition(sum(len(side.pictures) for side in sides), sum(len(side.failures) for side in sides))
    names = sorted({picture.person for side in sides for picture in side.pictures})
    people = {name: number for number, name in enumerate(names)}
    sets = [template_set(side, people) for side in sides]
    first, second = sets[0], sets[1] if gallery else None
    rows = _rows(options, sides, sets)
    report = verification(first, second, acquisition=acquisition, pairs=rows)
    intervals = {}
    if options.draws:
        sample = sample_pairs(first, second, rows, tail_from=report.thresholds["1e-2"], seed=options.seed)
        intervals = error_intervals(sample, draws=options.draws, seed=options.seed)
    drawn = sum(len(side.drawn) for side in sides)
    missed = sum(len(side.missed) for side in sides)
    evaluation = VerificationEvaluation(
        **report.model_dump(),
        intervals=intervals,
        one_probe_each=one_probe_each(first, second, seed=options.seed),
        recall_at=recall_at(first, second),
        detection_rate=1 - missed / drawn if drawn else None,
        masks_drawn=drawn,
        groups={} if rows is not None else _groups(sides, sets, options.labels, report.thresholds[GROUPS_AT]),
    )
    return Verified(evaluation, count_scores(first, second, rows))


def template_set(side: Acquired, people: dict[str, int]) -> TemplateSet:
    """The usable faces of ``side``; ``people`` numbers the names.  ``UsageError`` when there is none."""
    pictures = side.usable
    if not pictures:
        message = "no picture shows a usable face, so there is nothing to compare"
        raise UsageError(message)
    return TemplateSet(
        np.stack([side.probes[picture.number].vector for picture in pictures]),
        np.array([people[picture.person] for picture in pictures], np.int64),
        np.array([picture.number for picture in pictures], np.int64),
    )


def _rows(options: VerificationOptions, sides: list[Acquired], sets: list[TemplateSet]) -> PairRows | None:
    """The pairs that the protocol restricts the comparisons to; None for all."""
    second = sets[1] if len(sets) > 1 else None
    if options.pairs is not None:
        keys = [{_key(picture): row for row, picture in enumerate(side.usable)} for side in sides]
        failed = {_key(picture) for side in sides for picture in side.pictures if picture.number in side.failures}
        return resolve_pairs(options.pairs, keys[0], keys[1] if second else None, failed=failed)
    return one_probe_pairs(sets[0], second, seed=options.seed) if options.one_probe else None


def _groups(
    sides: list[Acquired], sets: list[TemplateSet], labels: LabelTable | None, threshold: float
) -> dict[str, dict[str, GroupErrors]]:
    probe, second = sides[0], sets[1] if len(sets) > 1 else None
    found: dict[str, dict[str, GroupErrors]] = {}
    quality = np.array([quality_band(probe.probes[picture.number].quality.score) for picture in probe.usable])
    found["quality"] = errors_by_group(sets[0], second, quality, None, threshold)
    if probe.drawn:
        kinds = np.array([str(probe.drawn.get(picture.number, "bare")) for picture in probe.usable])
        found["mask_kind"] = errors_by_group(sets[0], second, kinds, None, threshold)
    if labels is not None:
        for grouping in _groupings(labels):
            names = [_names(side.usable, labels, grouping) for side in sides]
            found[" and ".join(grouping)] = errors_by_group(sets[0], second, names[0], names[-1], threshold)
    return found


def _groupings(labels: LabelTable) -> list[tuple[str, ...]]:
    """Each attribute that makes groups, and sex and race crossed."""
    single: list[tuple[str, ...]] = [(name,) for name in labels.groupings]
    crossed = [("sex", "race")] if {"sex", "race"} <= set(labels.groupings) else []
    return single + crossed


def _names(pictures: list[Labelled], labels: LabelTable, grouping: tuple[str, ...]) -> Names:
    """(N,) the group of each picture; "" where a label is missing."""
    found = []
    for picture in pictures:
        row = labels.of(picture.person, picture.path)
        values = [row.get(name, "") for name in grouping]
        found.append(", ".join(values) if all(values) else "")
    return np.array(found, np.str_)


def _key(picture: Labelled) -> str:
    return f"{picture.person}/{picture.path.stem}"
