"""What one use of a machine is, and how uses are counted: a count is the cardinality of a set.

A *visit* is all pictures of one person at one ATM that carry the same session, or, where they carry none, that
lie less than a gap apart, each from the one before.  Pictures with and without a session never share a visit.
Everything here folds sets of pictures, so neither the order in which they come nor how often changes a count;
a late picture may join two visits into one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from sys import intern

from ingest.records import AtmEvent, ClockSource

VISIT_GAP = timedelta(seconds=120)
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a person: what a visit is made of.  ``captured_at`` has a zone."""

    face_id: str
    atm_id: str
    captured_at: datetime
    session_id: str | None = None
    card_token: str | None = None
    amount: Decimal | None = None
    transaction_type: str | None = None


in_time = attrgetter("captured_at", "face_id")
"""Sort key: event time, ties by id, so that equal sets have one order."""


def session_of(event: AtmEvent) -> str | None:
    """The session that a picture belongs to.

    A picture whose only time is its file's says nothing of when it was taken, so that nothing can be told from a
    gap: without a session it is one of its own, and counts as one visit.
    """
    if event.session_id is None and event.clock is ClockSource.FILE:
        return f"picture {event.event_id}"
    return event.session_id


def frame_of(face_id: str, event: AtmEvent) -> Frame:
    """The part of ``event`` that visits are made of; what many pictures share is kept once."""
    return Frame(
        face_id,
        intern(event.atm_id),
        event.captured_at,
        session_of(event),
        event.card_token and intern(event.card_token),
        event.amount,
        event.transaction_type and intern(event.transaction_type),
    )


class VisitNumbers:
    """Tells which visit each picture belongs to, when asked in the order of time.

    Only pictures in the same lane (an ATM, or a person at an ATM) share a visit.  Numbers go up from 0 in the
    order of first pictures.  A part of the pictures that is contiguous in time makes the same visits as the
    whole does in that part.
    """

    __slots__ = ("_count", "_gap", "_loose", "_sessions")

    def __init__(self, gap: timedelta) -> None:
        self._gap = gap
        self._sessions: dict[tuple[Hashable, str], int] = {}
        self._loose: dict[Hashable, tuple[int, datetime]] = {}
        self._count = 0

    def next(self, frame: Frame, lane: Hashable) -> int:
        """The number of ``frame``'s visit; no later picture than it was asked about before."""
        if frame.session_id is not None:
            number = self._sessions.setdefault((lane, frame.session_id), self._count)
        else:
            last = self._loose.get(lane)
            near = last is not None and frame.captured_at - last[1] < self._gap
            number = last[0] if last and near else self._count
            self._loose[lane] = number, frame.captured_at
        if number == self._count:
            self._count += 1
        return number


def transactions(frames: Iterable[Frame]) -> dict[tuple[str | None, str | None], Decimal]:
    """The amounts moved in one visit, by card and transaction type.

    Every picture of a transaction repeats its amount, so an amount counts once per card and type: the largest
    that a picture named.  A picture that does not name card or type is taken to show the visit's other
    transaction that agrees with it in the rest, if there is one.
    """
    largest: dict[tuple[str | None, str | None], Decimal] = {}
    for frame in frames:
        if frame.amount is not None:
            key = frame.card_token, frame.transaction_type
            largest[key] = max(largest.get(key, NOTHING), frame.amount)
    moved: dict[tuple[str | None, str | None], Decimal] = {}
    for key in sorted(largest, key=lambda k: (k.count(None), k[0] or "", k[1] or "")):
        same = next((k for k in moved if all(a in (None, b) for a, b in zip(key, k, strict=True))), key)
        moved[same] = max(moved.get(same, NOTHING), largest[key])
    return moved


@dataclass(frozen=True, slots=True)
class Visit:
    """One use of one ATM by one person; ``frames`` are sorted by time, ``start`` and ``end`` their bounds."""

    atm_id: str
    session_id: str | None
    start: datetime
    end: datetime
    frames: tuple[Frame, ...]

    @property
    def cards(self) -> frozenset[str]:
        """The different card tokens used."""
        return frozenset(frame.card_token for frame in self.frames if frame.card_token is not None)

    @property
    def amount(self) -> Decimal:
        """The sum of its ``transactions``; 0 when no picture names an amount.  Currencies are not told apart."""
        return sum(transactions(self.frames).values(), NOTHING)


