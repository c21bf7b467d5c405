"""What the rules remember of a person, a card or a machine: its pictures in event time, and no longer than needed."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from sys import intern
from typing import Any

from alerts.conditions import FACE, UNUSABLE, alert_mark
from alerts.records import Alert
from alerts.rules import Per
from clustering.records import Sighting
from clustering.visits import Frame, VisitNumbers, in_time, session_of
from ingest.reasons import UNUSABLE as UNUSABLE_REASONS
from ingest.records import Record, Rejection, mask_card_numbers

MAX_PICTURES = 5000
"""Per subject.  Thresholds end far below; only a camera that sends film instead of pictures gets there."""

Counted = tuple[int, "Picture"]
"""The number of a picture's visit, which is one person's at one ATM, and the picture."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_moment = attrgetter("captured_at")


@dataclass(frozen=True, slots=True)
class Picture(Frame):
    """One thing to count: a sighting, an unusable picture, or an alert on which another rule builds (``mark``).

    ``card_token`` is the token's digest.  ``local_minute`` counts from midnight at the terminal, None without a
    zone; ``place`` is latitude and longitude in degrees.
    """

    mark: str = FACE
    event_id: str = ""
    source: str = ""
    identity_id: str | None = None
    number: int | None = None
    similarity: float | None = None
    confidence: float = 1.0
    local_minute: int | None = None
    place: tuple[float, float] | None = None

    @property
    def lane(self) -> tuple[str, str | None, str]:
        """Pictures in different lanes never share a visit."""
        return self.mark, self.identity_id, self.atm_id

    def dump(self) -> list[Any]:
        """Its fields as plain JSON values."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values["captured_at"] = self.captured_at.isoformat()
        values["amount"] = None if self.amount is None else str(self.amount)
        return list(values.values())

    @classmethod
    def load(cls, content: Iterable[Any]) -> Picture:
        """The picture that ``dump`` gave.  Raises ``ValueError``, ``TypeError`` or ``ArithmeticError``."""
        values = dict(zip((f.name for f in fields(cls)), content, strict=True))
        values["captured_at"] = datetime.fromisoformat(values["captured_at"])
        values["amount"] = None if values["amount"] is None else Decimal(values["amount"])
        values["place"] = values["place"] and tuple(values["place"])
        return cls(**values)


def card_digest(token: str) -> str:
    """What stands for a card in alerts and snapshots: 128 bits from which the token can't be read."""
    return "card-" + blake2b(token.encode(), digest_size=16, person=b"atmwatch-card").hexdigest()


def picture_of(record: Record) -> tuple[str, Picture] | None:
    """Scope and picture of a Sighting, of a Rejection for want of a usable face, or of an Alert; else None."""
    if isinstance(record, Sighting):
        return record.event.scope, _sighted(record)
    if isinstance(record, Rejection):
        return _unusable(record)
    if isinstance(record, Alert) and record.identity_id and record.atm_id and record.evidence:
        last = record.evidence[-1]
        return record.scope, Picture(
            record.alert_id,
            record.atm_id,
            record.raised_at,
            mark=alert_mark(record.rule_id),
            event_id=last.event_id,
            source=last.source,
            identity_id=record.identity_id,
            number=record.number,
            similarity=last.similarity,
            confidence=record.confidence,
        )
    return None


def _sighted(record: Sighting) -> Picture:
    # What many pictures share is kept once: an alerter holds every picture of its windows.
    event, spot = record.event, record.event.atm_location
    local = event.local_time
    return Picture(
        record.face_id,
        intern(event.atm_id),
        event.captured_at,
        session_of(event),
        event.card_token and intern(card_digest(event.card_token)),
        event.amount,
        event.transaction_type and intern(event.transaction_type.casefold()),
        event_id=event.event_id,
        source=event.source,
        identity_id=intern(record.identity_id),
        number=record.number,
        similarity=record.similarity,
        confidence=record.confidence,
        local_minute=local.hour * 60 + local.minute if event.zone else None,
        place=_place(spot.lat, spot.lon) if spot else None,
    )


@lru_cache(maxsize=16_384)
def _place(latitude: float, longitude: float) -> tuple[float, float]:
    return latitude, longitude


def _unusable(record: Rejection) -> tuple[str, Picture] | None:
    if record.reason not in UNUSABLE_REASONS or record.atm_id is None or record.captured_at is None:
        return None
    event_id = _name(record.event_id or record.source)
    picture = Picture(
        f"{UNUSABLE}/{event_id}",
        _name(record.atm_id),
        record.captured_at,
        mark=UNUSABLE,
        event_id=event_id,
        source=mask_card_numbers(record.source),
    )
    return record.scope or "default", picture


