"""How a view's rows lie in Redis: the keys of a generation, and rows as JSON and back.  Knows no connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from alerts.view import AtmHealth, OpenAlert, Order, SeenVisit, Totals
from alerts.view_fold import Rows, Touched
from clustering.records import Usage
from ingest.errors import Corrupt
from ingest.records import Record

PARTS = ("meta", "usages", "visits", "atms", "alerts", "marks", "by_last_seen", "by_visits", "atm_ids")
"""A generation's keys: hashes of JSON by id, the set of marks, and sorted sets of ids."""

INDEX = {Order.LAST_SEEN: "by_last_seen", Order.VISITS: "by_visits"}
"""The sorted set for each order of people."""

TOTALS = "totals"
"""The field of ``meta`` that is not a position."""

Command = tuple[str, str, tuple[str, ...]]
"""A command, the part of the generation that it changes, and its further arguments."""

AnyRecord = TypeVar("AnyRecord", bound=Record)
_VISITS = TypeAdapter(list[SeenVisit])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of one scope's keys, all in one hash slot of a cluster."""

    home: str

    @classmethod
    def of(cls, prefix: str, scope: str) -> Layout:
        """That of ``scope``; percent-encoded, so that no scope can break out of its place."""
        return cls(f"{prefix}:{{{quote(scope, safe='')}}}:v1")

    @property
    def live(self) -> str:
        """Names the generation that readers see."""
        return f"{self.home}:live"

    @property
    def drafted(self) -> str:
        """Names the generation that is being built."""
        return f"{self.home}:draft"

    @property
    def lease(self) -> str:
        """Is there while somebody is building."""
        return f"{self.home}:lease"

    def key(self, generation: str, part: str) -> str:
        """The key of one of ``PARTS``."""
        return f"{self.home}:{generation}:{part}"

    def keys(self, generation: str | None) -> list[str]:
        """All keys of a generation; none for no generation."""
        return [] if generation is None else [self.key(generation, part) for part in PARTS]


def position_field(partition: str) -> str:
    """The field of ``meta`` that holds a partition's position."""
    return f"position:{partition}"


def reads(partition: str, rows: Touched) -> list[Command]:
    """The commands whose answers ``decode`` takes, in order."""
    commands: list[Command] = [("HMGET", "meta", (position_field(partition), TOTALS))]
    if rows.people:
        commands += [("HMGET", "usages", rows.people), ("HMGET", "visits", rows.people)]
    if rows.atms:
        commands += [("HMGET", "atms", rows.atms)]
    if rows.marks:
        commands += [("SMISMEMBER", "marks", rows.marks)]
    if rows.alerts:
        commands += [("HVALS", "alerts", ())]
    return commands


def decode(answers: Sequence[Any], wanted: Touched) -> tuple[int | None, Rows]:
    """The stored position, and the rows.  Raises ``Corrupt``."""
    left: Iterator[Any] = iter(answers)
    position, totals = next(left)
    rows = Rows(totals=loaded(Totals, totals) or Totals())
    if wanted.people:
        usages = zip(wanted.people, next(left), strict=True)
        rows.usages = {who: usage for who, text in usages if (usage := loaded(Usage, text))}
        visits = zip(wanted.people, next(left), strict=True)
        rows.visits = {who: loaded_visits(text) for who, text in visits if text}
    if wanted.atms:
        atms = zip(wanted.atms, next(left), strict=True)
        rows.atms = {atm_id: health for atm_id, text in atms if (health := loaded(AtmHealth, text))}
    if wanted.marks:
        rows.marks = {mark for mark, there in zip(wanted.marks, next(left), strict=True) if there}
    if wanted.alerts:
        rows.alerts = {alert.key: alert for text in next(left) if (alert := loaded(OpenAlert, text))}
    return whole(position), rows


def copied(rows: Rows) -> Rows:
    """``rows`` as they are now; rows themselves never change."""
    return Rows(dict(rows.usages), dict(rows.visits), dict(rows.atms), dict(rows.alerts), set(rows.marks), rows.totals)


def writes(before: Rows, rows: Rows) -> list[Command]:
    """The commands that make what is stored of ``before`` into ``rows``."""
    people = [who for who, usage in rows.usages.items() if usage is not before.usages.get(who)]
    atms = [atm_id for atm_id, health in rows.atms.items() if health is not before.atms.get(atm_id)]
    alerts = [key for key, alert in rows.alerts.items() if alert is not before.alerts.get(key)]
    usages = [rows.usages[who] for who in people]
    commands: list[Command] = [
        ("HSET", "usages", _pairs((who, rows.usages[who].to_json()) for who in people)),
        ("HSET", "visits", _pairs((who, _VISITS.dump_json(rows.visits[who]).decode()) for who in people)),
        (
            "ZADD",
            INDEX[Order.LAST_SEEN],
            _pairs((str(_micros(usage.last_seen)), usage.identity_id) for usage in usages),
        ),
        ("ZADD", INDEX[Order.VISITS], _pairs((str(usage.visits), usage.identity_id) for usage in usages)),
        ("HSET", "atms", _pairs((atm_id, rows.atms[atm_id].to_json()) for atm_id in atms)),
        ("ZADD", "atm_ids", _pairs(("0", atm_id) for atm_id in atms)),
        ("SADD", "marks", tuple(sorted(rows.marks - before.marks))),
        ("HDEL", "alerts", tuple(key for key in before.alerts if key not in rows.alerts)),
        ("HSET", "alerts", _pairs((key, rows.alerts[key].to_json()) for key in alerts)),
        ("HSET", "meta", (TOTALS, rows.totals.to_json()) if rows.totals is not before.totals else ()),
    ]
    return [command for command in commands if command[2]]


def whole(text: str | None) -> int | None:
    """A stored position.  Raises ``Corrupt``."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    message = "a position in the view is not a number"
    raise Corrupt(message)


def loaded(kind: type[AnyRecord], text: str | None) -> AnyRecord | None:
    """A row from its JSON; None when there is none.  Raises ``Corrupt``."""
    if text is None:
        return None
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        message = f"a {kind.__name__} in the view does not fit its schema"
        raise Corrupt(message) from error


def loaded_visits(text: str | None) -> list[SeenVisit]:
    """One person's visits from their JSON.  Raises ``Corrupt``."""
    if text is None:
        return []
    try:
        return _VISITS.validate_json(text)
    except ValidationError as error:
        message = "a person's visits in the view do not fit their schema"
        raise Corrupt(message) from error


def _pairs(pairs: Iterator[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(part for pair in pairs for part in pair)


def _micros(at: datetime) -> int:
    """Microseconds since 1970: below 2^53, so a sorted set's score holds them exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)
