"""One day at a bank's ATMs, decided before any pixel is drawn: who comes when, and what each picture will be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from zoneinfo import ZoneInfo

from numpy.random import Generator

from alerts.rules import RuleBook
from deploy.simulator.city import place_atms, travel_time
from deploy.simulator.disturb import choose_light, choose_shot
from deploy.simulator.options import SimulationOptions, chance
from deploy.simulator.oracle import Oracle
from deploy.simulator.stories import Part, Use, cast
from deploy.simulator.truth import GroundTruth, TrueAtm, TrueEvent, TruePerson
from embedder.synthetic_masks import MaskKind
from ingest.reasons import Reason

BETWEEN_USES = (95.0, 130.0)
"""Seconds from one session's start to the next of the same person at the same machine."""
BETWEEN_PICTURES = (11.0, 19.0)
MOST_PICTURES = 4
GUARD = timedelta(seconds=75)
"""How long a machine stays free between two people."""
BYSTANDER_SHARE = 0.14
EMPTY_LOBBIES = 14
COVERED_PICTURES, COVERED_EVERY = 14, 41.0
BROKEN = (Reason.EMPTY_FILE, Reason.TRUNCATED_IMAGE, Reason.NOT_AN_IMAGE)
BROKEN_OF_EACH = 2


@dataclass(frozen=True, slots=True)
class Session:
    """One use that found its place in the day."""

    person: str
    atm: int
    use: Use
    starts: tuple[datetime, ...]


def plan_day(
    portraits: Mapping[str, Sequence[str]], options: SimulationOptions, book: RuleBook, left_out: Sequence[str] = ()
) -> GroundTruth:
    """The day of the people in ``portraits`` (name to the names of their pictures), and what it deserves by ``book``.

    Pure, and the same for the same arguments.  The more portraits someone has, the more there is for them to do.
    """
    atms = place_atms(options.atms)
    people = sorted(portraits, key=lambda person: (-min(len(portraits[person]), 3), person))
    parts = cast(people, options.atms, chance(options.seed, "cast"))
    diary = _Diary(atms, options)
    sessions = [session for part in parts for session in diary.book(part)]
    events = list(_pictures(sessions, portraits, atms, options))
    events = _with_bystanders(events, people, options)
    events += diary.odd_events()
    ordered = tuple(sorted(events, key=lambda event: (event.captured_at, event.event_id)))
    return GroundTruth(
        seed=options.seed,
        day=options.day,
        zone=options.zone,
        currency=options.currency,
        atms=atms,
        people=tuple(sorted((_summed(part, sessions) for part in parts), key=lambda known: known.person)),
        events=ordered,
        expected_alerts=Oracle.of(ordered, atms, options.zone).expected(book),
        left_out=tuple(left_out),
    )


class _Diary:
    """Who is at which machine when: one person at a time, and nobody faster than the way takes."""

    def __init__(self, atms: Sequence[TrueAtm], options: SimulationOptions) -> None:
        self._atms = atms
        self._options = options
        self._taken: list[list[tuple[datetime, datetime]]] = [[] for _ in atms]
        self._midnight = datetime.combine(options.day, time(), ZoneInfo(options.zone))

    def at(self, minute: float) -> datetime:
        """So many minutes after the day's first midnight, in whole seconds."""
        zero = self._midnight.astimezone(ZoneInfo("UTC"))
        return zero + timedelta(seconds=round(minute * 60))

    def book(self, part: Part) -> list[Session]:
        """The sessions of a part's stops, each at the first time that machine and way allow."""
        rng = chance(self._options.seed, "diary", part.person)
        sessions: list[Session] = []
        left: datetime | None = None
        before = 0
        for stop in part.stops:
            earliest = self.at(stop.minute)
            if left is not None:
                arrival = left + travel_time(self._atms[before], self._atms[stop.atm]) + GUARD
                earliest = max(earliest, arrival)
            offsets, length = _rhythm(len(stop.uses), rng)
            start = self._free(stop.atm, earliest, length)
            for use, shots in zip(stop.uses, offsets, strict=True):
                sessions.append(Session(part.person, stop.atm, use, tuple(start + shot for shot in shots)))
            left, before = start + length, stop.atm
        return sessions

    def odd_events(self) -> list[TrueEvent]:
        """Empty lobbies, a covered camera and broken files, at times at which nobody is there."""
        rng = chance(self._options.seed, "odd")
        events = []
        for i in range(EMPTY_LOBBIES):
            atm = i % len(self._atms)
            at = self._free(atm, self.at(rng.uniform(6, 22.5) * 60), timedelta(seconds=5))
            events.append(self._odd(atm, at, Reason.NO_FACE, ("infrared",) if rng.random() < 0.3 else ()))
        atm = int(rng.integers(len(self._atms)))
        length = timedelta(seconds=COVERED_EVERY * COVERED_PICTURES)
        start = self._free(atm, self.at(rng.uniform(4.6, 5.2) * 60), length)
        for i in range(COVERED_PICTURES):
            at = start + timedelta(seconds=round(COVERED_EVERY * i + rng.uniform(0, 20)))
            events.append(self._odd(atm, at, Reason.CAMERA_OBSCURED))
        for i in range(BROKEN_OF_EACH * len(BROKEN)):
            atm = int(rng.integers(len(self._atms)))
            at = self._free(atm, self.at(rng.uniform(7, 22) * 60), timedelta(seconds=5))
            events.append(self._odd(atm, at, BROKEN[i % len(BROKEN)]))
        return events

    def _odd(self, atm: int, at: datetime, reason: Reason, disturbances: tuple[str, ...] = ()) -> TrueEvent:
        event = _event(self._atms[atm].atm_id, at)
        return event.model_copy(update={"outcome": reason.value, "disturbances": disturbances})

    def _free(self, atm: int, earliest: datetime, length: timedelta) -> datetime:
        """The first time from ``earliest`` on at which the machine is free for ``length``; takes it."""
        start = earliest
        for taken_from, taken_to in sorted(self._taken[atm]):
            if taken_from < start + length + GUARD and start < taken_to + GUARD:
                start = taken_to + GUARD
        self._taken[atm].append((start, start + length))
        return start


