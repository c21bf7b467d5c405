"""Judging: does a rule hold at a moment of event time?  Pure, given the ledger.

The window of length w that ends at T holds the pictures after T - w, up to and with T.  What is measured there
rises only when a picture comes, so a rule is asked at the moments of pictures alone.  A picture that comes late
is in every window that ends at it or less than w behind it: the rule is asked at each picture in there.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime

from alerts.conditions import Case, Condition
from alerts.ledger import Counted, Ledger, Picture, Subject
from alerts.measures import Reading, read
from alerts.records import Severity
from alerts.rules import Rule

MAX_MOMENTS = 200
"""A late picture is judged at its own moment and at no more of the next ones than this."""

RANK = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Bench:
    """Who is judged by which rule, on what: everything that judging needs to know.

    ``windows`` keeps what was looked up, for all benches of one ledger until its next picture.
    """

    rule: Rule
    subject: Subject
    ledger: Ledger
    windows: dict[Hashable, list[Counted]] = field(default_factory=dict)

    def concerns(self, picture: Picture) -> bool:
        """Whether ``picture`` counts for this rule and subject."""
        return picture.mark in self.rule.marks and self.subject.atm_id in (None, picture.atm_id)

    def window(self, condition: Condition, end: datetime, *, before: bool = False) -> list[Counted]:
        """What ``condition`` has to count at ``end``, or just before."""
        atm, mark = self.subject.atm_id, condition.mark
        key = atm, mark, condition.window, end, before
        found = self.windows.get(key)
        if found is None:
            look = self.ledger.before if before else self.ledger.until
            found = [
                one
                for one in look(end, condition.window)
                if one[1].mark == mark and (atm is None or one[1].atm_id == atm)
            ]
            self.windows[key] = found
        return found


@dataclass(frozen=True, slots=True)
class Crossing:
    """A rule holds at ``end``; ``case`` is the gravest of its cases that does, the first of equals.

    ``measured`` holds what all of the rule's conditions measured, ``limits`` what the case asks for.
    """

    end: datetime
    case: Case
    measured: dict[str, float]

    @property
    def limits(self) -> dict[str, float]:
        """What the case asks for, by the names of ``measured``."""
        return {c.labels[m]: limit for c in self.case.conditions for m, limit in c.limits.items()}

    @property
    def rank(self) -> int:
        """How grave it is, 0 the least."""
        return RANK[self.case.severity]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says to one picture: True, False, or None for not evaluable for want of ``missing``.

    ``bench`` is what it was judged on; None where the picture does not even say whom the rule is about.
    """

    rule: Rule
    bench: Bench | None
    truth: bool | None
    missing: frozenset[str] = frozenset()
    crossings: tuple[Crossing, ...] = ()


def judge(bench: Bench, picture: Picture) -> Verdict:
    """What the rule says now that ``picture`` is in the ledger."""
    crossings: list[Crossing] = []
    missing: set[str] = set()
    for moment in _moments(bench, picture.captured_at):
        crossing, lacking = _ask(bench, moment)
        missing |= lacking
        if crossing:
            crossings.append(crossing)
    truth = True if crossings else (None if missing else False)
    return Verdict(bench.rule, bench, truth, frozenset(missing), tuple(crossings))


def held_before(bench: Bench, moment: datetime) -> bool:
    """Whether the rule held just before ``moment``: where it was lowest since the picture before."""
    return _ask(bench, moment, before=True)[0] is not None


def fell_between(bench: Bench, start: datetime, end: datetime) -> bool:
    """Whether there was a moment after ``start``, and not after ``end``, at which the rule did not hold."""
    moments = {p.captured_at for p in bench.ledger.between(start, end) if bench.concerns(p) and p.captured_at > start}
    return not all(held_before(bench, moment) for moment in sorted(moments))


def _moments(bench: Bench, first: datetime) -> list[datetime]:
    last = first + bench.rule.longest
    near = (p for p in bench.ledger.between(first, last) if bench.concerns(p))
    return sorted({p.captured_at for p in near if p.captured_at < last})[:MAX_MOMENTS]


def _ask(bench: Bench, moment: datetime, *, before: bool = False) -> tuple[Crossing | None, frozenset[str]]:
    """The crossing at ``moment``, if the rule holds; and the fields for lack of which a case can't be told."""
    measured: dict[str, float] = {}
    holding: list[Case] = []
    missing: frozenset[str] = frozenset()
    for case in bench.rule.cases:
        readings: list[Reading] = []
        for condition in case.conditions:
            reading = read(condition, bench.window(condition, moment, before=before))
            measured.update((condition.labels[m], value) for m, value in reading.values.items())
            readings.append(reading)
        if all(reading.truth for reading in readings):
            holding.append(case)
        else:
            missing = missing.union(*(reading.missing for reading in readings))
    if not holding:
        return None, missing
    return Crossing(moment, max(holding, key=lambda case: RANK[case.severity]), measured), missing
