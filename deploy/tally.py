"""Running counts over a run's journals: one pass, and memory that grows with ATMs and reasons alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime

from alerts.records import Alert
from clustering.records import Sighting
from clustering.visits import session_of
from ingest.reasons import UNUSABLE, Reason
from ingest.records import AtmEvent, Rejection


def is_assumed_visit(event: AtmEvent) -> bool:
    """Whether a picture says nothing by which to join it to others, and so counts as a visit of its own."""
    return event.session_id is None and session_of(event) is not None


class _Period:
    """The first and last instant of what was added."""

    def __init__(self) -> None:
        self.first: datetime | None = None
        self.last: datetime | None = None

    def widen(self, at: datetime) -> None:
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)


class SightingTally(_Period):
    """Accepted events: how many, by ATM, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.bystanders = self.assumed = 0
        self.atms: Counter[str] = Counter()
        self.wear: Counter[str] = Counter()

    def add(self, sighting: Sighting) -> None:
        self.count += 1
        self.bystanders += len(sighting.bystanders)
        self.assumed += is_assumed_visit(sighting.event)
        self.atms[sighting.event.atm_id] += 1
        if sighting.signs is not None:
            self.wear[sighting.signs.wear.value] += 1
        self.widen(sighting.event.captured_at)


class RejectionTally(_Period):
    """Rejected events by reason and ATM, and when the usable files among them were taken."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.reasons: Counter[Reason] = Counter()
        self.atms: defaultdict[str, Counter[Reason]] = defaultdict(Counter)

    def add(self, rejection: Rejection) -> None:
        self.count += 1
        self.reasons[rejection.reason] += 1
        if rejection.atm_id is not None:
            self.atms[rejection.atm_id][rejection.reason] += 1
        # A broken record's time is no evidence of when the run's pictures were taken.
        if rejection.captured_at is not None and rejection.reason in UNUSABLE:
            self.widen(rejection.captured_at)


class AlertTally:
    """Alerts by rule and severity."""

    def __init__(self) -> None:
        self.count = self.held = 0
        self.rules: Counter[str] = Counter()
        self.severities: Counter[str] = Counter()

    def add(self, alert: Alert) -> None:
        self.count += 1
        self.held += alert.held is not None
        self.rules[alert.rule_id] += 1
        self.severities[alert.severity.value] += 1
