"""The view that dashboards read: a projection of the journal, never the truth, and what it owes its readers.

Sightings, unusable pictures and alerts become *changes*, which a store folds in the order of the journal, once
each: a store keeps, for each partition, the offset up to which it has folded, in the same transaction as the rows.
So a view that was lost is built again from the journal, and a change that comes again changes nothing.

The view holds no vector, pixel, card token or picture's place.  Counts of cards and ATMs are exact, which takes
a set of what was counted: its members are *marks*, BLAKE2b digests (RFC 7693) under the installation's secret of
person and card together.  They can't be turned back into tokens without the secret, and do not show who shares a
card.  A HyperLogLog needs no set, but errs, and a fraud rule's numbers must not differ from the dashboard's.
"""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Protocol

from pydantic import Field

from alerts.records import Alert, Queue, Severity
from clustering.records import Count, Sighting, Usage
from clustering.visits import session_of
from embedder.records import Finite, Unit
from ingest.errors import AtmwatchError
from ingest.reasons import UNUSABLE, Reason
from ingest.records import Instant, Name, Record, Rejection, mask_card_numbers

MIN_KEY, MAX_KEY = 16, 64
"""Bytes of the secret under which cards are digested."""

MOST_ROWS = 1000
"""How many rows one read gives at most."""

