"""The figures of one run: what ``summary.json`` holds and the report's header shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alerts.records import Alert
from clustering.records import Count, Sighting, Usage
from clustering.visits import VISIT_GAP
from deploy.atomic import write_atomically
from deploy.tally import AlertTally, RejectionTally, SightingTally
from deploy.visit_signs import PersonSigns, SignsBook
from embedder.records import Finite
from ingest.reasons import UNUSABLE, Reason
from ingest.records import Instant, Record, Rejection

Measure = Annotated[float, Field(ge=0, allow_inf_nan=False)]

TOP_IDENTITIES = 100
POOR_CAMERA_PICTURES = 20
"""An ATM with fewer pictures than this is not judged: a share of a handful says nothing."""
POOR_CAMERA_SHARE = 0.3
POOR_CAMERAS_NAMED = 5


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RuleStatus(_Part):
    """What one rule could do with this run's events.

    ``evaluated`` and ``not_evaluable`` count the times that it was asked; ``missing`` names the fields for lack
    of which it could not answer.
    """

    rule_id: str
    title: str
    enabled: bool = True
    alerts: Count = 0
    evaluated: Count = 0
    not_evaluable: Count = 0
    missing: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """``off``, ``not evaluable``, ``partly evaluated``, ``evaluated``, or ``not asked`` when none came."""
        if not self.enabled:
            return "off"
        if self.not_evaluable:
            return "partly evaluated" if self.evaluated else "not evaluable"
        return "evaluated" if self.evaluated else "not asked"


class AtmHealth(_Part):
    """What one ATM's pictures were good for: pictures = accepted + unusable + broken."""

    atm_id: str
    pictures: Count
    accepted: Count
    unusable: dict[str, int]
    broken: Count

    @property
    def unusable_share(self) -> float:
        """Pictures without a comparable face, of those that could be opened; 0 to 1."""
        opened = self.accepted + sum(self.unusable.values())
        return sum(self.unusable.values()) / opened if opened else 0.0

    @property
    def is_poor(self) -> bool:
        """Whether so many pictures are unusable that somebody should look at the camera."""
        return self.is_judged and self.unusable_share >= POOR_CAMERA_SHARE

    @property
    def is_judged(self) -> bool:
        """Whether there are enough pictures to judge the camera by."""
        return self.pictures >= POOR_CAMERA_PICTURES


class Summary(Record):
    """One run in figures.

    events = accepted + rejected.  An accepted event shows one main face (``faces``); other people in its
    picture are ``bystanders``.  ``unusable`` pictures are in order as files but show no comparable face; they
    are part of ``rejected``, as ``no_face`` is of them.  ``visits`` is the sum over identities;
    ``assumed_visits`` are the pictures that say nothing by which to join them, so each counts as one visit.
    ``wear`` counts accepted pictures by what covers the face; ``signs`` tell of the ``top_identities``, visit by visit.
    ``stage_ms`` is the mean per event.  Dictionaries and tuples are sorted: equal runs give equal text, but for
    the seconds.
    """

    input: str
    model_id: str
    threshold: Finite
    events: Count
    accepted: Count
    faces: Count
    bystanders: Count
    no_face: Count
    unusable: Count
    rejected: Count
    rejected_by_reason: dict[str, int]
    identities: Count
    repeated_identities: Count
    visits: Count
    assumed_visits: Count
    alerts: Count
    alerts_by_rule: dict[str, int]
    alerts_by_severity: dict[str, int]
    alerts_held: Count
    seconds: Measure
    events_per_second: Measure
    stage_ms: dict[str, Measure]
    first_captured_at: Instant | None = None
    last_captured_at: Instant | None = None
    notes: tuple[str, ...] = ()
    rules: tuple[RuleStatus, ...] = ()
    atms: tuple[AtmHealth, ...] = ()
    top_identities: tuple[Usage, ...] = ()
    wear: Annotated[dict[str, int], Field(default_factory=dict)]
    signs: tuple[PersonSigns, ...] = ()

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        reasons = sum(self.rejected_by_reason.values())
        if self.events != self.accepted + self.rejected or self.rejected != reasons:
            message = "events must be accepted plus rejected, and rejected the sum of its reasons"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class Run:
    """What the journals don't know of a run.

    ``input`` is shown to people as it stands.  ``stage_seconds`` are totals by stage in the order in which they
    are to be shown; ``seconds`` is the wall time, and ``timed_events`` how many events it covers: fewer than
    all after a resumed run, all when None.  ``notes`` are plain sentences that precede the derived ones;
    ``visit_gap`` is the policy's.
    """

    input: str
    model_id: str
    threshold: float
    seconds: float
    timed_events: int | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    rules: Sequence[RuleStatus] = ()
    notes: Sequence[str] = ()
    visit_gap: timedelta = VISIT_GAP


def by_use(usages: Iterable[Usage]) -> list[Usage]:
    """The identities that were seen, most visits first, then in the order of founding."""
    return sorted((u for u in usages if u.visits), key=lambda u: (-u.visits, u.number))


