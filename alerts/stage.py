"""The alert stage: folds sightings, unusable pictures and alerts, and raises what the rules make of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts.episodes import due, follow, rearm
from alerts.evidence import compose
from alerts.judge import Bench, Crossing, Verdict, held_before, judge
from alerts.ledger import Counted, Picture, Subject, picture_of, subject_of
from alerts.memory import Memory, ScopeMemory, Tally
from alerts.records import Alert, Queue
from alerts.rules import Per, Rule, RuleBook
from clustering.records import Sighting
from clustering.visits import VISIT_GAP
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery

LATENESS = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What one rule could do so far.

    ``evaluated`` counts the pictures at which it said yes or no, ``not_evaluable`` those at which it could not
    for want of a field, and ``missing`` how often each field was lacking.  ``needs`` are all fields it asks for.
    """

    rule_id: str
    title: str
    enabled: bool
    needs: tuple[str, ...]
    evaluated: int = 0
    not_evaluable: int = 0
    alerts: int = 0
    missing: dict[str, int] = field(default_factory=dict)


class AlertStage:
    """Passes everything through, and puts the alerts that a record raises right behind it.

    ``visit_gap`` must be the clusterer's.  Pictures up to ``lateness`` behind the newest of their person, card
    or machine are judged as if they had come in time; older ones are not counted.

    The memory is a fold over the journal of Sightings, Rejections and Alerts, in their order: ``apply`` alone
    changes it, in live work as in recovery, so both end with equal snapshots.  Judging reads it and changes
    nothing.  Owned by one thread.
    """

    name = "alerts"

    def __init__(self, rulebook: RuleBook, visit_gap: timedelta = VISIT_GAP, *, lateness: timedelta = LATENESS) -> None:
        self._book = rulebook
        self._gap = visit_gap
        self._memory = Memory(visit_gap)
        self._kept: dict[tuple[Per, str], timedelta] = {(Per.IDENTITY, "face"): lateness}
        for rule in rulebook.active:
            kind = Per.IDENTITY if rule.per is Per.IDENTITY_ATM else rule.per
            for condition in rule.conditions:
                key = kind, condition.mark
                self._kept[key] = max(self._kept.get(key, lateness), lateness + rule.longest)
        self._keep = {kind: max(t for (k, _), t in self._kept.items() if k is kind) for kind, _ in self._kept}

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        """``batch``, with the alerts that its sightings and unusable pictures raise."""
        out: list[Delivery] = []
        for delivery in batch:
            out.append(delivery)
            if isinstance(delivery.record, Sighting | Rejection):
                alerts = self._raise(delivery.record, delivery.position)
                out += [Delivery(alert, delivery.position) for alert in alerts]
        return out

    def apply(self, record: Record) -> None:
        """Fold one journalled record; a known, too old or foreign one changes nothing."""
        self._fold(record)

    def snapshot(self) -> bytes:
        return self._memory.dump()

    def restore(self, content: bytes) -> None:
        """Put back what ``snapshot`` gave, also under other rules.  Raises ``Corrupt`` and changes nothing."""
        self._memory = Memory.load(content, self._gap)

    def report(self) -> list[RuleReport]:
        """What each rule could do so far, in the order of the file."""
        reports = []
        for rule in self._book.rules:
            tally = self._memory.tallies.get(rule.id) or Tally()
            missing = dict(sorted(tally.missing.items()))
            needs = tuple(sorted(self._book.needs(rule)))
            reports.append(
                RuleReport(
                    rule.id,
                    rule.title,
                    rule.enabled,
                    needs,
                    tally.evaluated,
                    tally.not_evaluable,
                    tally.alerts,
                    missing,
                )
            )
        return reports

    def _raise(self, record: Record, position: Position) -> list[Alert]:
        """Fold ``record`` and every alert that it raises, which may raise alerts in turn; the alerts in order."""
        alerts: list[Alert] = []
        for verdict in self._fold(record):
            if verdict.bench and verdict.crossings:
                alert = self._write(verdict.bench, verdict.crossings, record, position)
                if alert is not None:
                    alerts += [alert, *self._raise(alert, position)]
        return alerts

    def _write(self, bench: Bench, crossings: Sequence[Crossing], record: Record, position: Position) -> Alert | None:
        found = picture_of(record)
        if found is None:
            return None
        scope, picture = found
        memory = self._memory.scope(scope)
        episode = memory.episodes.get((bench.rule.id, bench.subject.name))
        crossing = due(bench, crossings, episode)
        if crossing is None:
            return None
        number = episode.number + 1 if episode else 1
        alert = compose(bench, crossing, picture, scope=scope, number=number, position=position)
        held = self._doubt(memory, bench.rule, alert)
        return alert.model_copy(update={"held": held}) if held else alert

    def _doubt(self, memory: ScopeMemory, rule: Rule, alert: Alert) -> str | None:
        """Why an alert must wait: one of its people travelled faster than anybody can, at about that time."""
        if rule.queue is not Queue.FRAUD:
            return None
        people = {one.identity_id for one in alert.evidence} | {alert.identity_id}
        for guard in (rule for rule in self._book.active if rule.guards):
            for person in sorted(person for person in people if person is not None):
                episode = memory.episodes.get((guard.id, person))
                if episode and abs(alert.raised_at - episode.raised_at) <= guard.cooldown:
                    at = _minute(episode.raised_at)
                    return f"impossible travel: {guard.id} at {at} tells of a false match or a wrong clock"
        return None

    def _fold(self, record: Record) -> list[Verdict]:
        """Fold ``record``; what each rule that it concerns says then.  Nothing when it is no news."""
        if isinstance(record, Alert) and not self._follow(record):
            return []
        found = picture_of(record)
        if found is None:
            return []
        scope, picture = found
        memory = self._memory.scope(scope)
        taking = self._taking(memory, picture)
        if not taking:
            return []
        self._rearm(memory, picture, taking)
        for kind, subject in taking.items():
            memory.add((kind, subject.key), picture, self._keep[kind])
        verdicts = self._ask(memory, picture, taking)
        memory.sweep(self._keep)
        return verdicts

    def _follow(self, alert: Alert) -> bool:
        memory = self._memory.scope(alert.scope)
        key = alert.rule_id, alert.subject
        episode = follow(memory.episodes.get(key), alert)
        if episode is None:
            return False
        memory.keep_episode(key, episode)
        self._memory.tally(alert.rule_id).alerts += 1
        return True

    def _taking(self, memory: ScopeMemory, picture: Picture) -> dict[Per, Subject]:
        """The kinds of ledgers for which ``picture`` is news, each with its subject."""
        taking: dict[Per, Subject] = {}
        for kind, mark in self._kept:
            subject = subject_of(kind, picture) if mark == picture.mark else None
            if subject is not None:
                ledger = memory.ledgers.get((kind, subject.key))
                if ledger is None or ledger.takes(picture):
                    taking[kind] = subject
        return taking

    def _rearm(self, memory: ScopeMemory, picture: Picture, taking: dict[Per, Subject]) -> None:
        """Note, before ``picture`` counts, which rules had ceased to hold about its subjects."""
        for rule, subject in self._concerned(picture):
            if subject is None or subject.kind not in taking:
                continue
            key = rule.id, subject.name
            episode = memory.episodes.get(key)
            if episode is None or rearm(episode, picture.captured_at) is episode:
                continue
            ledger = memory.ledgers.get((subject.kind, subject.key))
            if ledger is None or not held_before(Bench(rule, subject, ledger), picture.captured_at):
                memory.episodes[key] = rearm(episode, picture.captured_at)

    def _ask(self, memory: ScopeMemory, picture: Picture, taking: dict[Per, Subject]) -> list[Verdict]:
        verdicts = []
        windows: dict[Per, dict[Hashable, list[Counted]]] = {}
        for rule, subject in self._concerned(picture):
            if subject is None:
                verdict = Verdict(rule, None, None, frozenset({"card_token"}))
            elif subject.kind in taking:
                ledger = memory.ledgers[subject.kind, subject.key]
                bench = Bench(rule, subject, ledger, windows.setdefault(subject.kind, {}))
                verdict = judge(bench, picture)
            else:
                continue
            verdicts.append(verdict)
            tally = self._memory.tally(rule.id)
            if verdict.truth is None:
                tally.not_evaluable += 1
                tally.missing.update(verdict.missing)
            else:
                tally.evaluated += 1
        return verdicts

    def _concerned(self, picture: Picture) -> list[tuple[Rule, Subject | None]]:
        rules = (rule for rule in self._book.active if picture.mark in rule.marks)
        return [(rule, subject_of(rule.per, picture)) for rule in rules]


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
