"""How fast the stream is, and how soon it is back: roles as processes, joined by a real broker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, sleep

import numpy as np
from pydantic import BaseModel, ConfigDict

from alerts.records import Alert
from deploy.bench_crowd import OPENING, Crowd
from deploy.bench_roles import RoleProcess
from deploy.bench_stream import Stream, stream_of_its_own
from deploy.roles import ALERTER, CLUSTERER, EMBEDDER
from deploy.routes import clusterer_routes, embedder_routes, publisher_route
from embedder.cards import ModelCard
from ingest.codec import decode
from ingest.kafka_bus.config import ALERTS, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.reader import PartitionReader
from ingest.records import AtmEvent

START_LIMIT_S = 90.0
SLOWEST = 100.0
"""A role that commits fewer inputs a second is given up."""
NEWCOMERS = 64
"""Faces by which a restored clusterer shows that it works again."""
WARM_UP = 20
"""Events before those that are timed."""
STRAGGLERS_S = 15.0
TENTHS = 10
ALERT_ON_EVERYBODY = """\
version: 1
rules:
  - id: ANYBODY
    title: Somebody is at the machine
    severity: low
    queue: data_quality
    per: atm
    when:
      any:
        - {window: 60s, distinct_persons: 1}
    cooldown: 60s
"""

ROLES = (EMBEDDER, CLUSTERER, ALERTER)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class KafkaBenchOptions:
    """``faces`` come to a roster of ``templates``; ``recovery_templates`` are restored; ``events`` come at ``rate``."""

    faces: int = 20_000
    templates: int = 100_000
    recovery_templates: int = 200_000
    events: int = 300
    rate: float = 10.0


class KafkaBench(BaseModel):
    """What ``bench kafka`` prints.

    ``faces_per_second`` is the clusterer's rate from topic to committed sighting, with the whole backlog there before
    it starts, ``sightings_per_second`` the alerter's.  ``recovery_s`` is from the start of the process to the first
    input committed.  ``latency_ms`` is from publishing an event with its picture to consuming its alert, ``answered``
    how many of the events got one.  ``cpu_ms_per_input`` counts all threads of a role.  ``rss_mb`` is a role's largest
    resident memory, ``rss_mb_course`` that after each tenth of its inputs; a roster grows with its people.
    """

    model_config = ConfigDict(frozen=True)

    cores: int
    templates: int
    faces: int
    faces_per_second: float
    sightings_per_second: float
    recovery_templates: int
    recovery_s: dict[str, float]
    events: int
    answered: int
    latency_ms: dict[str, float]
    cpu_ms_per_input: dict[str, float]
    rss_mb: dict[str, float]
    rss_mb_course: dict[str, list[float]]


@dataclass(slots=True)
class _Notes:
    """What has been measured so far."""

    cpu_ms: dict[str, float] = field(default_factory=dict)
    rss_mb: dict[str, float] = field(default_factory=dict)
    course: dict[str, list[float]] = field(default_factory=dict)

    def take(self, role: RoleProcess) -> None:
        looks = role.course
        step = max(1, looks[-1].events // TENTHS)
        tenths = {look.events // step: round(look.rss_mb, 1) for look in reversed(looks)}
        self.cpu_ms[role.role] = round(role.cpu_ms, 4)
        self.rss_mb[role.role] = round(max(look.rss_mb for look in role.looks), 1)
        self.course[role.role] = [tenths[key] for key in sorted(tenths)]


def bench_kafka(
    config: KafkaConfig, card: ModelCard, events: list[AtmEvent], options: KafkaBenchOptions, say: Say
) -> KafkaBench:
    """Measure on the cluster of ``config``, with ``events`` and their pictures repeated; ``say`` hears what is done.

    Raises ``AtmwatchError`` when a role ends or falls silent.
    """
    notes = _Notes()
    with TemporaryDirectory(prefix="atmwatch-bench-") as name, ExitStack() as closing:

        def stream(part: str) -> Stream:
            return closing.enter_context(stream_of_its_own(config, Path(name) / part))

        faces_rate, sightings_rate = _backlog(
            stream("backlog"), Crowd(card, options.templates), options.faces, notes, say
        )
        recovery = _recovery(stream("recovery"), Crowd(card, options.recovery_templates), say)
        delays = _latency(stream("latency"), events, options, notes, say)
    return KafkaBench(
        cores=len(os.sched_getaffinity(0)),
        templates=options.templates,
        faces=options.faces,
        faces_per_second=round(faces_rate, 1),
        sightings_per_second=round(sightings_rate, 1),
        recovery_templates=options.recovery_templates,
        recovery_s=recovery,
        events=options.events,
        answered=len(delays),
        latency_ms={f"p{p}": round(float(np.percentile(delays, p)), 1) for p in (50, 99)} if delays else {},
        cpu_ms_per_input=notes.cpu_ms,
        rss_mb=notes.rss_mb,
        rss_mb_course=notes.course,
    )


def _backlog(stream: Stream, crowd: Crowd, faces: int, notes: _Notes, say: Say) -> tuple[float, float]:
    """The clusterer's rate and the alerter's, over a backlog of ``faces``."""
    say(f"Writing {crowd.templates:,} sightings and {faces:,} faces")
    stream.publish(crowd.journal(), clusterer_routes(stream.config), SIGHTINGS)
    stream.publish(crowd.faces(faces), embedder_routes(stream.config), FACES)
    say("Clusterer at work")
    with stream.run(CLUSTERER) as clusterer:
        _work_off(clusterer, crowd.templates, faces)
    notes.take(clusterer)
    say("Alerter at work")
    with stream.run(ALERTER) as alerter:
        _work_off(alerter, 0, min(faces, crowd.templates + faces))
    notes.take(alerter)
    return clusterer.rate, alerter.rate


def _work_off(role: RoleProcess, restored: int, inputs: int) -> None:
    role.wait_for(1, START_LIMIT_S + restored / SLOWEST)
    role.wait_for(inputs, START_LIMIT_S + inputs / SLOWEST)


def _recovery(stream: Stream, crowd: Crowd, say: Say) -> dict[str, float]:
    """Seconds until the clusterer works again: from the journal alone, then from its snapshot."""
    say(f"Writing {crowd.templates:,} sightings to restore from")
    stream.publish(crowd.journal(), clusterer_routes(stream.config), SIGHTINGS)
    faces, seconds = crowd.faces(2 * NEWCOMERS), {}
    for source in ("journal", "snapshot"):
        stream.publish(islice(faces, NEWCOMERS), embedder_routes(stream.config), FACES)
        say(f"Restoring from the {source}")
        with stream.run(CLUSTERER) as clusterer:  # which takes a snapshot when it is told to stop
            found = clusterer.wait_for(1, START_LIMIT_S + crowd.templates / SLOWEST)
            seconds[source] = round(found.at - clusterer.started, 2)
            clusterer.wait_for(NEWCOMERS, START_LIMIT_S)
    return seconds


def _latency(
    stream: Stream, events: list[AtmEvent], options: KafkaBenchOptions, notes: _Notes, say: Say
) -> list[float]:
    """Milliseconds from publishing to alert, of each event that was answered."""
    rules = stream.folder / "rules.yaml"
    rules.write_text(ALERT_ON_EVERYBODY, "utf-8")
    sent: dict[str, float] = {}
    answered: dict[str, float] = {}
    total = WARM_UP + options.events

    def paced() -> Iterator[AtmEvent]:
        due = monotonic()
        for number in range(total):
            event = events[number % len(events)]
            atm_id = f"bench-{number}"
            at = OPENING + number * timedelta(hours=1)
            made = event.model_copy(update={"event_id": atm_id, "atm_id": atm_id, "captured_at": at})
            sleep(max(0.0, due - monotonic()))
            due += 1 / options.rate
            sent[atm_id] = monotonic()
            yield made

    with ExitStack() as closing:
        say("Starting one process for each role")
        roles = [closing.enter_context(stream.run(role, ATMWATCH_RULES=str(rules))) for role in ROLES]
        for role in roles:
            role.wait_ready(START_LIMIT_S)
        say(f"{total:,} events, {options.rate:g} a second")
        with _listening(stream.config, answered):
            stream.publish(paced(), publisher_route, EVENTS)
            end = monotonic() + STRAGGLERS_S
            while len(answered) < total and monotonic() < end:
                sleep(0.05)
        for role in roles:
            role.look()
            notes.rss_mb[role.role] = max(notes.rss_mb.get(role.role, 0.0), round(role.looks[-1].rss_mb, 1))
        notes.cpu_ms[EMBEDDER] = round(1000 * roles[0].looks[-1].cpu_s / total, 4)
    return [1000 * (answered[name] - sent[name]) for name in list(sent)[WARM_UP:] if name in answered]


@contextmanager
def _listening(config: KafkaConfig, arrived: dict[str, float]) -> Iterator[None]:
    """While the block runs, note in ``arrived`` when each machine's first alert came."""
    reader = PartitionReader(config, Place(ALERTS, 0))
    reader.seek(0)
    stop = Event()

    def listen() -> None:
        while not stop.is_set():
            for received in reader.poll(500, 0.1):
                alert = decode(received.message, Alert)
                arrived.setdefault(str(alert.atm_id), monotonic())

    listener = Thread(target=listen, name="listener", daemon=True)
    listener.start()
    try:
        yield
    finally:
        stop.set()
        listener.join()
        reader.close()
