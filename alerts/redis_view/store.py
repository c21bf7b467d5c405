"""The view in Redis: one scope's rows under keys of one hash slot, every change a transaction.

``live`` and ``draft`` name a generation, and the rows lie under keys of the generation: a rebuild fills another
one, and the switch is one key's change.  Readers read ``live`` and their rows in one step, so they never mix two.
A writer reads the rows that it touches, folds them here, and writes them by a script that first checks that
generation and position are what they were: optimistic locking, as with WATCH, in one call, and in a cluster too.

Redis must not evict (``maxmemory-policy noeviction``) and needs no persistence.  Keys have no time to live, but
for the lease on a draft.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from alerts.redis_view.link import Client, Guarded, Link
from alerts.redis_view.rows import (
    INDEX,
    TOTALS,
    Layout,
    copied,
    decode,
    loaded,
    loaded_visits,
    position_field,
    reads,
    whole,
    writes,
)
from alerts.view import MOST_ROWS, AtmHealth, Change, OpenAlert, Order, SeenVisit, Totals, ViewLost
from alerts.view_fold import ViewOptions, by_age, fold, newest, pending, touched
from clustering.records import Usage
from ingest.errors import Unavailable

ATTEMPTS = 20
"""How often one call goes on when others change the same scope's view meanwhile."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How a view lies in Redis.

    ``prefix`` begins every key.  Whoever drafts a view has to write at least every ``lease_s`` seconds, or
    another process may give the draft up.
    """

    prefix: str = "atmwatch"
    lease_s: float = 30.0
    view: ViewOptions = field(default_factory=ViewOptions)


@dataclass(frozen=True, slots=True)
class _Site:
    """Where the rows are: server, keys, and how they are kept."""

    link: Link
    at: Layout
    options: RedisOptions

    def hold(self, call: Guarded, generation: str) -> Guarded:
        """Put a renewal of the lease on the draft ``generation`` into ``call``."""
        return call.do("SET", self.at.lease, generation, "PX", str(round(self.options.lease_s * 1000)))


@dataclass(frozen=True, slots=True)
class _Stretch:
    partition: str
    offset: int
    changes: Sequence[Change]
    after: int | None


class RedisView:
    """A ``ViewStore`` of one scope.  Owned by one thread; any number of processes may read."""

    def __init__(self, client: Client, scope: str, options: RedisOptions | None = None) -> None:
        self._options = options or RedisOptions()
        self._link = Link(client)
        self._at = Layout.of(self._options.prefix, scope)
        self._site = _Site(self._link, self._at, self._options)
        self._known: str | None = None  # the generation that was live when last looked at

    def published(self) -> bool:
        return self._link.get(self._at.live) is not None

    def position(self, partition: str) -> int | None:
        return whole(self._field("meta", position_field(partition)))

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None:
        stretch = _Stretch(partition, offset, changes, after)

        def attempt() -> bool | None:
            live = self._link.get(self._at.live)
            call = self._link.guarded().expect(self._at.live, live)
            generation = live or secrets.token_hex(8)
            if live is None:
                call.do("SET", self._at.live, generation)
            return _fold(self._site, generation, call, stretch)

        _again(attempt)

    def clear(self) -> None:
        def attempt() -> bool | None:
            at = self._at
            live, drafted = self._link.get(at.live), self._link.get(at.drafted)
            call = self._link.guarded().expect(at.live, live).expect(at.drafted, drafted)
            call.remove(at.live, at.drafted, at.lease, *at.keys(live), *at.keys(drafted))
            return call.run() or None

        _again(attempt)

    def draft(self) -> RedisDraft:
        generation = secrets.token_hex(8)

        def attempt() -> bool | None:
            at = self._at
            before, holder = self._link.get(at.drafted), self._link.get(at.lease)
            if holder is not None and holder != generation:
                what = "The view's draft, at which another process is at work,"
                raise Unavailable(what, retry_after=self._options.lease_s / 4)
            call = self._link.guarded().expect(at.drafted, before).expect(at.lease, holder)
            call.remove(*at.keys(before)).do("SET", at.drafted, generation)
            return self._site.hold(call, generation).run() or None

        _again(attempt)
        return RedisDraft(self._site, generation)

    def totals(self) -> Totals:
        return loaded(Totals, self._field("meta", TOTALS)) or Totals()

    def usage(self, identity_id: str) -> Usage | None:
        return loaded(Usage, self._field("usages", identity_id))

    def usages(self, order: Order, limit: int, offset: int = 0) -> list[Usage]:
        found = self._rows("usages", (INDEX[order], True), limit, offset)
        return [usage for text in found if (usage := loaded(Usage, text))]

    def visits(self, identity_id: str) -> list[SeenVisit]:
        return loaded_visits(self._field("visits", identity_id))

    def recent_visits(self, limit: int) -> list[SeenVisit]:
        # As many people as visits are enough: each of them has one that is later than all of the next one's.
        limit = min(limit, self._options.view.visits_kept)
        found = self._rows("visits", (INDEX[Order.LAST_SEEN], True), limit, 0)
        return newest((visit for text in found for visit in loaded_visits(text)), limit)

    def alerts(self, limit: int) -> list[OpenAlert]:
        alerts = [alert for text in self._read("HVALS", "alerts") or () if (alert := loaded(OpenAlert, text))]
        return sorted(alerts, key=by_age, reverse=True)[: min(limit, MOST_ROWS)]

    def atm(self, atm_id: str) -> AtmHealth | None:
        return loaded(AtmHealth, self._field("atms", atm_id))

    def atms(self, limit: int, offset: int = 0) -> list[AtmHealth]:
        found = self._rows("atms", ("atm_ids", False), limit, offset)
        return [health for text in found if (health := loaded(AtmHealth, text))]

    def _field(self, part: str, name: str) -> str | None:
        found = self._read("HGET", part, name)
        return None if found is None else str(found)

    def _read(self, command: str, part: str, *args: str) -> Any:
        """The answer from the live generation; None when there is none."""

        def attempt() -> tuple[Any] | None:
            known = self._known
            asked = [(command, self._at.key(known, part), *args)] if known else []
            live, *answers = self._link.ask([("GET", self._at.live), *asked])
            self._known = live
            return ((answers[0],) if answers else (None,)) if live == known else None

        return _again(attempt)[0]

    def _rows(self, part: str, order: tuple[str, bool], limit: int, offset: int) -> list[Any]:
        """The texts of a hash in the order of one of the live generation's indexes."""
        limit = min(limit, MOST_ROWS)
        if limit < 1:
            return []

        def attempt() -> list[Any] | None:
            live = self._link.get(self._at.live)
            if live is None:
                return []
            index, reverse = order
            keys = self._at.key(live, index), self._at.key(live, part)
            return self._link.ranked((self._at.live, live), *keys, (offset, offset + limit - 1, reverse))

        return _again(attempt)


