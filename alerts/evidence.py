"""Writing an alert: the pictures that it rests on, how sure it is, and what it says."""

from __future__ import annotations

from collections.abc import Iterable

from alerts.episodes import alert_id
from alerts.judge import Bench, Crossing
from alerts.ledger import Counted, Picture
from alerts.measures import passing, weakest_link
from alerts.records import Alert, Evidence
from alerts.rules import Per
from clustering.visits import in_time
from ingest.records import Position

MAX_EVIDENCE = 50


def compose(
    bench: Bench, crossing: Crossing, picture: Picture, *, scope: str, number: int, position: Position
) -> Alert:
    """The alert that ``crossing`` makes; ``picture`` is the one that showed it, at ``position``.

    ``atm_id`` is where ``picture`` was taken.  ``confidence`` is the weakest link of the case's conditions:
    see ``alerts.measures.weakest_link``.
    """
    rule, person = bench.rule, bench.subject.kind is Per.IDENTITY
    conditions = [(c, passing(c, bench.window(c, crossing.end))[0]) for c in crossing.case.conditions]
    counted = {p.face_id: (n, p) for _, kept in conditions for n, p in kept}
    codes = f" Dismiss as {', '.join(rule.dismissal_codes)}." if rule.dismissal_codes else ""
    return Alert(
        alert_id=alert_id(rule.id, scope, bench.subject.name, number),
        rule_id=rule.id,
        title=rule.title,
        severity=crossing.case.severity,
        queue=rule.queue,
        subject=bench.subject.name,
        episode=number,
        identity_id=picture.identity_id if person else None,
        number=picture.number if person else None,
        atm_id=picture.atm_id,
        scope=scope,
        raised_at=crossing.end,
        window_start=crossing.end - max(c.window for c, _ in conditions),
        measured=crossing.measured,
        limits=crossing.limits,
        confidence=min(weakest_link(condition, kept) for condition, kept in conditions),
        advice=(rule.advice + codes).strip(),
        evidence=tuple(_evidence(p) for p in _choose(counted.values())),
        position=position,
    )


def _choose(counted: Iterable[Counted]) -> list[Picture]:
    """At most ``MAX_EVIDENCE`` pictures by time: every visit's best first, then every visit's second, and so on.

    When there are more visits than places, the latest have theirs.
    """
    visits: dict[int, list[Picture]] = {}
    for number, picture in counted:
        visits.setdefault(number, []).append(picture)
    ranked = [
        (place, picture)
        for visit in visits.values()
        for place, picture in enumerate(sorted(visit, key=lambda p: -p.confidence))
    ]
    ranked.sort(key=lambda one: one[1].captured_at, reverse=True)
    ranked.sort(key=lambda one: one[0])
    return sorted((picture for _, picture in ranked[:MAX_EVIDENCE]), key=in_time)


def _evidence(picture: Picture) -> Evidence:
    return Evidence(
        event_id=picture.event_id,
        atm_id=picture.atm_id,
        captured_at=picture.captured_at,
        source=picture.source,
        identity_id=picture.identity_id,
        similarity=picture.similarity,
        confidence=picture.confidence,
    )
