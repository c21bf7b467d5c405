"""The view role: keeps Redis up to the journal, scope by scope, and builds it anew when it is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from time import monotonic

from alerts.records import Alert
from alerts.redis_view import Client, RedisOptions, connect
from alerts.view import Projection, Totals, ViewLost
from alerts.view_fold import ViewOptions
from alerts.view_writer import ViewWriter, WriterOptions, Written
from clustering.records import Sighting
from deploy.metrics import Dependency
from deploy.roles import keep_at
from deploy.settings import Settings
from deploy.view_key import KeyedView, view_key
from deploy.watch import Watch
from ingest.errors import Corrupt, Unavailable, UsageError
from ingest.kafka_bus.config import ALERTS, SIGHTINGS
from ingest.kafka_bus.feed import JournalDamaged, PartitionFeed
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.topics import check_topics
from ingest.records import Rejection

IDLE_S = 0.2
LAGS_EVERY_S = 1.0
LONGEST_PAUSE_S = 15.0


def run_view(settings: Settings, watch: Watch, stop: Event) -> None:
    """Write every scope's view until ``stop`` is set.

    Several may run: what one has written changes nothing when another writes it again.  Raises ``UsageError`` for
    settings that can't work, and ``JournalDamaged``.
    """
    key = view_key(settings)

    def loop() -> None:
        with redis_client(settings) as client, opened_views(settings, client, key, watch) as views:
            keep_views(views, watch, stop)

    keep_at(loop, watch, stop)


def rebuild_views(settings: Settings, scopes: Sequence[str] = (), stop: Event | None = None) -> dict[str, Totals]:
    """Build the views of ``scopes``, of all without any, from the journal's start, and show each when it is whole.

    Readers see the old view until then.  Gives what each view sums up to; a scope that ``stop`` came before is
    missing.  Raises ``UsageError``, ``Unavailable`` (also while another process rebuilds the same), ``JournalDamaged``.
    """
    unknown = sorted(set(scopes) - set(settings.kafka.scopes))
    if unknown:
        message = f"no scope {', '.join(unknown)}: those configured are {', '.join(settings.kafka.scopes)}"
        raise UsageError(message)
    totals: dict[str, Totals] = {}
    key = view_key(settings)
    with redis_client(settings) as client, opened_views(settings, client, key, Watch(), scopes) as views:
        for view in views:
            if view.writer.rebuild(stop):
                totals[view.scope] = view.store.totals()
    return totals


@contextmanager
def redis_client(settings: Settings) -> Iterator[Client]:
    """The Redis of the settings.  Raises ``UsageError`` when none is named, or it refuses us, and ``Unavailable``."""
    if settings.redis.url is None:
        message = "no Redis is named: set ATMWATCH_REDIS__URL to redis://[[user]:password@]host[:port]/[database]"
        raise UsageError(message)
    client = connect(settings.redis.url.get_secret_value(), cluster=settings.redis.cluster)
    try:
        yield client
    finally:
        client.close()


@dataclass(slots=True)
class ScopeView:
    """One scope's view and its writer, and when it is to be tried again after something was away.

    Owned by one thread, as ``writer`` and ``feeds`` are.
    """

    scope: str
    store: KeyedView
    writer: ViewWriter
    feeds: tuple[PartitionFeed, ...]
    watch: Watch
    due: float = 0.0
    failures: int = 0
    settled: bool = False
    broken: bool = False

    def turn(self, stop: Event) -> int:
        """One round; how many records are in the view now that were not before.

        What is away now is only noted.  Raises ``JournalDamaged``, and ``Corrupt`` for a view that can't be read
        although it was built anew.
        """
        began = monotonic()
        if began < self.due:
            return 0
        rebuilds = self.writer.rebuilds
        try:
            moved = self.writer.step(stop)
        except JournalDamaged:
            raise
        except Corrupt as error:
            if self.broken:
                raise
            self.broken = True
            self._failed(str(error), IDLE_S)
            return 0
        except ViewLost as error:
            self._failed(str(error), IDLE_S)
            return 0
        except Unavailable as error:
            dependency = culprit(error)
            if dependency is not None:
                self.watch.depends(dependency, False)
            self._failed(error.what, error.retry_after)
            return 0
        self.failures, self.settled, self.broken = 0, not stop.is_set(), False
        self.watch.depends(Dependency.REDIS, True)
        if self.writer.rebuilds > rebuilds:
            self.watch.restored(monotonic() - began)
        elif moved:
            self.watch.spent("view", monotonic() - began)
        return moved

    def _failed(self, reason: str, least_s: float) -> None:
        self.settled = False
        self.watch.not_ready(f"the view of {self.scope}: {reason}")
        pause = min(least_s * 2**self.failures, LONGEST_PAUSE_S)
        self.due = monotonic() + pause * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        self.failures = min(self.failures + 1, 16)


@contextmanager
def opened_views(
    settings: Settings, client: Client, key: bytes, watch: Watch, scopes: Sequence[str] = ()
) -> Iterator[list[ScopeView]]:
    """The views of ``scopes``, of all without any, with their feeds open."""
    config = settings.kafka
    check_topics(config, (SIGHTINGS, ALERTS))
    options = RedisOptions(prefix=settings.redis.prefix, view=ViewOptions(gap=settings.policy.visit_gap))
    with ExitStack() as closing:
        views = []
        for number, scope in enumerate(config.scopes):
            if scopes and scope not in scopes:
                continue
            feeds = (
                PartitionFeed(config, Place(SIGHTINGS, number), (Sighting, Rejection), watch.turning),
                PartitionFeed(config, Place(ALERTS, number), (Alert,), watch.turning),
            )
            for feed in feeds:
                closing.callback(feed.close)
            store = KeyedView(client, scope, key, options)
            writer = ViewWriter(
                store, feeds, Projection(scope, key), WriterOptions(idle_s=IDLE_S), _tells(scope, watch)
            )
            views.append(ScopeView(scope, store, writer, feeds, watch))
        yield views


def keep_views(views: Sequence[ScopeView], watch: Watch, stop: Event) -> None:
    """Write ``views`` until ``stop`` is set; ready while all of them are written."""
    measured = 0.0
    while not stop.is_set():
        watch.turning()
        moved = sum(view.turn(stop) for view in views)
        if all(view.settled for view in views):
            watch.ready()
        if monotonic() - measured >= LAGS_EVERY_S:
            measured = monotonic()
            with suppress(Unavailable):
                watch.view_lags({feed.place: feed.lag() for view in views for feed in view.feeds})
        if not moved:
            stop.wait(IDLE_S)


def _tells(scope: str, watch: Watch) -> Callable[[Written], None]:
    told = False

    def tell(written: Written) -> None:
        nonlocal told
        if written.rebuilding and not told:
            watch.not_ready(f"building the view of {scope}")
        told = written.rebuilding
        watch.view_lags({Place.named(written.partition): written.lag})

    return tell


def culprit(error: Unavailable) -> Dependency | None:
    """What is away; None when it is only another process that is at work on the same view."""
    if error.what.startswith(("Kafka", "the journal")):
        return Dependency.KAFKA
    return Dependency.REDIS if error.what == "Redis" else None