def fold(frames: Iterable[Frame], gap: timedelta = VISIT_GAP) -> list[Visit]:
    """The visits that one person's ``frames`` make, by start; repeated pictures count once."""
    ordered = sorted({frame.face_id: frame for frame in frames}.values(), key=in_time)
    numbers = VisitNumbers(gap)
    groups: dict[int, list[Frame]] = {}
    for frame in ordered:
        groups.setdefault(numbers.next(frame, frame.atm_id), []).append(frame)
    return [Visit(g[0].atm_id, g[0].session_id, g[0].captured_at, g[-1].captured_at, tuple(g)) for g in groups.values()]


class VisitBook:
    """One person's pictures, and the visits that they make.  Owned by one thread.

    ``count``, ``atms`` and ``cards`` are kept up to date as pictures come: O(log n) each, and O(1) to read.
    ``visits`` folds anew: O(n log n).  Raises ``ValueError`` for a gap that is not positive.
    """

    __slots__ = ("_atms", "_cards", "_count", "_floor", "_frames", "_gap", "_loose", "_sessions")

    def __init__(self, gap: timedelta = VISIT_GAP) -> None:
        if gap <= timedelta(0):
            message = "the visit gap must be positive"
            raise ValueError(message)
        self._gap = gap
        self._floor: datetime | None = None
        self._clear()

    def _clear(self) -> None:
        self._frames: dict[str, Frame] = {}
        self._sessions: set[tuple[str, str]] = set()
        self._loose: dict[str, list[Frame]] = {}
        self._atms: set[str] = set()
        self._cards: set[str] = set()
        self._count = 0

    def add(self, frame: Frame) -> bool:
        """Count ``frame`` in; False, and nothing changes, when it is known or older than what was expired."""
        if frame.face_id in self._frames or (self._floor is not None and frame.captured_at < self._floor):
            return False
        self._frames[frame.face_id] = frame
        self._atms.add(frame.atm_id)
        if frame.card_token is not None:
            self._cards.add(frame.card_token)
        if frame.session_id is None:
            self._count += self._insert(self._loose.setdefault(frame.atm_id, []), frame)
        else:
            key = frame.atm_id, frame.session_id
            self._count += key not in self._sessions
            self._sessions.add(key)
        return True

    def _insert(self, line: list[Frame], frame: Frame) -> int:
        """Put ``frame`` in its place in ``line``; by how many visits that changes the count: 1, 0 or -1."""
        if not line or line[-1].captured_at < frame.captured_at:  # by far the most come in time
            line.append(frame)
            return 1 - (len(line) > 1 and self._near(line[-2], frame))
        at = bisect_left(line, in_time(frame), key=in_time)
        before = at > 0 and self._near(line[at - 1], frame)
        after = at < len(line) and self._near(frame, line[at])
        joined = 0 < at < len(line) and self._near(line[at - 1], line[at])
        line.insert(at, frame)
        return 1 - before - after + joined

    def _near(self, earlier: Frame, later: Frame) -> bool:
        return later.captured_at - earlier.captured_at < self._gap

    @property
    def count(self) -> int:
        """How many visits there are."""
        return self._count

    @property
    def atms(self) -> frozenset[str]:
        """The ATMs visited."""
        return frozenset(self._atms)

    @property
    def cards(self) -> frozenset[str]:
        """The card tokens used."""
        return frozenset(self._cards)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._frames)

    def visits(self, since: datetime | None = None, until: datetime | None = None) -> list[Visit]:
        """The visits by start, those alone that reach into ``since`` to ``until``, both included."""
        return [
            visit
            for visit in fold(self._frames.values(), self._gap)
            if (since is None or visit.end >= since) and (until is None or visit.start <= until)
        ]

    def expire(self, before: datetime) -> int:
        """Drop the visits that ended before ``before``, and from now on take nothing older; how many went.

        A visit that reaches over ``before`` stays whole.
        """
        kept = [visit for visit in self.visits() if visit.end >= before]
        gone = self._count - len(kept)
        floor = before if self._floor is None else max(self._floor, before)
        self._floor = None  # so that a kept visit may hold pictures from before it
        if gone:
            self._clear()
            for visit in kept:
                for frame in visit.frames:
                    self.add(frame)
        self._floor = floor
        return gone

    @property
    def frames(self) -> list[Frame]:
        """All pictures, by time."""
        return sorted(self._frames.values(), key=in_time)

    @property
    def floor(self) -> datetime | None:
        """The time before which nothing is taken any more."""
        return self._floor

    @classmethod
    def restored(cls, frames: Iterable[Frame], floor: datetime | None, gap: timedelta = VISIT_GAP) -> VisitBook:
        """The book that had these ``frames`` and this ``floor``."""
        book = cls(gap)
        for frame in frames:
            book.add(frame)
        book._floor = floor
        return book
