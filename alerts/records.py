"""What the alert stage tells people: a rule crossed by a person, a card or a machine, with the evidence."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from embedder.records import Finite, Unit
from ingest.records import Instant, Name, Position, Record


class Severity(StrEnum):
    """How soon somebody should look, least first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Queue(StrEnum):
    """Who should look: the fraud team, or whoever keeps the data and cameras in order."""

    FRAUD = "fraud"
    DATA_QUALITY = "data_quality"


class Evidence(Record):
    """One picture that the alert rests on."""

    event_id: Name
    atm_id: Name
    captured_at: Instant
    source: str
    identity_id: Name | None = None
    similarity: Finite | None = None
    confidence: Unit = 1.0


class Alert(Record):
    """A rule's threshold was crossed.

    ``alert_id`` derives from rule, subject and episode, so a replay raises the same alert again and a consumer
    can drop it as a duplicate.  ``subject`` is what the rule watches: an identity, an identity at one ATM, a
    card token's digest or an ATM.  ``measured`` holds what the rule measured when it crossed, and ``limits``
    what it allows.  ``confidence`` is the probability that its weakest link between two pictures is right.
    ``held`` says why the alert must not be acted on yet.  ``raised_at`` is event time.
    """

    alert_id: Name
    rule_id: Name
    title: str
    severity: Severity
    queue: Queue = Queue.FRAUD
    subject: Name
    episode: Annotated[int, Field(ge=1)]
    identity_id: Name | None = None
    number: int | None = None
    atm_id: Name | None = None
    scope: Name = "default"
    raised_at: Instant
    window_start: Instant
    measured: dict[str, Finite]
    limits: dict[str, Finite]
    confidence: Unit
    held: str | None = None
    advice: str = ""
    evidence: tuple[Evidence, ...]
    position: Position