def build_summary(
    usages: Sequence[Usage],
    sightings: Iterable[Sighting],
    alerts: Iterable[Alert],
    rejections: Iterable[Rejection],
    run: Run,
) -> Summary:
    """Sum up one run.  Each iterable is read once, in one pass.

    Memory grows with ATMs and reasons, and up to a bound with the visits of the identities that are named.
    Visits are taken from ``usages`` and not from the sightings: a late frame can join two visits, after which
    the number that an earlier sighting carries is out of date.
    """
    ranked = by_use(usages)
    named = ranked[:TOP_IDENTITIES]
    seen, signs = SightingTally(), SignsBook((usage.identity_id for usage in named), run.visit_gap)
    for sighting in sightings:
        seen.add(sighting)
        signs.add(sighting)
    refused = RejectionTally()
    for rejection in rejections:
        refused.add(rejection)
    raised = AlertTally()
    for alert in alerts:
        raised.add(alert)
    events = seen.count + refused.count
    instants = [at for at in (seen.first, seen.last, refused.first, refused.last) if at is not None]
    timed = events if run.timed_events is None else run.timed_events
    summary = Summary(
        input=run.input,
        model_id=run.model_id,
        threshold=run.threshold,
        events=events,
        accepted=seen.count,
        faces=seen.count,
        bystanders=seen.bystanders,
        no_face=refused.reasons[Reason.NO_FACE],
        unusable=sum(refused.reasons[reason] for reason in UNUSABLE),
        rejected=refused.count,
        rejected_by_reason={str(k): v for k, v in sorted(refused.reasons.items()) if v},
        identities=len(ranked),
        repeated_identities=sum(usage.visits > 1 for usage in ranked),
        visits=sum(usage.visits for usage in ranked),
        assumed_visits=seen.assumed,
        alerts=raised.count,
        alerts_by_rule=dict(sorted(raised.rules.items())),
        alerts_by_severity=dict(sorted(raised.severities.items())),
        alerts_held=raised.held,
        seconds=run.seconds,
        events_per_second=timed / run.seconds if run.seconds > 0 else 0.0,
        stage_ms={name: 1000 * total / max(timed, 1) for name, total in run.stage_seconds.items()},
        first_captured_at=min(instants, default=None),
        last_captured_at=max(instants, default=None),
        rules=tuple(run.rules),
        atms=_atm_table(seen, refused),
        top_identities=tuple(named),
        wear=dict(sorted(seen.wear.items())),
        signs=signs.persons(),
    )
    return summary.model_copy(update={"notes": (*run.notes, *_notes(summary))})


def write_summary(path: Path, summary: Summary) -> None:
    """Put ``summary`` in ``path`` as indented JSON, whole or not at all."""
    write_atomically(path, (summary.model_dump_json(indent=2, exclude_none=True) + "\n").encode())


def _atm_table(seen: SightingTally, refused: RejectionTally) -> tuple[AtmHealth, ...]:
    table = []
    for atm_id in sorted(seen.atms.keys() | refused.atms.keys()):
        reasons = refused.atms.get(atm_id, Counter())
        unusable = {str(reason): count for reason, count in sorted(reasons.items()) if reason in UNUSABLE}
        broken = sum(reasons.values()) - sum(unusable.values())
        accepted = seen.atms[atm_id]
        pictures = accepted + sum(reasons.values())
        table.append(AtmHealth(atm_id=atm_id, pictures=pictures, accepted=accepted, unusable=unusable, broken=broken))
    return tuple(table)


def _notes(summary: Summary) -> list[str]:
    notes = []
    if not summary.events:
        notes.append("The input holds no events.")
    elif not summary.accepted:
        notes.append("No picture shows a face that can be compared, so nobody was counted.")
    if summary.assumed_visits:
        notes.append(
            f"{summary.assumed_visits} of {summary.accepted} accepted pictures bring neither a manifest, a "
            "time of their own (EXIF) nor a session: each counts as one visit, at the time of its file."
        )
    silent = [rule for rule in summary.rules if rule.state == "not evaluable"]
    if silent:
        named = "; ".join(f"{rule.rule_id} needs {', '.join(rule.missing) or 'more'}" for rule in silent)
        notes.append(
            f"{_count(len(silent), 'rule')} could not be evaluated, because the events lack a field: {named}. "
            "No alert of such a rule does not mean that nothing happened."
        )
    if summary.alerts_held:
        verb = "is" if summary.alerts_held == 1 else "are"
        notes.append(f"{_count(summary.alerts_held, 'alert')} {verb} held: do not act until the reason is cleared.")
    poor = sorted((atm for atm in summary.atms if atm.is_poor), key=lambda atm: (-atm.unusable_share, atm.atm_id))
    notes += [
        f"{atm.atm_id}: {atm.unusable_share:.0%} of its pictures show no comparable face; check the camera."
        for atm in poor[:POOR_CAMERAS_NAMED]
    ]
    if len(poor) > POOR_CAMERAS_NAMED:
        notes.append(f"{len(poor) - POOR_CAMERAS_NAMED} more ATMs have a camera as poor as these.")
    return notes


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
