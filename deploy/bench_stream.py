"""Topics of a benchmark's own on a real cluster, and everything that roles need to work in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import BoundedSemaphore
from uuid import uuid4

from deploy.bench_crowd import OPENING
from deploy.bench_roles import RoleProcess, running
from ingest.errors import AtmwatchError
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.outbox import Routes
from ingest.kafka_bus.publisher import Publisher, PublisherOptions
from ingest.kafka_bus.topics import Admin, TopicSpec
from ingest.records import AtmEvent, Record

TOPICS = (EVENTS, FACES, SIGHTINGS, ALERTS, DEADLETTER)
Say = Callable[[str], None]
"""Hears what is being done."""
UNDER_WAY = 1000
"""Records sent and not yet acknowledged, at most."""
PATIENCE = PublisherOptions(delivery_timeout_s=300.0, block_s=60.0)
"""A busy machine is no reason to give up."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Where roles work: ``config`` names topics and groups that nobody else uses, ``folder`` is for files."""

    config: KafkaConfig
    folder: Path

    def run(self, role: str, **more: str) -> AbstractContextManager[RoleProcess]:
        """``role`` as a process, in this stream; ``more`` goes into its environment."""
        settings = {
            "ATMWATCH_KAFKA__BOOTSTRAP": self.config.bootstrap,
            "ATMWATCH_KAFKA__TOPIC_PREFIX": self.config.topic_prefix,
            "ATMWATCH_KAFKA__GROUP": self.config.group,
            "ATMWATCH_KAFKA__SCOPES": '["default"]',
            "ATMWATCH_STATE_DIR": str(self.folder / "state"),
            "ATMWATCH_LOG__LEVEL": "WARNING",
        }
        return running(role, settings | more, self.folder)

    def publish(self, records: Iterable[Record], routes: Routes, topic: str) -> int:
        """Write ``records`` as they come, and wait until all are acknowledged; how many.  Raises what a record met."""
        publisher = Publisher(self.config, routes, (topic,), PATIENCE)
        room, failed, count = BoundedSemaphore(UNDER_WAY), list[AtmwatchError](), 0

        def done(error: AtmwatchError | None) -> None:
            if error is not None:
                failed.append(error)
            room.release()

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


@contextmanager
def stream_of_its_own(config: KafkaConfig, folder: Path) -> Iterator[Stream]:
    """New topics, of one partition and one copy, on the cluster of ``config``; deleted at the end."""
    name = f"atmwatch-bench-{uuid4().hex[:12]}"
    own = config.model_copy(update={"topic_prefix": f"{name}.", "group": name, "scopes": ("default",)})
    folder.mkdir(parents=True)
    admin = Admin(own)
    try:
        admin.ensure([TopicSpec(name=topic, partitions=1) for topic in TOPICS])
        try:
            yield Stream(own, folder)
        finally:
            admin.delete(TOPICS)
    finally:
        admin.close()


def visits_of(events: list[AtmEvent], count: int) -> Iterator[AtmEvent]:
    """``count`` events, each at a machine and an hour of its own, with the pictures of ``events`` in turn."""
    for number in range(count):
        atm_id = f"bench-{number}"
        yield events[number % len(events)].model_copy(
            update={"event_id": atm_id, "atm_id": atm_id, "captured_at": OPENING + number * timedelta(hours=1)}
        )