_CARD_SUBJECT = re.compile(r"card-[0-9a-f]{32}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class SeenVisit(Record):
    """One visit of one person, as far as its pictures have come; ``event_id`` is the latest picture's."""

    identity_id: Name
    number: Annotated[int, Field(ge=1)]
    atm_id: Name
    session_id: str | None = None
    start: Instant
    end: Instant
    pictures: Annotated[int, Field(ge=1)]
    event_id: Name

    @property
    def order(self) -> tuple[datetime, str, datetime, str, str]:
        """Sort key: when it ended, then what makes the order the same everywhere."""
        return self.end, self.identity_id, self.start, self.atm_id, self.session_id or ""


class OpenAlert(Record):
    """The last alert of one rule about one subject, without its evidence: ``pictures`` says how many there are.

    The subject of a rule per card is digested once more, under the installation's secret.
    """

    alert_id: Name
    rule_id: Name
    title: str
    severity: Severity
    queue: Queue
    subject: Name
    episode: Annotated[int, Field(ge=1)]
    identity_id: Name | None = None
    number: int | None = None
    atm_id: Name | None = None
    raised_at: Instant
    window_start: Instant
    measured: dict[str, Finite]
    limits: dict[str, Finite]
    confidence: Unit
    held: str | None = None
    advice: str = ""
    pictures: Count

    @property
    def key(self) -> str:
        """What a later alert must share to take this one's place."""
        return f"{self.rule_id}\x1f{self.subject}"


class AtmHealth(Record):
    """What one ATM's camera gave: ``pictures`` = ``accepted`` + the sum of ``unusable``."""

    atm_id: Name
    pictures: Count = 0
    accepted: Count = 0
    unusable: dict[Reason, Count] = Field(default_factory=dict)
    last_picture: Instant | None = None


class Totals(Record):
    """The whole scope, summed up; ``alerts`` counts every alert ever raised, ``severities`` splits it."""

    pictures: Count = 0
    accepted: Count = 0
    unusable: dict[Reason, Count] = Field(default_factory=dict)
    identities: Count = 0
    visits: Count = 0
    alerts: Count = 0
    severities: dict[Severity, Count] = Field(default_factory=dict)
    last_picture: Instant | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A person was seen: the journal's ``offset``, the picture, and the marks of its ATM and card."""

    offset: int
    identity_id: str
    number: int
    visits: int
    atm_id: str
    at: datetime
    session_id: str | None
    event_id: str
    atm_mark: str
    card_mark: str | None


@dataclass(frozen=True, slots=True)
class Unusable:
    """A picture showed no face that can be compared."""

    offset: int
    reason: Reason
    atm_id: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert was raised."""

    offset: int
    alert: OpenAlert


Change = Seen | Unusable | Raised


class Projection:
    """Turns the journal's records of one ``scope`` into changes.  Pure; safe to use from several threads.

    ``key`` is the installation's secret, 16 to 64 bytes; another key takes a rebuild.  Raises ``ValueError``.
    """

    def __init__(self, scope: str, key: bytes) -> None:
        if not MIN_KEY <= len(key) <= MAX_KEY:
            message = f"the view's secret must have {MIN_KEY} to {MAX_KEY} bytes"
            raise ValueError(message)
        self.scope = scope
        self._key = key

    def change(self, record: Record, offset: int) -> Change | None:
        """What ``record``, at ``offset`` of its partition, changes; None when it is not the view's concern."""
        if isinstance(record, Sighting) and record.event.scope == self.scope:
            return self._seen(record, offset)
        if isinstance(record, Rejection) and record.reason in UNUSABLE and (record.scope or "default") == self.scope:
            atm_id = None if record.atm_id is None else _name(record.atm_id)
            return Unusable(offset, record.reason, atm_id, record.captured_at)
        if isinstance(record, Alert) and record.scope == self.scope:
            return Raised(offset, self._open(record))
        return None

    def _seen(self, record: Sighting, offset: int) -> Seen:
        event, who = record.event, record.identity_id
        return Seen(
            offset,
            who,
            record.number,
            record.visits,
            event.atm_id,
            event.captured_at,
            session_of(event),
            event.event_id,
            atm_mark=self._mark("atm", who, event.atm_id),
            card_mark=None if event.card_token is None else self._mark("card", who, event.card_token),
        )

    def _open(self, alert: Alert) -> OpenAlert:
        fields = {name: getattr(alert, name) for name in OpenAlert.model_fields if name not in ("subject", "pictures")}
        subject = alert.subject
        if _CARD_SUBJECT.fullmatch(subject):
            subject = f"card-{self._mark('subject', subject)}"
        return OpenAlert(**fields, subject=subject, pictures=len(alert.evidence))

    def _mark(self, *parts: str) -> str:
        # Base 32, because other digits can come out as what looks like a card number.
        text = "\x1f".join(parts).encode()
        digest = blake2b(text, digest_size=15, key=self._key, person=b"atmwatch-view").digest()
        return b32encode(digest).decode().lower()


def _name(text: str) -> str:
    """``text`` as a valid identifier: a rejection's fields may be as broken as what it rejects."""
    return mask_card_numbers(_UNPRINTABLE.sub("_", text)[:200]).strip() or "unknown"


class ViewLost(AtmwatchError):
    """The view is not where its writer left it: flushed, restored from older days, or replaced by a rebuild."""


class Order(StrEnum):
    """How people are listed, the first named first: seen last, or most visits."""

    LAST_SEEN = "last_seen"
    VISITS = "visits"


class View(Protocol):
    """What consumers read.  Each read is consistent in itself; a view that is not there reads as an empty one.

    ``limit`` is at most ``MOST_ROWS``; more is taken as that.  Raises ``Unavailable``, and ``Corrupt`` for rows
    that this version can't have written.
    """

    def totals(self) -> Totals: ...

    def usage(self, identity_id: str) -> Usage | None: ...

    def usages(self, order: Order, limit: int, offset: int = 0) -> list[Usage]:
        """People in the order asked for, from the ``offset``-th on; ties by identity id, last first."""
        ...

    def visits(self, identity_id: str) -> list[SeenVisit]:
        """One person's last visits, newest first."""
        ...

    def recent_visits(self, limit: int) -> list[SeenVisit]:
        """Everybody's last visits, newest first: as many at most as the view keeps of one person's."""
        ...

    def alerts(self, limit: int) -> list[OpenAlert]:
        """The last alert of each rule about each subject, newest first."""
        ...

    def atm(self, atm_id: str) -> AtmHealth | None: ...

    def atms(self, limit: int, offset: int = 0) -> list[AtmHealth]:
        """ATMs in the order of their ids, from the ``offset``-th on."""
        ...


class Draft(Protocol):
    """A view in the making, which no reader sees."""

    def position(self, partition: str) -> int | None: ...

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None: ...

    def publish(self) -> None:
        """Put it in the place of the view that readers see, at once.  Raises ``ViewLost`` if it was given up."""
        ...


class ViewStore(View, Protocol):
    """Where a view lies.  Raises ``Unavailable`` from every method; owned by one thread."""

    def published(self) -> bool:
        """Whether there is a view, be it empty."""
        ...

    def position(self, partition: str) -> int | None:
        """The offset up to which the partition is folded in; None before the first, or when the view is lost."""
        ...

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None:
        """Fold in the journal's stretch behind ``after`` up to ``offset``, and keep ``offset``: both or neither.

        ``changes`` are those of the stretch, offsets rising.  One at or below the stored position changes
        nothing, so stretches may come again, whole or in part.  Raises ``ViewLost``, with nothing changed, when
        the view does not reach up to ``after``: the stretch would leave a gap.
        """
        ...

    def clear(self) -> None:
        """Remove the view, and a draft of it."""
        ...

    def draft(self) -> Draft:
        """An empty view to build beside the one that readers see.

        There is one at a time: raises ``Unavailable`` while another process is at work on one.
        """
        ...
