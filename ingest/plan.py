"""What a replay will read, decided before it starts: every input in order, and what was refused on sight."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import blake2b, sha256
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from ingest.claim_check import file_uri, printable
from ingest.errors import BadRecord, UsageError
from ingest.limits import DEFAULT_LIMITS, ImageLimits
from ingest.reasons import Reason
from ingest.records import AtmEvent, CardNumberFound, ClockSource, Rejection

if TYPE_CHECKING:
    from hashlib import _Hash

STAGE = "ingest"
CLOCK_TOLERANCE = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How inputs are read.

    ``timezone`` is the IANA zone of times that carry none (a manifest's, then required; Exif's, by default UTC).
    ``frame_every_s`` is a video's step in seconds.  ``now`` is what is later than now (the machine's clock).
    ``roots`` are further folders in which a manifest's pictures may lie.  ``skipped`` folders are not walked: what a
    run writes is not its input.
    """

    timezone: str | None = None
    frame_every_s: float = 1.0
    now: datetime | None = None
    scope: str = "default"
    limits: ImageLimits = DEFAULT_LIMITS
    max_files: int = 5_000_000
    roots: tuple[Path, ...] = ()
    skipped: tuple[Path, ...] = ()

    @property
    def zone(self) -> tzinfo | None:
        """The zone of ``timezone``.  Raises UsageError for one that does not exist."""
        if self.timezone is None:
            return None
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = f"{self.timezone!r} is not an IANA time zone such as Europe/Oslo"
            raise UsageError(message) from error

    @property
    def latest(self) -> datetime:
        """The last moment that is not in the future, clocks being what they are."""
        return (self.now or datetime.now(UTC)) + CLOCK_TOLERANCE

    def check(self) -> None:
        """Raise UsageError when an option makes no sense."""
        if not 0.001 <= self.frame_every_s <= 86_400:
            message = f"a video's step must be 0.001 to 86400 seconds, not {self.frame_every_s:g}"
            raise UsageError(message)
        if self.now is not None and self.now.tzinfo is None:
            message = "now has no time zone"
            raise UsageError(message)
        _ = self.zone


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a folder: ``path`` relative to it, ``at_us`` microseconds of captured_at since 1970 UTC.

    Small, because there may be millions; its event is made when it is its turn.
    """

    at_us: int
    path: str
    atm_id: str
    clock: ClockSource

    @property
    def event_id(self) -> str:
        return path_id(self.path)


@dataclass(frozen=True, slots=True)
class Described:
    """An event that is known in full, as JSON: a manifest's row, or a video's frame."""

    at_us: int
    event_id: str
    json: bytes


Entry = Picture | Described


@dataclass(slots=True)
class Plan:
    """Every input of a replay, in order: first the ``rejections``, then ``entries`` by captured_at and event_id.

    An input's number in this order is its offset.  ``ignored`` counts files that are no input at all, and
    ``assumed_visits`` the pictures that count as one visit each, because nothing says when they were taken.
    Not to be shared between threads.
    """

    root: Path
    entries: list[Entry]
    rejections: tuple[Rejection, ...] = ()
    scope: str = "default"
    limits: ImageLimits = DEFAULT_LIMITS
    ignored: int = 0
    assumed_visits: int = 0
    _hashed: int = field(default=0, init=False, repr=False, compare=False)
    _hash: _Hash = field(default_factory=sha256, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rejections) + len(self.entries)

    def digest(self, upto: int) -> str:
        """The SHA-256 (hex) of the inputs ``[0:upto]``: ids and times of entries, sources of rejections.

        A run that is resumed compares it with that of the inputs it has already used.  Asking for more and more
        inputs costs each input once.  Raises ValueError beyond the end.
        """
        if not 0 <= upto <= len(self):
            message = f"the plan has {len(self)} inputs, not {upto}"
            raise ValueError(message)
        if upto < self._hashed:
            self._hashed, self._hash = 0, sha256()
        first = len(self.rejections)
        for number in range(self._hashed, upto):
            if number < first:
                refused = self.rejections[number]
                line = f"{refused.reason}\0{refused.source}\n"
            else:
                entry = self.entries[number - first]
                line = f"{entry.at_us}\0{entry.event_id}\n"
            self._hash.update(line.encode())
        self._hashed = upto
        return self._hash.hexdigest()

    def event(self, entry: Entry) -> AtmEvent | Rejection:
        """The event of an entry, or why it can't be one: a name that is too long, or holds a card number."""
        if isinstance(entry, Described):
            return AtmEvent.model_validate_json(entry.json)
        try:
            return AtmEvent(
                event_id=entry.event_id,
                atm_id=entry.atm_id,
                captured_at=instant(entry.at_us),
                clock=entry.clock,
                scope=self.scope,
                image_uri=file_uri(self.root / entry.path),
            )
        except ValidationError as error:
            return rejection(why_invalid(error, Reason.BAD_RECORD), printable(entry.path))


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Entries by captured_at, those of one instant by event_id."""
    by_time = sorted(entries, key=attrgetter("at_us"))
    ordered: list[Entry] = []
    for _, group in groupby(by_time, key=attrgetter("at_us")):
        same = list(group)
        ordered += sorted(same, key=attrgetter("event_id")) if len(same) > 1 else same
    return ordered


def path_id(*parts: str) -> str:
    """An event id that depends on these texts alone: the same wherever and whenever a folder is read."""
    digest = blake2b(digest_size=12)
    digest.update(b"\0".join(os.fsencode(part) for part in parts))
    return digest.hexdigest()


def micros(at: datetime) -> int:
    """An aware time as microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def instant(at_us: int) -> datetime:
    """The time in UTC that is ``at_us`` microseconds after 1970.  Raises OverflowError outside of years 1-9999."""
    return _EPOCH + at_us * _MICROSECOND


def described(event: AtmEvent) -> Described:
    """An entry that holds the whole event, but for the pixels."""
    content = event.model_dump_json(exclude_none=True, exclude_defaults=True).encode()
    return Described(micros(event.captured_at), event.event_id, content)


def rejection(error: BadRecord, source: str, event: AtmEvent | None = None) -> Rejection:
    """The line that a refused input leaves.  ``source`` must be printable."""
    if event is None:
        return Rejection(reason=error.reason, source=source, detail=error.detail, stage=STAGE)
    return Rejection(
        reason=error.reason,
        source=source,
        detail=error.detail,
        stage=STAGE,
        event_id=event.event_id,
        atm_id=event.atm_id,
        scope=event.scope,
        captured_at=event.captured_at,
    )


def why_invalid(error: ValidationError, reason: Reason) -> BadRecord:
    """Which fields of a record are wrong, without repeating what they hold."""
    wrong: list[str] = []
    for found in error.errors(include_url=False, include_input=False):
        if isinstance(found.get("ctx", {}).get("error"), CardNumberFound):
            where = ".".join(map(str, found["loc"]))
            return BadRecord(Reason.RAW_CARD_NUMBER, f"{where} holds a card number; send a token instead.")
        what = found["msg"].removeprefix("Value error, ")
        wrong.append(f"{'.'.join(map(str, found['loc']))}: {what[:1].lower()}{what[1:]}")
    return BadRecord(reason, "; ".join(wrong[:5]) + ".")
