"""What a rule asks for: thresholds on what was seen within windows of event time, alone or together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from alerts.fields import LocalHours, Window, format_duration
from alerts.records import Severity

FACE = "face"
UNUSABLE = "unusable"
"""What a picture counts as: a sighting, or one without a comparable face.  Alerts have marks of their own."""


def alert_mark(rule_id: str) -> str:
    """What an alert of the rule counts as, where another rule builds on it."""
    return f"alert/{rule_id}"


class Measure(StrEnum):
    """What can be measured within a window; see ``alerts.measures`` for how."""

    VISITS = "visits"
    DISTINCT_ATMS = "distinct_atms"
    DISTINCT_CARDS = "distinct_cards"
    DISTINCT_PERSONS = "distinct_persons"
    AMOUNT = "amount"
    TRANSACTIONS = "transactions"
    UNUSABLE_PICTURES = "unusable_pictures"
    SPEED_KMH = "speed_kmh"


NEEDS = {
    Measure.DISTINCT_CARDS: "card_token",
    Measure.AMOUNT: "amount",
    Measure.TRANSACTIONS: "transaction_type",
    Measure.SPEED_KMH: "atm_location",
}
"""The optional event field that a measure can't do without."""

MOST = 1000
Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Kind = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(str.casefold)]


class Misplaced(ValueError):
    """A fault that a check of the whole finds in a part: ``where`` leads from the whole to the part."""

    def __init__(self, where: tuple[str | int, ...], text: str) -> None:
        super().__init__(text)
        self.where = where


class Part(BaseModel):
    """Base of everything in a rules file: frozen and closed, and silent about values in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Condition(Part):
    """Thresholds on one window, all of which must be reached.

    ``local_hours`` and ``transaction_types`` leave out what lies outside of them.  ``fired`` counts, in place of
    people seen at an ATM, those about whom another rule raised an alert there.
    """

    window: Window
    visits: Count | None = None
    distinct_atms: Count | None = None
    distinct_cards: Count | None = None
    distinct_persons: Count | None = None
    amount: Amount | None = None
    transactions: Count | None = None
    unusable_pictures: Count | None = None
    speed_kmh: Amount | None = None
    local_hours: LocalHours | None = None
    transaction_types: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=50)] | None = None
    fired: RuleId | None = None
    severity: Severity | None = None

    @model_validator(mode="after")
    def _measures_something(self) -> Self:
        if not self.limits:
            message = f"needs a measure: one of {', '.join(Measure)}"
            raise ValueError(message)
        alone = (self.local_hours, self.transaction_types, self.fired) == (None, None, None)
        if self.unusable_pictures is not None and not (alone and len(self.limits) == 1):
            message = "stands alone in its condition: such a picture tells of nothing else"
            raise Misplaced((Measure.UNUSABLE_PICTURES.value,), message)
        if self.fired is not None and (
            set(self.limits) != {Measure.DISTINCT_PERSONS} or self.local_hours or self.transaction_types
        ):
            message = "goes with distinct_persons and a window alone"
            raise Misplaced(("fired",), message)
        return self

    @cached_property
    def limits(self) -> dict[Measure, float]:
        """What must be reached, by measure."""
        values = ((measure, getattr(self, measure.value)) for measure in Measure)
        return {measure: float(value) for measure, value in values if value is not None}

    @cached_property
    def labels(self) -> dict[Measure, str]:
        """How an alert names what was measured: measure, window and filters, such as ``visits_24h``."""
        filters = [
            *(["+".join(self.transaction_types)] if self.transaction_types else ()),
            *([str(self.local_hours)] if self.local_hours else ()),
        ]
        tail = "_".join([format_duration(self.window), *filters])
        return {measure: f"{measure.value}_{tail}" for measure in self.limits}

    @cached_property
    def mark(self) -> str:
        """What kind of pictures it counts."""
        if self.fired is not None:
            return alert_mark(self.fired)
        return UNUSABLE if self.unusable_pictures is not None else FACE

    @cached_property
    def needs(self) -> frozenset[str]:
        """The optional event fields without which it can't be answered."""
        fields = {NEEDS[measure] for measure in self.limits if measure in NEEDS}
        if self.local_hours:
            fields.add("zone")
        if self.transaction_types:
            fields.add("transaction_type")
        return frozenset(fields)


class AllOf(Part):
    """Conditions that must hold at the same moment, each over its own window that ends there."""

    all: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=10)]
    severity: Severity | None = None


CONDITION, TOGETHER = "<condition>", "<together>"
"""Tags that can't be keys of a rules file: they tell the two kinds of case apart, and are cut from messages."""


def _kind_of_case(value: Any) -> str:
    together = "all" in value if isinstance(value, dict) else isinstance(value, AllOf)
    return TOGETHER if together else CONDITION


AnyCase = Annotated[
    Annotated[Condition, Tag(CONDITION)] | Annotated[AllOf, Tag(TOGETHER)], Discriminator(_kind_of_case)
]


class When(Part):
    """Either ``any`` of several cases, or ``all`` of several conditions."""

    any: Annotated[tuple[AnyCase, ...], Field(min_length=1, max_length=10)] | None = None
    all: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=10)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.any is None) == (self.all is None):
            message = "needs either any or all"
            raise ValueError(message)
        return self

    def placed(self) -> Iterator[tuple[tuple[str | int, ...], Condition]]:
        """Every condition, with the way that leads to it."""
        for i, condition in enumerate(self.all or ()):
            yield ("all", i), condition
        for i, case in enumerate(self.any or ()):
            if isinstance(case, Condition):
                yield ("any", i), case
            else:
                yield from ((("any", i, "all", j), condition) for j, condition in enumerate(case.all))


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a rule can hold: all ``conditions`` at once, and how grave that is."""

    conditions: tuple[Condition, ...]
    severity: Severity
