"""What really happens on a simulated day: who used which ATM when, and which alerts that deserves."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from embedder.synthetic_masks import MaskKind
from ingest.errors import UsageError
from ingest.reasons import Reason
from ingest.records import GeoPoint, Instant, Record

FACE = "face"
"""The outcome of an event whose picture shows a person that can be recognised."""


class TrueAtm(Record):
    """A machine and where it stands."""

    atm_id: str
    location: GeoPoint


class TrueEvent(Record):
    """One picture: what the manifest says of it, and what only the simulator knows.

    ``person`` uses the machine and ``bystander`` stands behind; ``portrait`` is the picture that the person was
    drawn from.  ``disturbances`` are names from ``deploy.simulator.camera``.  ``outcome`` is ``face``, or the
    reason for which the event has to be rejected.
    """

    event_id: str
    path: str
    atm_id: str
    captured_at: Instant
    session_id: str | None = None
    card_token: str | None = None
    amount: Decimal | None = None
    transaction_type: str | None = None
    person: str | None = None
    bystander: str | None = None
    portrait: str | None = None
    mask: MaskKind | None = None
    disturbances: tuple[str, ...] = ()
    outcome: str = FACE

    @property
    def reason(self) -> Reason | None:
        """Why the event is to be rejected; None when it is not."""
        return None if self.outcome == FACE else Reason(self.outcome)


class TruePerson(Record):
    """One person's day: the part played (``story``), and how much of it there is."""

    person: str
    story: str
    visits: int
    pictures: int
    atms: int
    cards: int


class Who(StrEnum):
    """What an alert is about."""

    PERSON = "person"
    ATM = "atm"
    CARD = "card"


class ExpectedAlert(Record):
    """At least one alert of this rule is to be raised about this person, machine or card token."""

    rule_id: str
    about: Who
    subject: str


class GroundTruth(Record):
    """The whole day.  ``left_out`` are people of whom no picture shows a face large enough to be drawn."""

    seed: int
    day: date
    zone: str
    currency: str
    atms: tuple[TrueAtm, ...]
    people: tuple[TruePerson, ...]
    events: tuple[TrueEvent, ...]
    expected_alerts: tuple[ExpectedAlert, ...]
    left_out: tuple[str, ...] = ()


def read_truth(path: Path) -> GroundTruth:
    """The ground truth in the file ``path``.  Raises ``UsageError`` when it is not one."""
    try:
        return GroundTruth.model_validate_json(path.read_bytes())
    except OSError as error:
        message = f"{path}: can't be read: {error.strerror}"
        raise UsageError(message) from error
    except ValidationError as error:
        message = f"{path}: is not a simulation's ground truth ({error.error_count()} faults)"
        raise UsageError(message) from error
