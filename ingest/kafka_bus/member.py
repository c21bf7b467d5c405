"""A consumer group's member: what it was given, what it reads, and how far the group has come.

Rebalances are only noted by the listener, which runs on the client's own loop and must not block; the owner takes the
notes up between two polls (``changes``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ingest.codec import DEFAULT_MESSAGE_LIMITS, Message, MessageLimits, decode
from ingest.errors import BadRecord, Superseded
from ingest.kafka_bus.client import connecting, connection, translated
from ingest.kafka_bus.config import KafkaConfig
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery

STAGE = "ingest"
FETCH_BYTES = 32 * 1024 * 1024
PARTITION_BYTES = 8 * 1024 * 1024
FAREWELL_MS = 2_000
"""How long leaving a group may take: with the cluster away, nobody hears it anyway."""


class Change(Enum):
    """What happened to a partition."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Place:
    """A partition of a topic; ``name`` is how positions call it."""

    topic: str
    partition: int

    @property
    def name(self) -> str:
        return f"{self.topic}/{self.partition}"

    def on_wire(self, config: KafkaConfig) -> TopicPartition:
        """The client's name for it, with the installation's prefix."""
        return TopicPartition(config.topic_prefix + self.topic, self.partition)

    @classmethod
    def of_wire(cls, topic: str, partition: int, config: KafkaConfig) -> Place:
        """The place that the client calls so."""
        return cls(topic.removeprefix(config.topic_prefix), partition)

    @classmethod
    def named(cls, name: str) -> Place:
        """The place of a position's ``partition``."""
        topic, _, number = name.rpartition("/")
        return cls(topic, int(number))


@dataclass(frozen=True, slots=True)
class Received:
    """A message and where it stood."""

    place: Place
    offset: int
    message: Message

    @property
    def position(self) -> Position:
        return Position(partition=self.place.name, offset=self.offset)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, notes: SimpleQueue[tuple[Change, Place]], config: KafkaConfig) -> None:
        self._notes = notes
        self._config = config

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._note(Change.ASSIGNED, assigned)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._note(Change.REVOKED, revoked)

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        self._note(Change.LOST, lost)

    def _note(self, change: Change, partitions: Sequence[TopicPartition]) -> None:
        for found in partitions:
            self._notes.put((change, Place.of_wire(found.topic, found.partition, self._config)))


