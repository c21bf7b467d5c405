"""The long-running roles: the replay's own stages, joined by topics instead of a chain."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from uuid import uuid4

from alerts.records import Alert
from alerts.rulefile import load_rules
from alerts.stage import AlertStage
from clustering.records import Sighting
from clustering.stage import ClusterStage
from deploy import interpreter
from deploy.routes import alerter_routes, clusterer_routes, embedder_routes
from deploy.settings import Settings, model_folder
from deploy.watch import Measured, Watch, fetching, polling
from deploy.wiring import build_embedder, linked_card
from embedder.cards import load_model_card
from embedder.records import FaceEmbedding
from embedder.stage import EmbedOptions, EmbedStage
from ingest.admission import AdmissionStage, ScopeStage
from ingest.errors import Superseded, Unavailable
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.journal import InputJournal, Journal, OutputJournal
from ingest.kafka_bus.member import Member, MemberSource, Place
from ingest.kafka_bus.membership import KafkaMembership
from ingest.kafka_bus.outbox import KafkaOutbox, Routes
from ingest.kafka_bus.topics import check_topics
from ingest.memory_bus import MemorySource
from ingest.partitions import Division
from ingest.patience import Patience
from ingest.records import AtmEvent, Record, Rejection
from ingest.remote import Fetcher, FetchPolicy
from ingest.snapshots import SnapshotStore
from ingest.stage import Chain
from ingest.worker import Pace, Worker

EMBEDDER, CLUSTERER, ALERTER = "embedder", "clusterer", "alerter"
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
SUPERSEDED_PAUSE_S = 1.0
"""The longest pause before asking for work again: losing it to another process is no outage."""
LASTING_S = 30.0
STRIDE = 16
"""Commits' worth of inputs read at a time by a role with a memory: nothing goes on beside the search for the first."""
GRACE_S = 8.0
"""How long a role that is told to stop may take."""


def run_embedder(settings: Settings, watch: Watch, stop: Event) -> None:
    """Turn events into embeddings until ``stop`` is set; any number of these share the work."""
    config = settings.kafka
    fetch = fetching(watch, Fetcher(_fetch_policy(settings)).fetch)
    stage = EmbedStage(build_embedder(settings), EmbedOptions(settings.threads, settings.limits, fetch))
    instance = f"{config.group}-{EMBEDDER}-{socket.gethostname()}-{uuid4().hex[:8]}"

    def loop() -> None:
        check_topics(config, (EVENTS, FACES, DEADLETTER))
        with ExitStack() as closing:
            member = Member(config, EMBEDDER, [EVENTS], settings.batch)
            closing.callback(member.close)
            outbox = KafkaOutbox(config, instance, member, embedder_routes(config), on_commit=watch.commit)
            closing.callback(outbox.close)
            chain = Chain(AdmissionStage(config.scopes), stage)
            worker = Worker(
                chain,
                MemberSource(member, (AtmEvent,), polling(watch, member, EVENTS)),
                outbox,
                pace=Pace(batch=settings.batch, idle_s=0.0, longest_pause_s=LONGEST_PAUSE_S),
                on_batch=Measured(watch, chain).batch,
            )
            watch.ready()
            worker.run(until_exhausted=False, stop=stop)

    try:
        keep_at(loop, watch, stop)
    finally:
        stage.close()


def _fetch_policy(settings: Settings) -> FetchPolicy:
    wanted = settings.fetch
    return FetchPolicy(
        roots=wanted.roots,
        private_hosts=wanted.private_hosts,
        limits=settings.limits,
        total_s=wanted.total_s,
        patience=Patience(wanted.tries, wanted.patience_s, wanted.longest_patience_s),
        ca_file=wanted.ca_file,
    )


def run_clusterer(settings: Settings, watch: Watch, stop: Event) -> None:
    """Decide who is who, one writer per scope, until ``stop`` is set; further processes stand by."""
    config = settings.kafka
    card = linked_card(load_model_card(model_folder(settings.model)), settings)

    def journal(inputs: Place) -> Journal:
        return OutputJournal(config, Place(SIGHTINGS, inputs.partition), (Sighting, Rejection), watch.turning)

    def stage(scope: str) -> Chain:
        return Chain(ScopeStage(scope, _event_of), ClusterStage(card, settings.policy))

    topics = (FACES, SIGHTINGS, DEADLETTER)
    work = Work(CLUSTERER, topics, (FaceEmbedding, Rejection), stage, clusterer_routes, journal)
    _run_divided(settings, work, watch, stop)


