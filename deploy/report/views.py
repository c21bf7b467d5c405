"""The view model: everything that the page's template lays out, as words, rows and drawings."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from clustering.records import Usage
from deploy.report.wording import Moment
from deploy.summary import AtmHealth, RuleStatus, Summary
from ingest.reasons import Reason


@dataclass(frozen=True, slots=True)
class Face:
    """A thumbnail: the data URI, the text in its stead, and what stands below it."""

    uri: str | None
    alt: str
    caption: str
    atm: str


@dataclass(frozen=True, slots=True)
class ProofRow:
    """One row of an alert's evidence."""

    at: Moment
    atm: str
    similarity: str
    confidence: str
    source: str
    face: Face


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert."""

    alert_id: str
    title: str
    rule_id: str
    severity: str
    queue: str
    subject: str
    person: int | None
    raised: Moment
    window: str
    measures: tuple[tuple[str, str, str], ...]
    confidence: str
    held: str | None
    advice: str
    proofs: tuple[ProofRow, ...]
    proofs_left: int


@dataclass(frozen=True, slots=True)
class VisitRow:
    """One row of a person's visits."""

    number: int
    start: Moment
    lasted: str
    atm: str
    pictures: int
    similarity: str
    confidence: str
    wear: str
    eyes: str


@dataclass(frozen=True, slots=True)
class PersonView:
    """One repeated identity."""

    usage: Usage
    period: str
    signs: str
    alerts: tuple[tuple[str, str, int], ...]
    faces: tuple[Face, ...]
    faces_left: int
    drawing: Markup
    scale: str
    visits: tuple[VisitRow, ...]
    visits_left: int
    flags_left: int


@dataclass(frozen=True, slots=True)
class AtmRow:
    """One ATM's health; ``grade`` is ``good``, ``poor`` (look at the camera) or ``few`` (too few to tell)."""

    atm: AtmHealth
    name: str
    unusable: str
    reasons: str
    grade: str


@dataclass(frozen=True, slots=True)
class RejectionGroup:
    """The inputs rejected for one reason; ``rows`` are source, ATM, sentence."""

    reason: Reason
    total: int
    unusable: bool
    rows: tuple[tuple[str, str, str], ...]
    left: int


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the template shows."""

    title: str
    summary: Summary
    period: str
    zone: str
    severities: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    alerts: tuple[AlertView, ...]
    alerts_left: int
    people: tuple[PersonView, ...]
    people_left: int
    once: int
    atms: tuple[AtmRow, ...]
    atms_left: int
    rejections: tuple[RejectionGroup, ...]
    rules: tuple[RuleStatus, ...]
    timings: Markup | None
    faces_lost: int
    faces_over_budget: int