def _name(text: str) -> str:
    """``text`` as a valid identifier: a rejection's fields may be as broken as what it rejects."""
    return mask_card_numbers(_UNPRINTABLE.sub("_", text)[:200]).strip() or "unknown"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule watches: the ledger that holds its pictures, and, per person and ATM, the ATM."""

    name: str
    kind: Per
    key: str
    atm_id: str | None = None


def subject_of(per: Per, picture: Picture) -> Subject | None:
    """Whom or what ``picture`` concerns in a rule of this kind; None when it does not say."""
    if per is Per.ATM:
        return Subject(picture.atm_id, Per.ATM, picture.atm_id)
    if per is Per.CARD:
        card = picture.card_token
        return None if card is None else Subject(card, Per.CARD, card)
    person = picture.identity_id
    if person is None:
        return None
    if per is Per.IDENTITY:
        return Subject(person, Per.IDENTITY, person)
    name = f"{person}@{picture.atm_id}"
    if len(name) > 200:  # two long names do not fit the record's field for one
        name = blake2b(name.encode(), digest_size=16).hexdigest()
    return Subject(name, Per.IDENTITY, person, picture.atm_id)


class Ledger:
    """The pictures of one person, card or machine, by time, and the visits that they make.  Owned by one thread.

    Pictures at or before ``floor`` are gone, and are not taken again.
    """

    __slots__ = ("_gap", "_known", "_numbering", "_numbers", "floor", "newest", "pictures")

    def __init__(
        self,
        gap: timedelta,
        pictures: Iterable[Picture] = (),
        *,
        floor: datetime | None = None,
        newest: datetime | None = None,
    ) -> None:
        self._gap = gap
        self.pictures = list(pictures)
        self._known = {picture.face_id for picture in self.pictures}
        self.floor = floor
        self.newest = newest
        self._number()

    def _number(self) -> None:
        self._numbering = VisitNumbers(self._gap)
        self._numbers = [self._numbering.next(picture, picture.lane) for picture in self.pictures]

    def takes(self, picture: Picture) -> bool:
        """Whether ``picture`` is new, and not older than what is remembered."""
        return picture.face_id not in self._known and (self.floor is None or picture.captured_at > self.floor)

    def add(self, picture: Picture, keep: timedelta) -> None:
        """Remember ``picture``, which it takes, and forget what lies ``keep`` or further behind the newest."""
        self._known.add(picture.face_id)
        if not self.pictures or in_time(self.pictures[-1]) < in_time(picture):
            self.pictures.append(picture)
            self._numbers.append(self._numbering.next(picture, picture.lane))
        else:  # late: it may join visits, so all are numbered anew
            insort(self.pictures, picture, key=in_time)
            self._number()
        if self.newest is None or picture.captured_at > self.newest:
            self.newest = picture.captured_at
        if self.pictures[0].captured_at <= self.newest - keep:
            self._forget(self.newest - keep)
        if len(self.pictures) > MAX_PICTURES:
            self._forget(self.pictures[0].captured_at)

    def _forget(self, floor: datetime) -> None:
        cut = bisect_right(self.pictures, floor, key=_moment)
        self._known.difference_update(picture.face_id for picture in self.pictures[:cut])
        del self.pictures[:cut], self._numbers[:cut]
        self.floor = floor

    def until(self, end: datetime, window: timedelta) -> list[Counted]:
        """The pictures of the window that ends at ``end``: after its start, up to and with its end."""
        low = bisect_right(self.pictures, end - window, key=_moment)
        return self._part(low, bisect_right(self.pictures, end, key=_moment))

    def before(self, end: datetime, window: timedelta) -> list[Counted]:
        """The pictures of the window that ends just before ``end``."""
        low = bisect_left(self.pictures, end - window, key=_moment)
        return self._part(low, bisect_left(self.pictures, end, key=_moment))

    def between(self, start: datetime, end: datetime) -> list[Picture]:
        """The pictures from ``start`` to ``end``, both included."""
        low = bisect_left(self.pictures, start, key=_moment)
        return self.pictures[low : bisect_right(self.pictures, end, key=_moment)]

    def _part(self, low: int, high: int) -> list[Counted]:
        return list(zip(self._numbers[low:high], self.pictures[low:high], strict=True))
