"""A roster as bytes, and back: one JSON part, by columns, and one of raw vectors, never pickle.

Whoever stores the bytes checks that they are whole; this module checks that they make sense.  By columns, because a
roster has hundreds of thousands of pictures, and a JSON object for each would take longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, islice
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clustering.gallery import Templates
from clustering.places import Whereabouts
from clustering.roster import Identity, Roster
from clustering.visits import Frame, VisitBook
from ingest.errors import Corrupt
from ingest.records import GeoPoint

VERSION = 3
LENGTH = 8
"""Bytes of the JSON part's length, little-endian, at the start."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Count = Annotated[int, Field(ge=0)]
Score = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[Decimal, Field(ge=0)]
"""Times are whole microseconds since 1970."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class _Identities(_Part):
    """A line for each identity, in the order of founding; its templates and pictures follow one another elsewhere."""

    id: list[str]
    first_seen: list[int]
    last: list[int]
    atm: list[str]
    place: list[tuple[float, float] | None]
    floor: list[int | None]
    templates: list[Count]
    pictures: list[Count]


class _Pictures(_Part):
    """A line for each picture, by identity and time; ``face`` is its place among the faces."""

    face: list[Count]
    at: list[int]
    atm: list[str]
    session: list[str | None]
    card: list[str | None]
    amount: list[Amount | None]
    kind: list[str | None]


class _Described(_Part):
    """``faces`` are all that were counted, in that order, and ``numbers`` their identities'.

    ``qualities`` and ``covered`` have a line for each template, as the raw vectors.
    """

    version: int
    model_id: str
    dim: int
    gap_s: float
    identities: _Identities
    qualities: list[Score]
    covered: list[bool]
    faces: list[str]
    numbers: list[int]
    pictures: _Pictures


def dump(roster: Roster) -> bytes:
    """The roster as bytes; equal rosters give equal bytes."""
    people = list(roster.identities.values())
    places = [person.last.place for person in people]
    floors = [person.visits.floor for person in people]
    frames = [person.visits.frames for person in people]
    faces = {face_id: place for place, face_id in enumerate(roster.seen)}
    every = list(chain.from_iterable(frames))
    gallery = roster.gallery
    templates = [gallery.rows(person.number) for person in people]
    rows = np.concatenate([np.zeros(0, np.int64), *templates])
    described = _Described.model_construct(
        version=VERSION,
        model_id=roster.model_id,
        dim=roster.gallery.index.dim,
        gap_s=roster.gap.total_seconds(),
        identities=_Identities.model_construct(
            id=[person.identity_id for person in people],
            first_seen=[_number(person.first_seen) for person in people],
            last=[_number(person.last.at) for person in people],
            atm=[person.last.atm_id for person in people],
            place=[None if place is None else (place.lat, place.lon) for place in places],
            floor=[None if floor is None else _number(floor) for floor in floors],
            templates=[len(one) for one in templates],
            pictures=[len(one) for one in frames],
        ),
        qualities=gallery.qualities(rows).tolist(),
        covered=gallery.covered(rows).tolist(),
        faces=list(roster.seen),
        numbers=list(roster.seen.values()),
        pictures=_Pictures.model_construct(
            face=[faces[frame.face_id] for frame in every],
            at=[_number(frame.captured_at) for frame in every],
            atm=[frame.atm_id for frame in every],
            session=[frame.session_id for frame in every],
            card=[frame.card_token for frame in every],
            amount=[frame.amount for frame in every],
            kind=[frame.transaction_type for frame in every],
        ),
    )
    text = described.model_dump_json().encode()
    vectors = gallery.index.get(rows).astype("<f4", copy=False)
    return len(text).to_bytes(LENGTH, "little") + text + vectors.tobytes()


def load(content: bytes, blank: Roster) -> Roster:
    """The roster in ``content``, as a new one like ``blank``.

    Raises ``Corrupt`` when the content is damaged, of another version, or of another model or visit gap.
    """
    size = int.from_bytes(content[:LENGTH], "little")
    try:
        _same(_Kind.model_validate_json(content[LENGTH : LENGTH + size]), blank)
        described = _Described.model_validate_json(content[LENGTH : LENGTH + size])
        vectors = np.frombuffer(content, "<f4", offset=LENGTH + size).reshape(-1, blank.gallery.index.dim)
        return _restored(described, vectors.astype(np.float32, copy=False), blank)
    except (ValueError, IndexError, OverflowError) as error:
        message = f"the roster's snapshot is damaged ({type(error).__name__})"
        raise Corrupt(message) from error


class _Kind(_Part):
    """What must be right before the rest can be read: other versions have other fields."""

    model_config = ConfigDict(extra="ignore")

    version: int
    model_id: str
    dim: int
    gap_s: float


def _same(found: _Kind, blank: Roster) -> None:
    wanted = _Kind(
        version=VERSION, model_id=blank.model_id, dim=blank.gallery.index.dim, gap_s=blank.gap / timedelta(seconds=1)
    )
    for name, value in wanted:
        if getattr(found, name) != value:
            message = f"the roster's snapshot has {name} {getattr(found, name)}, where {value} is needed"
            raise Corrupt(message)


def _restored(described: _Described, vectors: np.ndarray, blank: Roster) -> Roster:
    """Raises ``ValueError`` and ``IndexError`` where the columns do not go together."""
    roster = Roster(blank.model_id, blank.gallery.index.dim, blank.gap)
    roster.seen = dict(zip(described.faces, described.numbers, strict=True))
    owners = np.repeat(np.arange(1, len(described.identities.id) + 1), described.identities.templates)
    frames = _frames(described)
    columns = (getattr(described.identities, name) for name in type(described.identities).model_fields)
    people = []
    for number, line in enumerate(zip(*columns, strict=True), start=1):
        identity_id, first_seen, last, atm, place, floor, _, pictures = line
        where = place and GeoPoint(lat=place[0], lon=place[1])
        people.append(
            Identity(
                identity_id,
                number,
                VisitBook.restored(islice(frames, pictures), floor and _time(floor), blank.gap),
                _time(first_seen),
                Whereabouts(_time(last), atm, where),
            )
        )
    templates = Templates(vectors, np.array(described.qualities, np.float64), np.array(described.covered, np.bool_))
    roster.place(people, owners, templates)
    counted = sum(len(person.visits) for person in people)
    fits = (
        len(roster.seen) == len(described.faces)
        and set(described.numbers) <= set(roster.identities)
        and len(described.qualities) == len(described.covered) == len(vectors) == len(owners)
        and counted == len(described.pictures.at) == sum(described.identities.pictures)
    )
    if not fits:
        message = "the parts do not fit together"
        raise ValueError(message)
    return roster


def _frames(described: _Described) -> Iterator[Frame]:
    columns = [getattr(described.pictures, name) for name in type(described.pictures).model_fields]
    for face, at, atm, session, card, amount, kind in zip(*columns, strict=True):
        yield Frame(described.faces[face], atm, _time(at), session, card, amount, kind)


def _number(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _time(number: int) -> datetime:
    return EPOCH + timedelta(microseconds=number)
