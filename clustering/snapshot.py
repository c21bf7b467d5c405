"""A roster as bytes, and back: one JSON part and one of raw vectors, never pickle.

Whoever stores the bytes checks that they are whole; this module checks that they make sense.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydantic_core import to_json

from clustering.places import Whereabouts
from clustering.roster import Identity, Roster
from clustering.visits import VisitBook
from ingest.errors import Corrupt
from ingest.records import GeoPoint

VERSION = 1
LENGTH = 8
"""Bytes of the JSON part's length, little-endian, at the start."""


def dump(roster: Roster) -> bytes:
    """The roster as bytes; equal rosters give equal bytes."""
    content = {
        "version": VERSION,
        "model_id": roster.model_id,
        "dim": roster.index.dim,
        "gap_s": roster.gap.total_seconds(),
        "identities": [_identity(identity) for identity in roster.identities.values()],
        "seen": roster.seen,
    }
    described = to_json(content)
    rows = [row for identity in roster.identities.values() for row in identity.rows]
    vectors = roster.index.get(np.array(rows, np.int64)).astype("<f4", copy=False)
    return len(described).to_bytes(LENGTH, "little") + described + vectors.tobytes()


def load(content: bytes, blank: Roster) -> Roster:
    """The roster in ``content``, as a new one like ``blank``.

    Raises ``Corrupt`` when the content is damaged, of a newer version, or of another model or visit gap.
    """
    try:
        size = int.from_bytes(content[:LENGTH], "little")
        described: dict[str, Any] = json.loads(content[LENGTH : LENGTH + size])
        _same(described, blank)
        vectors = np.frombuffer(content, "<f4", offset=LENGTH + size).reshape(-1, described["dim"])
        roster = Roster(blank.model_id, blank.index.dim, blank.gap)
        taken = 0
        for entry in described["identities"]:
            identity, slots = _restored(entry, blank.gap)
            roster.place(identity, np.asarray(vectors[taken : taken + slots], np.float32))
            taken += slots
        if taken != len(vectors):
            message = "the roster's snapshot holds another number of templates than it says"
            raise Corrupt(message)
        roster.seen = dict(described["seen"])
        numbers = range(1, len(described["identities"]) + 1)
        if list(roster.identities) != list(numbers) or not set(roster.seen.values()) <= set(numbers):
            message = "the roster's snapshot names identities that it does not hold"
            raise Corrupt(message)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        message = f"the roster's snapshot is damaged ({type(error).__name__})"
        raise Corrupt(message) from error
    return roster


def _same(described: dict[str, Any], blank: Roster) -> None:
    wanted = {
        "version": VERSION,
        "model_id": blank.model_id,
        "dim": blank.index.dim,
        "gap_s": blank.gap / timedelta(seconds=1),
    }
    for name, value in wanted.items():
        if described[name] != value:
            message = f"the roster's snapshot has {name} {described[name]}, where {value} is needed"
            raise Corrupt(message)


def _identity(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.identity_id,
        "number": identity.number,
        "first_seen": identity.first_seen.isoformat(),
        "last": identity.last.at.isoformat(),
        "atm": identity.last.atm_id,
        "place": identity.last.place and [identity.last.place.lat, identity.last.place.lon],
        "qualities": identity.qualities,
        "visits": identity.visits.dump(),
    }


def _restored(entry: dict[str, Any], gap: timedelta) -> tuple[Identity, int]:
    place = entry["place"] and GeoPoint(lat=entry["place"][0], lon=entry["place"][1])
    identity = Identity(
        entry["id"],
        entry["number"],
        VisitBook.load(entry["visits"], gap),
        datetime.fromisoformat(entry["first_seen"]),
        Whereabouts(datetime.fromisoformat(entry["last"]), entry["atm"], place),
        qualities=list(entry["qualities"]),
    )
    return identity, len(identity.qualities)