class Member:
    """One member of the consumer group ``<config.group>-<role>``, subscribed to ``topics``.

    Reads committed records only.  Offsets are committed in the transaction of an outbox, or, by those whose outputs
    Kafka does not hold, by ``commit``.
    Belongs to one thread.  Raises ``Unavailable`` while the cluster can't be reached.
    """

    def __init__(self, config: KafkaConfig, role: str, topics: Sequence[str], max_records: int) -> None:
        self.config = config
        self._notes: SimpleQueue[tuple[Change, Place]] = SimpleQueue()
        self._metadata: Any = None
        with connecting(config):
            self._consumer = KafkaConsumer(
                **connection(config),
                client_id=f"{config.group}-{role}",
                group_id=f"{config.group}-{role}",
                enable_auto_commit=False,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                max_poll_records=max_records,
                session_timeout_ms=round(config.session_timeout_s * 1000),
                heartbeat_interval_ms=round(config.session_timeout_s * 1000 / 5),
                max_partition_fetch_bytes=PARTITION_BYTES,
                fetch_max_bytes=FETCH_BYTES,
                fetch_max_wait_ms=50,
                partition_assignment_strategy=(CooperativeStickyAssignor,),  # who keeps a partition need not restore it
            )
            named = [config.topic_prefix + topic for topic in topics]
            for topic in named:
                # A leader that divides the work before it knows the partitions gives them to nobody, and may never
                # notice (a race in the client).  So it knows them before it joins.
                self._consumer.partitions_for_topic(topic)
            self._consumer.subscribe(topics=named, listener=_Listener(self._notes, config))

    def poll(self, max_records: int, timeout_s: float) -> list[Received]:
        """The next messages, at most ``max_records``; empty after ``timeout_s``."""
        self._see_join_through()
        with translated():
            found = self._consumer.poll(timeout_ms=round(timeout_s * 1000), max_records=max_records)
            self._metadata = self._consumer.group_metadata()
        return [
            received
            for partition, messages in found.items()
            for received in received_from(messages, Place.of_wire(partition.topic, partition.partition, self.config))
        ]

    def _see_join_through(self) -> None:
        """Let the client finish a join that it has begun, even where it sees no reason for one any more.

        A poll that times out amid a join leaves it to the next poll.  When that join was for newer metadata, its
        reason is gone once the leader has divided the work by them: kafka-python 3.0.12 then forgets the join for
        good, sends no heartbeat, and is expelled after the session timeout.
        """
        coordinator = self._consumer._coordinator  # noqa: SLF001 - nothing public tells that a join is under way
        if coordinator.rejoining:
            coordinator.request_rejoin()

    def changes(self) -> list[tuple[Change, Place]]:
        """What was assigned and taken away since the last call, in order."""
        found = []
        while True:
            try:
                found.append(self._notes.get_nowait())
            except Empty:
                return found

    def committed(self, place: Place) -> int | None:
        """The offset at which the group goes on in ``place``; None when it never committed there."""
        with translated():
            offset: int | None = self._consumer.committed(place.on_wire(self.config))
        return offset

    def commit(self, done: Mapping[Place, int]) -> None:
        """Let the group go on behind these offsets.  Raises ``Superseded`` when this member has lost its place."""
        offsets = {place.on_wire(self.config): OffsetAndMetadata(offset + 1, "", -1) for place, offset in done.items()}
        with translated():
            self._consumer.commit(offsets, timeout_ms=round(self.config.request_timeout_s * 1000))

    def seek(self, place: Place, offset: int | None) -> None:
        """Read on at ``offset`` of ``place``, at its beginning when None."""
        with translated():
            if offset is None:
                self._consumer.seek_to_beginning(place.on_wire(self.config))
            else:
                self._consumer.seek(place.on_wire(self.config), offset)

    def lags(self) -> dict[Place, int]:
        """By how many records the member is behind in each of its partitions, as far as is known."""
        lags = {}
        for found in self._consumer.assignment():
            end = self._consumer.highwater(found)
            if end is not None:
                with translated():
                    lags[Place.of_wire(found.topic, found.partition, self.config)] = max(
                        0, end - self._consumer.position(found)
                    )
        return lags

    @property
    def metadata(self) -> Any:
        """The group's generation and member id as they were at the last poll, by which the broker tells a stale member.

        Raises ``Superseded`` for one that had no membership then: the broker would accept its offsets unchecked.
        """
        if self._metadata is None or self._metadata.generation_id < 0:
            message = "this process is not a member of its group at the moment"
            raise Superseded(message)
        return self._metadata

    def close(self) -> None:
        """Leave the group."""
        with suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=FAREWELL_MS)


class MemberSource:
    """A member as a worker's source: every partition it is given, decoded; for stages without a memory.

    A message that can't be decoded comes out as a Rejection that names its place.
    """

    exhausted = False

    def __init__(
        self, member: Member, expected: tuple[type[Record], ...], on_poll: Callable[[], None] = lambda: None
    ) -> None:
        self._member = member
        self._expected = expected
        self._on_poll = on_poll

    def seek(self, after: Position | None) -> None:
        """Nothing to do: a member goes on where its group stopped."""

    def poll(self, max_records: int) -> list[Delivery]:
        self._on_poll()
        received = self._member.poll(max_records, timeout_s=0.2)
        self._member.changes()
        return [delivered(one, self._expected) for one in received]

    def close(self) -> None:
        self._member.close()


def delivered(
    received: Received, expected: tuple[type[Record], ...], limits: MessageLimits = DEFAULT_MESSAGE_LIMITS
) -> Delivery:
    """The record in a message, or the Rejection that says why there is none."""
    try:
        record: Record = decode(received.message, *expected, limits=limits)
    except BadRecord as error:
        record = Rejection(
            reason=error.reason,
            source=f"{received.place.name}@{received.offset}",
            detail=error.detail,
            stage=STAGE,
            position=received.position,
        )
    return Delivery(record, received.position)


def received_from(messages: Iterable[Any], place: Place) -> Iterator[Received]:
    """The client's ``messages`` from ``place`` as ours."""
    for message in messages:
        headers = tuple([(name, value or b"") for name, value in message.headers or ()])
        yield Received(place, message.offset, Message(message.key, message.value, headers))