class RedisDraft:
    """A ``Draft`` of a ``RedisView``.  Owned by one thread."""

    def __init__(self, site: _Site, generation: str) -> None:
        self._site = site
        self._link, self._at = site.link, site.at
        self._generation = generation

    def position(self, partition: str) -> int | None:
        meta = self._at.key(self._generation, "meta")
        return whole(self._link.ask([("HGET", meta, position_field(partition))])[0])

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None:
        stretch = _Stretch(partition, offset, changes, after)

        def attempt() -> bool | None:
            self._check()
            call = self._link.guarded().expect(self._at.drafted, self._generation)
            return _fold(self._site, self._generation, self._site.hold(call, self._generation), stretch)

        _again(attempt)

    def publish(self) -> None:
        def attempt() -> bool | None:
            at, generation = self._at, self._generation
            live = self._link.get(at.live)
            if live == generation:  # it was done, and only the answer got lost
                return True
            self._check()
            call = self._link.guarded().expect(at.live, live).expect(at.drafted, generation)
            call.remove(at.drafted, at.lease, *at.keys(live)).do("SET", at.live, generation)
            return call.run() or None

        _again(attempt)

    def _check(self) -> None:
        if self._link.get(self._at.drafted) != self._generation:
            message = "the view's draft was given up, or flushed"
            raise ViewLost(message)


def _fold(site: _Site, generation: str, call: Guarded, stretch: _Stretch) -> bool | None:
    """Complete ``call`` with what ``stretch`` makes of a generation's rows; None when others were quicker."""
    at, wanted = site.at, touched(stretch.changes)
    asked = [(command, at.key(generation, part), *args) for command, part, args in reads(stretch.partition, wanted)]
    position, before = decode(site.link.ask(asked), wanted)
    news = pending(position, stretch.after, stretch.offset, stretch.changes)
    if news is None:
        return True
    rows = copied(before)
    fold(rows, news, site.options.view)
    meta, name = at.key(generation, "meta"), position_field(stretch.partition)
    call.expect(meta, None if position is None else str(position), name)
    for command, part, args in writes(before, rows):
        call.do(command, at.key(generation, part), *args)
    return call.do("HSET", meta, name, str(stretch.offset)).run() or None


def _again(attempt: Callable[[], Result | None]) -> Result:
    """What ``attempt`` gives once it is not None: once nobody came between its reading and its writing."""
    for _ in range(ATTEMPTS):
        result = attempt()
        if result is not None:
            return result
    what = "The view, which others change all the time,"
    raise Unavailable(what)
