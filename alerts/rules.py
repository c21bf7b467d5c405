"""What a rule is: what it asks for, of whom, how grave it is, and when it may speak again."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from alerts.conditions import FACE, Amount, Case, Condition, Measure, Misplaced, Part, RuleId, When
from alerts.fields import Duration
from alerts.records import Queue, Severity

Line = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class Per(StrEnum):
    """What a rule watches, each by itself."""

    IDENTITY = "identity"
    IDENTITY_ATM = "identity_atm"
    CARD = "card"
    ATM = "atm"


ALWAYS_ONE = {
    (Per.IDENTITY, Measure.DISTINCT_PERSONS),
    (Per.IDENTITY_ATM, Measure.DISTINCT_PERSONS),
    (Per.IDENTITY_ATM, Measure.DISTINCT_ATMS),
    (Per.ATM, Measure.DISTINCT_ATMS),
    (Per.CARD, Measure.DISTINCT_CARDS),
}
NO_ROUTE = {Per.IDENTITY_ATM, Per.ATM}


class Rule(Part):
    """One rule of a rules file.

    ``cooldown`` and ``reopen_step`` say when the same subject is reported again: see ``alerts.episodes``.
    """

    id: RuleId
    title: Line
    severity: Severity
    queue: Queue = Queue.FRAUD
    per: Per
    enabled: bool = True
    when: When
    cooldown: Duration
    reopen_step: Amount | None = None
    advice: Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True)] = ""
    dismissal_codes: Annotated[tuple[RuleId, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _fits_what_it_watches(self) -> Self:
        for place, condition in self.when.placed():
            where: tuple[str | int, ...] = ("when", *place)
            for measure in condition.limits:
                if (self.per, measure) in ALWAYS_ONE:
                    message = f"is always 1 in a rule per {self.per.value}"
                    raise Misplaced((*where, measure.value), message)
                if measure is Measure.SPEED_KMH and self.per in NO_ROUTE:
                    message = f"can't be told of one machine: use per {Per.IDENTITY.value} or {Per.CARD.value}"
                    raise Misplaced((*where, measure.value), message)
            if condition.mark == FACE or self.per is Per.ATM:
                continue
            part = "fired" if condition.fired else Measure.UNUSABLE_PICTURES.value
            message = f"is known of machines alone: use per {Per.ATM.value}"
            raise Misplaced((*where, part), message)
        return self

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The ways in which it can hold, as in the file."""
        if self.when.all is not None:
            return (Case(self.when.all, self.severity),)
        return tuple(
            Case((case,) if isinstance(case, Condition) else case.all, case.severity or self.severity)
            for case in self.when.any or ()
        )

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """All of its conditions."""
        return tuple(condition for case in self.cases for condition in case.conditions)

    @cached_property
    def needs(self) -> frozenset[str]:
        """The optional event fields that it asks for; with some of them gone, part of it may still hold."""
        own = {"card_token"} if self.per is Per.CARD else set()
        return frozenset(own).union(*(condition.needs for condition in self.conditions))

    @cached_property
    def marks(self) -> frozenset[str]:
        """The kinds of pictures that it counts."""
        return frozenset(condition.mark for condition in self.conditions)

    @cached_property
    def longest(self) -> timedelta:
        """Its largest window."""
        return max(condition.window for condition in self.conditions)

    @cached_property
    def guards(self) -> bool:
        """Whether it doubts the data (impossible travel), so that other alerts about the person are held."""
        travel = any(Measure.SPEED_KMH in condition.limits for condition in self.conditions)
        return travel and self.queue is Queue.DATA_QUALITY and self.per is Per.IDENTITY


class RuleBook(Part):
    """All rules of one file."""

    version: Literal[1]
    rules: Annotated[tuple[Rule, ...], Field(max_length=200)]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        places: dict[str, int] = {}
        for i, rule in enumerate(self.rules):
            if rule.id in places:
                message = f"is taken: rules[{places[rule.id]}] has it already"
                raise Misplaced(("rules", i, "id"), message)
            places[rule.id] = i
        for i, rule in enumerate(self.rules):
            for place, condition in rule.when.placed():
                if condition.fired is not None:
                    _check_reference(self, places, condition.fired, ("rules", i, "when", *place, "fired"))
        return self

    @cached_property
    def active(self) -> tuple[Rule, ...]:
        """The enabled rules in the order of judgement: those that doubt the data first, then as in the file."""
        return tuple(sorted((rule for rule in self.rules if rule.enabled), key=lambda rule: not rule.guards))

    @cached_property
    def digest(self) -> str:
        """A fingerprint of what the rules say, whatever the file's layout and comments."""
        return blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()

    def needs(self, rule: Rule) -> frozenset[str]:
        """The optional event fields that ``rule`` asks for, itself or through rules that it builds on."""
        fired = {condition.fired for condition in rule.conditions}
        return rule.needs.union(*(other.needs for other in self.rules if other.id in fired))


def _check_reference(book: RuleBook, places: dict[str, int], name: str, where: tuple[str | int, ...]) -> None:
    if name not in places:
        message = f"there is no rule {name}"
        raise Misplaced(where, message)
    other = book.rules[places[name]]
    if other.per not in (Per.IDENTITY, Per.IDENTITY_ATM):
        message = f"{name} does not tell of a person"
        raise Misplaced(where, message)
