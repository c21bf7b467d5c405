"""Which alerts a day deserves, by brute force: every rule asked of everybody at every moment, from the truth alone.

Nothing here is shared with the judging of ``alerts`` but the rules themselves, so that the two check each other.
There are no episodes, cooldowns or confidences: who deserves a rule's alert once deserves it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from alerts.conditions import Case, Condition, Measure
from alerts.rules import Per, Rule, RuleBook
from deploy.simulator.city import distance_km
from deploy.simulator.truth import FACE, ExpectedAlert, TrueAtm, TrueEvent, Who
from ingest.reasons import UNUSABLE
from ingest.records import GeoPoint

CLOSEST = timedelta(seconds=60)
"""Two terminals' clocks agree no better than this."""

THINGS: dict[Measure, Callable[[TrueEvent], object]] = {
    Measure.VISITS: lambda event: event.session_id,
    Measure.DISTINCT_ATMS: lambda event: event.atm_id,
    Measure.DISTINCT_CARDS: lambda event: event.card_token,
    Measure.DISTINCT_PERSONS: lambda event: event.person,
    Measure.TRANSACTIONS: lambda event: (event.session_id, event.card_token, event.transaction_type),
    Measure.UNUSABLE_PICTURES: lambda event: event.event_id,
}
"""What is counted: as many as there are different ones."""

Subject = tuple[Who, str, str]
"""Who is watched, and at which ATM if at one (else an empty text)."""
Moments = dict[Subject, list[TrueEvent]]


@dataclass(frozen=True, slots=True)
class Oracle:
    """Answers for one day.  ``expected`` costs about the square of the busiest subject's pictures."""

    events: tuple[TrueEvent, ...]
    places: Mapping[str, GeoPoint]
    zone: ZoneInfo

    @classmethod
    def of(cls, events: Iterable[TrueEvent], atms: Iterable[TrueAtm], zone: str) -> Oracle:
        """The oracle of a day; the events may come in any order."""
        ordered = tuple(sorted(events, key=lambda event: (event.captured_at, event.event_id)))
        return cls(ordered, {atm.atm_id: atm.location for atm in atms}, ZoneInfo(zone))

    def expected(self, book: RuleBook) -> tuple[ExpectedAlert, ...]:
        """Each rule and subject for which the rule holds at some moment, sorted."""
        found = {
            ExpectedAlert(rule_id=rule.id, about=who, subject=name)
            for rule in book.active
            for who, name, _ in self._crossings(rule, book)
        }
        return tuple(sorted(found, key=lambda alert: (alert.rule_id, alert.about, alert.subject)))

    def _crossings(self, rule: Rule, book: RuleBook) -> Moments:
        """The events at which ``rule`` comes to hold, by subject."""
        crossings: Moments = defaultdict(list)
        fired: dict[str | None, list[TrueEvent]] = {
            condition.fired: self._alerted(book, condition.fired)
            for condition in rule.conditions
            if condition.fired is not None
        }
        for subject, events in _watched(self.events, rule.per).items():
            held = False
            for now in events:
                holds = any(self._holds(case, now, events, fired) for case in rule.cases)
                if holds and not held:
                    crossings[subject].append(now)
                held = holds
        return crossings

    def _alerted(self, book: RuleBook, rule_id: str) -> list[TrueEvent]:
        other = next(rule for rule in book.rules if rule.id == rule_id)
        return [event for events in self._crossings(other, book).values() for event in events]

    def _holds(
        self, case: Case, now: TrueEvent, events: Sequence[TrueEvent], fired: Mapping[str | None, list[TrueEvent]]
    ) -> bool:
        return all(self._reached(condition, now, events, fired) for condition in case.conditions)

    def _reached(
        self,
        condition: Condition,
        now: TrueEvent,
        events: Sequence[TrueEvent],
        fired: Mapping[str | None, list[TrueEvent]],
    ) -> bool:
        if condition.fired is not None:
            events = [event for event in fired[condition.fired] if event.atm_id == now.atm_id]
        unusable = Measure.UNUSABLE_PICTURES in condition.limits
        window = [
            event
            for event in events
            if now.captured_at - condition.window < event.captured_at <= now.captured_at
            and (event.reason in UNUSABLE if unusable else event.outcome == FACE)
            and self._passes(condition, event)
        ]
        return all(self._measure(measure, window) >= limit for measure, limit in condition.limits.items())

    def _passes(self, condition: Condition, event: TrueEvent) -> bool:
        if condition.local_hours is not None:
            local = event.captured_at.astimezone(self.zone)
            if not condition.local_hours.hold(local.hour * 60 + local.minute):
                return False
        kinds = condition.transaction_types
        return kinds is None or (event.transaction_type or "").casefold() in kinds

    def _measure(self, measure: Measure, window: Sequence[TrueEvent]) -> float:
        if measure is Measure.AMOUNT:
            return float(sum({event.session_id: event.amount or 0 for event in window}.values()))
        if measure is Measure.SPEED_KMH:
            return max((self._speed(a, b) for a, b in pairwise(window)), default=0.0)
        return len({THINGS[measure](event) for event in window} - {None})

    def _speed(self, a: TrueEvent, b: TrueEvent) -> float:
        if a.atm_id == b.atm_id:
            return 0.0
        hours = max(b.captured_at - a.captured_at, CLOSEST) / timedelta(hours=1)
        return distance_km(self.places[a.atm_id], self.places[b.atm_id]) / hours


def _watched(events: Iterable[TrueEvent], per: Per) -> Moments:
    """The events of each subject that a rule watches, in order."""
    subjects: Moments = defaultdict(list)
    for event in events:
        match per:
            case Per.IDENTITY if event.person:
                subjects[Who.PERSON, event.person, ""].append(event)
            case Per.IDENTITY_ATM if event.person:
                subjects[Who.PERSON, event.person, event.atm_id].append(event)
            case Per.CARD if event.card_token:
                subjects[Who.CARD, event.card_token, ""].append(event)
            case Per.ATM:
                subjects[Who.ATM, event.atm_id, ""].append(event)
            case _:
                pass
    return subjects
