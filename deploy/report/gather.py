"""One pass over a run's journals: what the report needs of them, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts.records import Alert, Severity
from clustering.records import Sighting, Usage
from clustering.visits import session_of
from deploy.report.charts import Flag
from deploy.summary import by_use
from deploy.visit_signs import VisitSigns
from embedder.records import Box
from ingest.reasons import Reason
from ingest.records import AtmEvent, Rejection

URGENCY = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a run the page shows.  What is beyond is counted on the page and stays in the journals."""

    identities: int = 100
    thumbnails: int = 24
    visits: int = 60
    visits_followed: int = 5000
    alerts: int = 200
    evidence: int = 12
    flags: int = 60
    rejections: int = 500
    atms: int = 200
    rows: int = 14
    picture_bytes: int = 11_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A face that may be shown: where it is, and how good (quality score, 0 to 1)."""

    event: AtmEvent
    box: Box
    score: float


@dataclass(slots=True)
class Visit:
    """One use of an ATM by one identity, growing as its pictures come."""

    atm_id: str
    start: datetime
    end: datetime
    pictures: int = 1
    similarity: float | None = None
    confidence: float = 1.0
    sample: Sample | None = None
    signs: VisitSigns = field(default_factory=VisitSigns)


class History:
    """One identity's visits in the order of their first pictures, with a face for each of a bounded number.

    Pictures join into visits as in ``clustering.visits``, provided that they come in the order of time; the
    count that the page states is the roster's.  Faces are kept of every visit, then of every second, fourth …
    one: evenly spread however long a run is, and at most twice ``thumbnails`` of them in memory.
    """

    def __init__(self, usage: Usage, visit_gap: timedelta, limits: Limits) -> None:
        self.usage = usage
        self.visits: list[Visit] = []
        self.overflow = 0
        self.flags: list[Flag] = []
        self.flags_left = 0
        self.alerts: Counter[tuple[Severity, str]] = Counter()
        self._gap = visit_gap
        self._limits = limits
        self._open: dict[tuple[str, str | None], int] = {}
        self._stride = 1

    def add(self, sighting: Sighting) -> None:
        """Take in one picture of the identity."""
        event = sighting.event
        key = (event.atm_id, session_of(event))
        index = self._open.get(key)
        if index is None or not self._joins(self.visits[index], event):
            if len(self.visits) >= self._limits.visits_followed:
                self.overflow += 1
                return
            index = self._open[key] = len(self.visits)
            visit = Visit(event.atm_id, event.captured_at, event.captured_at, pictures=0)
            self.visits.append(visit)
        visit = self.visits[index]
        visit.pictures += 1
        visit.start = min(visit.start, event.captured_at)
        visit.end = max(visit.end, event.captured_at)
        visit.confidence = min(visit.confidence, sighting.confidence)
        visit.signs.add(sighting)
        if sighting.similarity is not None:
            known = visit.similarity
            visit.similarity = sighting.similarity if known is None else min(known, sighting.similarity)
        self._sample(index, visit, sighting)

    def flag(self, alert: Alert, limit: int) -> None:
        """Take in one alert about the identity."""
        self.alerts[alert.severity, alert.title] += 1
        if len(self.flags) < limit:
            self.flags.append(Flag(alert.raised_at, alert.severity.value, alert.title))
        else:
            self.flags_left += 1

    def faces(self, limit: int) -> list[Visit]:
        """At most ``limit`` visits that have a face to show, evenly spread from the first to the last."""
        kept = [visit for visit in self.visits if visit.sample is not None]
        if len(kept) <= limit:
            return kept
        return [kept[round(n * (len(kept) - 1) / max(limit - 1, 1))] for n in range(limit)]

    def _joins(self, visit: Visit, event: AtmEvent) -> bool:
        if session_of(event) is not None:
            return True
        return visit.start - self._gap < event.captured_at < visit.end + self._gap

    def _sample(self, index: int, visit: Visit, sighting: Sighting) -> None:
        score = sighting.quality.score
        if index % self._stride or (visit.sample is not None and visit.sample.score >= score):
            return
        visit.sample = Sample(sighting.event, sighting.box, score)
        if index // self._stride >= 2 * self._limits.thumbnails:
            self._stride *= 2
            for place, old in enumerate(self.visits):
                if place % self._stride:
                    old.sample = None


@dataclass(slots=True)
class Gathered:
    """What one pass over the journals kept.

    ``alerts`` are the most severe, then the latest; ``rejections`` are by reason, the most frequent first;
    ``evidence`` holds the faces of the pictures that those alerts rest on, by event.
    """

    histories: list[History]
    alerts: list[Alert]
    rejections: dict[Reason, list[Rejection]]
    evidence: dict[str, Sample] = field(default_factory=dict)


def gather(
    usages: Sequence[Usage],
    sightings: Iterable[Sighting],
    alerts: Iterable[Alert],
    rejections: Iterable[Rejection],
    *,
    limits: Limits,
    visit_gap: timedelta,
) -> Gathered:
    """Read each journal once and keep what the page has room for.

    Followed are the identities of more than one visit, most visits first.
    """
    repeated = [usage for usage in by_use(usages) if usage.visits > 1][: limits.identities]
    histories = {usage.identity_id: History(usage, visit_gap, limits) for usage in repeated}
    shown = heapq.nlargest(limits.alerts, _flagging(alerts, histories, limits), key=_urgency)
    wanted = {proof.event_id for alert in shown for proof in alert.evidence[: limits.evidence]}
    evidence = {}
    for sighting in sightings:
        history = histories.get(sighting.identity_id)
        if history is not None:
            history.add(sighting)
        if sighting.event.event_id in wanted:
            evidence[sighting.event.event_id] = Sample(sighting.event, sighting.box, sighting.quality.score)
    return Gathered(list(histories.values()), shown, _by_reason(rejections, limits.rejections), evidence)


def _urgency(alert: Alert) -> tuple[int, datetime, str]:
    return URGENCY[alert.severity], alert.raised_at, alert.alert_id


def _flagging(alerts: Iterable[Alert], histories: dict[str, History], limits: Limits) -> Iterator[Alert]:
    for alert in alerts:
        history = histories.get(alert.identity_id or "")
        if history is not None:
            history.flag(alert, limits.flags)
        yield alert


def _by_reason(rejections: Iterable[Rejection], limit: int) -> dict[Reason, list[Rejection]]:
    """At most ``limit`` examples, shared out so that a frequent reason does not crowd out a rare one."""
    counts: Counter[Reason] = Counter()
    examples: dict[Reason, list[Rejection]] = {}
    for rejection in rejections:
        counts[rejection.reason] += 1
        kept = examples.setdefault(rejection.reason, [])
        if len(kept) < limit:
            kept.append(rejection)
    left = limit
    shares = {}
    for waiting, reason in zip(range(len(counts), 0, -1), sorted(counts, key=lambda r: (counts[r], r)), strict=True):
        shares[reason] = min(counts[reason], left // waiting)
        left -= shares[reason]
    ranked = sorted(counts, key=lambda r: (-counts[r], r))
    return {reason: examples[reason][: shares[reason]] for reason in ranked}
