"""Keeps a view up to the journal, and builds it anew when it is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import SystemRandom
from threading import Event
from typing import Protocol

from alerts.view import Draft, Projection, ViewLost, ViewStore
from ingest.bus import Source
from ingest.errors import Corrupt, Unavailable
from ingest.records import Position
from ingest.stage import Delivery


class Feed(Source, Protocol):
    """One partition of the journal, which can be read again from anywhere.

    ``partition`` names it in positions (of the topics' partitions, ``atm.sightings-0``, say).  Offsets rise from
    record to record; there may be gaps between them.
    """

    partition: str

    def lag(self) -> int:
        """How much lies between what ``poll`` gave last and the end: 0 when there is nothing more for now."""
        ...


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """``batch`` records at most make a transaction of the view; waits and pauses are in seconds."""

    batch: int = 500
    idle_s: float = 0.2
    longest_pause_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Written:
    """One stretch that is in the view: ``records`` of ``partition``, and the ``lag`` that is left behind it.

    ``rebuilding`` says that it is in a draft, which readers do not see yet.
    """

    partition: str
    records: int
    lag: int
    rebuilding: bool


class ViewWriter:
    """Folds ``feeds`` into ``store``, each from where the view stands.

    A view that is not there, or can't be read, is built in a draft that readers see once it has come to the end
    of the journals.  One that has gone back in time (a restored dump, a replica that was behind) is gone on
    with from where it is.  Owned by one thread; the caller closes the feeds.
    """

    def __init__(
        self,
        store: ViewStore,
        feeds: Sequence[Feed],
        projection: Projection,
        options: WriterOptions | None = None,
        on_written: Callable[[Written], None] | None = None,
    ) -> None:
        self._store = store
        self._feeds = tuple(feeds)
        self._projection = projection
        self._options = options or WriterOptions()
        self._on_written = on_written
        self._jitter = SystemRandom()
        self._after: dict[str, int | None] = {}
        self._settled = self._broken = False
        self.rebuilds = 0
        self.retries = 0

    def rebuild(self, stop: Event | None = None) -> bool:
        """Build the view from the journals' start to their end, and show it; False when ``stop`` was set before.

        Raises ``Unavailable`` and ``ViewLost``; readers then keep what they have.
        """
        stop = stop or Event()
        draft = self._store.draft()
        for feed in self._feeds:
            self._seek(feed, None)
            while True:
                if stop.is_set():
                    return False
                if not self._advance(feed, draft, rebuilding=True):
                    if feed.lag() == 0:
                        break
                    stop.wait(self._options.idle_s)
        draft.publish()
        self.rebuilds += 1
        self._settled, self._broken = True, False
        return True

    def step(self, stop: Event | None = None) -> int:
        """One round over the journals; how many records are in the view now that were not before.

        Raises ``Unavailable``, ``ViewLost`` and ``Corrupt``: call it again, and it finds its way.
        """
        try:
            if not self._settled and not self._settle(stop):
                return 0
            moved = sum(self._advance(feed, self._store, rebuilding=False) for feed in self._feeds)
            if not moved:  # a view that was flushed must not wait for the next record
                self._check()
        except Corrupt:
            self._settled, self._broken = False, True
            raise
        except (Unavailable, ViewLost):
            self._settled = False  # what was read is not in the view: read it again
            raise
        return moved

    def run(self, stop: Event, *, until_caught_up: bool = False) -> None:
        """Go on until ``stop`` is set, or with ``until_caught_up`` until the journals' end.

        While something is unavailable, it waits, ever longer.
        """
        doubled = 1.0
        while not stop.is_set():
            try:
                moved = self.step(stop)
            except (Unavailable, ViewLost, Corrupt) as error:
                self.retries += 1
                least = error.retry_after if isinstance(error, Unavailable) else self._options.idle_s
                pause = min(least * doubled, self._options.longest_pause_s)
                stop.wait(pause * self._jitter.uniform(1.0, 1.5))
                doubled *= 2
                continue
            doubled = 1.0
            if not moved:
                if until_caught_up and all(feed.lag() == 0 for feed in self._feeds):
                    return
                stop.wait(self._options.idle_s)

    def _settle(self, stop: Event | None) -> bool:
        if self._broken or not self._store.published():
            return self.rebuild(stop)
        for feed in self._feeds:
            self._seek(feed, self._store.position(feed.partition))
        self._settled = True
        return True

    def _seek(self, feed: Feed, after: int | None) -> None:
        feed.seek(None if after is None else Position(partition=feed.partition, offset=after))
        self._after[feed.partition] = after

    def _check(self) -> None:
        gone = not self._store.published()
        if gone or any(self._store.position(partition) != after for partition, after in self._after.items()):
            message = "the view is not where its writer left it"
            raise ViewLost(message)

    def _advance(self, feed: Feed, target: Draft | ViewStore, *, rebuilding: bool) -> int:
        batch = feed.poll(self._options.batch)
        if batch:
            self._apply(feed.partition, batch, target)
            if self._on_written:
                self._on_written(Written(feed.partition, len(batch), feed.lag(), rebuilding))
        return len(batch)

    def _apply(self, partition: str, batch: list[Delivery], target: Draft | ViewStore) -> None:
        found = (self._projection.change(delivery.record, delivery.position.offset) for delivery in batch)
        changes = [change for change in found if change is not None]
        end = batch[-1].position.offset
        target.apply(partition, end, changes, after=self._after[partition])
        self._after[partition] = end