def _rhythm(uses: int, rng: Generator) -> tuple[list[list[timedelta]], timedelta]:
    """When pictures are taken, from the arrival on, for each of the uses; and how long it takes in all."""
    offsets, begin = [], 0.0
    for _ in range(uses):
        shots, second = [], begin
        for _ in range(int(rng.integers(2, MOST_PICTURES + 1))):
            shots.append(timedelta(seconds=round(second)))
            second += rng.uniform(*BETWEEN_PICTURES)
        offsets.append(shots)
        begin += rng.uniform(*BETWEEN_USES)
    return offsets, offsets[-1][-1] + timedelta(seconds=30)


def _pictures(
    sessions: Iterable[Session],
    portraits: Mapping[str, Sequence[str]],
    atms: Sequence[TrueAtm],
    options: SimulationOptions,
) -> Iterable[TrueEvent]:
    kinds = list(MaskKind)
    for session in sessions:
        atm_id = atms[session.atm].atm_id
        rng = chance(options.seed, "session", session.person, session.starts[0].isoformat())
        mask = kinds[int(rng.integers(len(kinds)))] if rng.random() < options.mask_share else None
        pictures = portraits[session.person]
        portrait = pictures[int(rng.integers(len(pictures)))]
        light = choose_light(session.starts[0].astimezone(ZoneInfo(options.zone)).hour, rng)
        first = _event(atm_id, session.starts[0])
        known = first.model_copy(
            update={
                "session_id": f"{first.event_id}-S",
                "card_token": _token(options.seed, session),
                "amount": Decimal(session.use.amount) if session.use.amount else None,
                "transaction_type": session.use.kind,
                "person": session.person,
                "portrait": portrait,
                "mask": mask,
            }
        )
        for start in session.starts:
            own = _event(atm_id, start)
            update = {"event_id": own.event_id, "path": own.path, "captured_at": start}
            yield known.model_copy(update={**update, "disturbances": (*light, *choose_shot(rng))})


def _event(atm_id: str, at: datetime) -> TrueEvent:
    stamp = f"{at:%Y%m%dT%H%M%S}"
    return TrueEvent(event_id=f"{atm_id}-{stamp}", path=f"{atm_id}/{stamp}.jpg", atm_id=atm_id, captured_at=at)


def _token(seed: int, session: Session) -> str:
    card = session.use.card
    text = f"{seed}/{card}" if isinstance(card, str) else f"{seed}/{session.person}/{card}"
    return "tok_" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _with_bystanders(events: list[TrueEvent], people: Sequence[str], options: SimulationOptions) -> list[TrueEvent]:
    """Somebody who is not at a machine around that time stands behind, in some of the pictures."""
    if len(people) < 3:
        return events
    busy: dict[str, list[datetime]] = {person: [] for person in people}
    for event in events:
        if event.person:
            busy[event.person].append(event.captured_at)
    result = []
    for event in events:
        rng = chance(options.seed, "bystander", event.event_id)
        other = people[int(rng.integers(len(people)))]
        away = all(abs(at - event.captured_at) > timedelta(minutes=20) for at in busy[other])
        there = other != event.person and away and rng.random() < BYSTANDER_SHARE
        result.append(event.model_copy(update={"bystander": other}) if there else event)
    return result


def _summed(part: Part, sessions: Iterable[Session]) -> TruePerson:
    own = [session for session in sessions if session.person == part.person]
    return TruePerson(
        person=part.person,
        story=part.story,
        visits=len(own),
        pictures=sum(len(session.starts) for session in own),
        atms=len({session.atm for session in own}),
        cards=len({session.use.card for session in own}),
    )
