"""How fast the stream is, and how soon it is back: roles as processes, joined by a real broker.

Everything happens in topics of this run's own, which are deleted at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from threading import BoundedSemaphore, Event, Thread
from time import monotonic, sleep
from uuid import uuid4

import numpy as np
from pydantic import BaseModel, ConfigDict

from deploy.bench_crowd import OPENING, Crowd
from deploy.bench_roles import RoleProcess, running
from deploy.roles import ALERTER, CLUSTERER, EMBEDDER
from deploy.routes import clusterer_routes, embedder_routes, publisher_route
from embedder.cards import ModelCard
from ingest.codec import decode
from ingest.errors import AtmwatchError
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.outbox import Routes
from ingest.kafka_bus.publisher import Publisher
from ingest.kafka_bus.reader import PartitionReader
from ingest.kafka_bus.topics import Admin, TopicSpec
from ingest.records import AtmEvent, Record
from alerts.records import Alert

UNDER_WAY = 4000
"""Records sent and not yet acknowledged, at most."""
START_LIMIT_S = 60.0
SLOWEST = 100.0
"""A role that takes fewer records a second than this is given up."""
NEWCOMERS = 64
"""Faces by which a restored clusterer shows that it works again."""
WARM_UP = 20
STRAGGLERS_S = 15.0
ALERT_ON_EVERYBODY = """\
version: 1
rules:
  - id: ANYBODY
    title: Somebody is at the machine
    severity: low
    per: atm
    when:
      any:
        - {window: 60s, distinct_persons: 1}
    cooldown: 60s
"""


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

    ``faces_per_second`` is the clusterer's rate from topic to committed sighting while the whole backlog was there
    before it started, ``sightings_per_second`` the alerter's likewise.  ``latency_ms`` is from the publishing of an
    event with its picture to the consuming of its alert, ``answered`` how many of the events came through.
    ``recovery_s`` is from the start of the process to the first input committed.  ``rss_mb`` is the largest resident
    memory of a role, ``rss_mb_course`` that after each tenth of its work; a roster grows with the people in it.
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
    cpu_ms_per_face: dict[str, float]
    rss_mb: dict[str, float]
    rss_mb_course: dict[str, list[float]]


Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """Topics of its own on the cluster, a folder of its own, and what a role's environment must say of both."""

    config: KafkaConfig
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ATMWATCH_KAFKA__BOOTSTRAP": self.config.bootstrap,
            "ATMWATCH_KAFKA__TOPIC_PREFIX": self.config.topic_prefix,
            "ATMWATCH_KAFKA__GROUP": self.config.group,
            "ATMWATCH_KAFKA__SCOPES": '["default"]',
            "ATMWATCH_STATE_DIR": str(self.folder / "state"),
            "ATMWATCH_LOG__LEVEL": "WARNING",
        }

    def run(self, role: str, **more: str) -> contextmanager[RoleProcess]:
        return running(role, self.environment | more, self.folder)

    def publish(self, records: Iterable[Record], routes: Routes, topic: str) -> int:
        """Write ``records``, and wait until all are acknowledged; how many."""
        publisher = Publisher(self.config, routes, (topic,))
        room, failed, count = BoundedSemaphore(UNDER_WAY), list[AtmwatchError](), 0

        def done(error: AtmwatchError | None) -> None:
            room.release()
            if error is not None:
                failed.append(error)

        try:
            for record in records:
                room.acquire()
                publisher.send(record, done)
                count += 1
            for _ in range(UNDER_WAY):
                room.acquire()
        finally:
            publisher.close()
        if failed:
            raise failed[0]
        return count
