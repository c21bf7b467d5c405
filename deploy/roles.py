"""The long-running roles: the replay's own stages, joined by topics instead of a chain."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event
from time import monotonic
from uuid import uuid4

from alerts.records import Alert
from alerts.rulefile import load_rules
from alerts.stage import AlertStage
from clustering.records import Sighting
from clustering.stage import ClusterStage
from deploy.routes import alerter_routes, clusterer_routes, embedder_routes
from deploy.settings import Settings, model_folder
from deploy.wiring import build_embedder, linked_card
from embedder.cards import load_model_card
from embedder.records import FaceEmbedding
from embedder.stage import EmbedOptions, EmbedStage
from ingest.admission import AdmissionStage
from ingest.errors import Superseded, Unavailable
from ingest.kafka_bus.config import ALERTS, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.journal import InputJournal, Journal, OutputJournal
from ingest.kafka_bus.member import Member, MemberSource, Place
from ingest.kafka_bus.membership import KafkaMembership
from ingest.kafka_bus.outbox import KafkaOutbox, Routes
from ingest.kafka_bus.topics import check_topics
from ingest.memory_bus import MemorySource
from ingest.partitions import Division
from ingest.records import AtmEvent, Record, Rejection
from ingest.remote import Fetcher, FetchPolicy
from ingest.snapshots import SnapshotStore
from ingest.stage import Chain, Stage
from ingest.worker import Pace, Progress, Worker

EMBEDDER, CLUSTERER, ALERTER = "embedder", "clusterer", "alerter"
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
LASTING_S = 30.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What a role tells about itself: that its loop turns, what a batch gave, whether it can work, and losses."""

    turning: Callable[[], None] = lambda: None
    batch: Callable[[Progress], None] = lambda _: None
    ready: Callable[[], None] = lambda: None
    not_ready: Callable[[str], None] = lambda _: None
    restarted: Callable[[str], None] = lambda _: None


def run_embedder(settings: Settings, watch: Watch, stop: Event) -> None:
    """Turn events into embeddings until ``stop`` is set; any number of these share the work."""
    config = settings.kafka
    check_topics(config, (EVENTS, FACES))
    wanted = settings.fetch
    fetcher = Fetcher(
        FetchPolicy(wanted.roots, wanted.private_hosts, settings.limits, wanted.total_s, ca_file=wanted.ca_file)
    )
    stage = EmbedStage(build_embedder(settings), EmbedOptions(settings.threads, settings.limits, fetcher.fetch))
    instance = f"{config.group}-{EMBEDDER}-{socket.gethostname()}-{uuid4().hex[:8]}"

    def loop() -> None:
        with ExitStack() as closing:
            member = Member(config, EMBEDDER, [EVENTS], settings.batch)
            closing.callback(member.close)
            outbox = KafkaOutbox(config, instance, member, embedder_routes(config))
            closing.callback(outbox.close)
            worker = Worker(
                Chain(AdmissionStage(config.scopes), stage),
                MemberSource(member, (AtmEvent,), watch.turning),
                outbox,
                pace=Pace(batch=settings.batch, idle_s=0.0),
                on_batch=watch.batch,
            )
            watch.ready()
            worker.run(until_exhausted=False, stop=stop)

    try:
        keep_at(loop, watch, stop)
    finally:
        stage.close()


def run_clusterer(settings: Settings, watch: Watch, stop: Event) -> None:
    """Decide who is who, one writer per scope, until ``stop`` is set; further processes stand by."""
    config = settings.kafka
    check_topics(config, (FACES, SIGHTINGS))
    card = linked_card(load_model_card(model_folder(settings.model)), settings)

    def journal(inputs: Place) -> Journal:
        return OutputJournal(config, Place(SIGHTINGS, inputs.partition), (Sighting, Rejection))

    work = Work(
        CLUSTERER,
        FACES,
        (FaceEmbedding, Rejection),
        lambda: ClusterStage(card, settings.policy),
        clusterer_routes,
        journal,
    )
    _run_divided(settings, work, watch, stop)


def run_alerter(settings: Settings, watch: Watch, stop: Event) -> None:
    """Judge sightings by the rules, one writer per scope, until ``stop`` is set."""
    config = settings.kafka
    check_topics(config, (SIGHTINGS, ALERTS))
    rules = load_rules(settings.rules)

    def journal(inputs: Place) -> Journal:
        read, wrote = (Sighting, Rejection), (Alert,)
        return InputJournal(config, inputs, Place(ALERTS, inputs.partition), (read, wrote))

    def stage() -> Stage:
        return AlertStage(rules, settings.policy.visit_gap)

    work = Work(ALERTER, SIGHTINGS, (Sighting, Rejection), stage, alerter_routes, journal)
    _run_divided(settings, work, watch, stop)


@dataclass(frozen=True, slots=True)
class Work:
    """A role with a memory: what it reads, a blank stage for a partition, where outputs go, what it folds."""

    role: str
    topic: str
    expected: tuple[type[Record], ...]
    stage: Callable[[], Stage]
    routes: Callable[[KafkaConfig], Routes]
    journal: Callable[[Place], Journal]


def _run_divided(settings: Settings, work: Work, watch: Watch, stop: Event) -> None:
    config = settings.kafka

    def loop() -> None:
        member = Member(config, work.role, [work.topic], settings.stream_batch)
        membership = KafkaMembership(member, work.expected, watch.turning)

        def open_worker(name: str) -> tuple[Worker, Callable[[], None]]:
            watch.not_ready(f"restoring {name}")
            inputs = Place.named(name)
            outbox = KafkaOutbox(
                config,
                f"{config.group}-{work.role}-{name.replace('/', '-')}",
                member,
                work.routes(config),
                inputs=inputs,
                journal=work.journal(inputs),
            )
            worker = Worker(
                work.stage(),
                MemorySource([]),  # its batches come from the division
                outbox,
                snapshots=SnapshotStore(settings.state_dir / work.role / name.replace("/", "-")),
                pace=Pace(snapshot_every=settings.snapshot_every),
                on_batch=watch.batch,
            )
            return worker, outbox.close

        def turned(_held: Sequence[str]) -> None:
            watch.ready()

        Division(membership, open_worker, settings.stream_batch, turned).run(stop)

    keep_at(loop, watch, stop)


def keep_at(loop: Callable[[], None], watch: Watch, stop: Event) -> None:
    """Run ``loop`` until ``stop`` is set; when it is superseded or cut off, again, with blank memories.

    The pause before a new attempt doubles up to 15 s, jittered; it starts over after an attempt that lasted.
    """
    pause = SHORTEST_PAUSE_S
    while not stop.is_set():
        began = monotonic()
        try:
            loop()
        except (Superseded, Unavailable) as error:
            watch.not_ready(str(error))
            watch.restarted(str(error))
            if monotonic() - began > LASTING_S:
                pause = SHORTEST_PAUSE_S
            stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(LONGEST_PAUSE_S, pause * 2)