def run_alerter(settings: Settings, watch: Watch, stop: Event) -> None:
    """Judge sightings by the rules, one writer per scope, until ``stop`` is set."""
    config = settings.kafka
    rules = load_rules(settings.rules)

    def journal(inputs: Place) -> Journal:
        read, wrote = (Sighting, Rejection), (Alert,)
        return InputJournal(config, inputs, Place(ALERTS, inputs.partition), (read, wrote), watch.turning)

    def stage(_scope: str) -> Chain:
        return Chain(AlertStage(rules, settings.policy.visit_gap))

    work = Work(ALERTER, (SIGHTINGS, ALERTS), (Sighting, Rejection), stage, alerter_routes, journal)
    _run_divided(settings, work, watch, stop)


@dataclass(frozen=True, slots=True)
class Work:
    """A role with a memory: its ``topics``, of which it reads the first; a blank stage for a scope; the rest of it.

    ``expected`` is what it reads, ``routes`` where outputs go, ``journal`` what is folded in recovery.
    """

    role: str
    topics: tuple[str, ...]
    expected: tuple[type[Record], ...]
    stage: Callable[[str], Chain]
    routes: Callable[[KafkaConfig], Routes]
    journal: Callable[[Place], Journal]


def _run_divided(settings: Settings, work: Work, watch: Watch, stop: Event) -> None:
    config = settings.kafka

    def loop() -> None:
        interpreter.give_up_memory()
        check_topics(config, work.topics)
        most = STRIDE * settings.stream_batch
        member = Member(config, work.role, [work.topics[0]], most)
        membership = KafkaMembership(member, work.expected, polling(watch, member, work.topics[0]))
        restoring: list[tuple[float, Measured]] = []

        def open_worker(name: str) -> tuple[Worker, Callable[[], None]]:
            began = monotonic()
            watch.not_ready(f"restoring {name}")
            inputs = Place.named(name)
            outbox = KafkaOutbox(
                config,
                f"{config.group}-{work.role}-{name.replace('/', '-')}",
                member,
                work.routes(config),
                inputs=inputs,
                journal=work.journal(inputs),
                on_commit=watch.commit,
            )
            scope = config.scopes[inputs.partition]
            chain = work.stage(scope)
            measured = Measured(watch, chain, scope)
            restoring.append((began, measured))
            worker = Worker(
                chain,
                MemorySource([]),  # its batches come from the division
                outbox,
                snapshots=SnapshotStore(settings.state_dir / work.role / name.replace("/", "-")),
                pace=Pace(batch=settings.stream_batch, snapshot_every=settings.snapshot_every),
                on_batch=measured.batch,
            )
            return worker, outbox.close

        def turned(_held: Sequence[str]) -> None:
            if restoring:  # several at a time were restored one after the other
                interpreter.keep_memory()
                watch.restored(monotonic() - restoring[0][0])
            for _, measured in restoring:
                measured.size()
            restoring.clear()
            watch.ready()

        Division(membership, open_worker, most, turned).run(stop)

    keep_at(loop, watch, stop)


def keep_at(loop: Callable[[], None], watch: Watch, stop: Event) -> None:
    """Run ``loop`` until ``stop`` is set; when it is superseded or cut off, again, with blank memories.

    The pause before a new attempt doubles up to 15 s (1 s when superseded), jittered; it starts over after an
    attempt that lasted.  Once ``stop`` is set, the process ends within ``GRACE_S``, whatever hangs.
    """
    pause = SHORTEST_PAUSE_S
    with ending_in_time(stop):
        while not stop.is_set():
            began = monotonic()
            try:
                loop()
            except (Superseded, Unavailable) as error:
                watch.not_ready(str(error))
                watch.restarted(str(error))
                if monotonic() - began > LASTING_S:
                    pause = SHORTEST_PAUSE_S
                longest = SUPERSEDED_PAUSE_S if isinstance(error, Superseded) else LONGEST_PAUSE_S
                stop.wait(min(pause, longest) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause = min(longest, pause * 2)


def _end_now() -> None:
    os._exit(1)


@contextmanager
def ending_in_time(stop: Event, seconds: float = GRACE_S, leave: Callable[[], None] | None = None) -> Iterator[None]:
    """End the process, or call ``leave``, when the block still runs ``seconds`` after ``stop`` was set.

    With the cluster away some of the client's calls wait long, or for ever.  Ending the process loses nothing: what
    is not committed has not happened, and the next one goes on from there.
    """
    done = Event()

    def watch() -> None:
        stop.wait()
        if not done.wait(seconds):
            (leave or _end_now)()

    Thread(target=watch, name="grace", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _event_of(record: Record) -> AtmEvent | None:
    return record.event if isinstance(record, FaceEmbedding) else None
