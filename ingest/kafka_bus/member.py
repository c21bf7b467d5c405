"""A consumer group's member: what it was given, what it reads, and how far the group has come.

Rebalances are only noted by the listener, which runs on the client's own loop and must not block; the owner takes the
notes up between two polls (``changes``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener

from ingest.codec import DEFAULT_MESSAGE_LIMITS, Message, MessageLimits, decode
from ingest.errors import BadRecord, Superseded, Unavailable
from ingest.kafka_bus.client import connection, translated
from ingest.kafka_bus.config import KafkaConfig
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery

STAGE = "ingest"
FETCH_BYTES = 32 * 1024 * 1024
SILENCE_S = 30.0


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
    def __init__(self, notes: SimpleQueue[tuple[Change, Place]]) -> None:
        self._notes = notes

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._note(Change.ASSIGNED, assigned)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._note(Change.REVOKED, revoked)

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        self._note(Change.LOST, lost)

    def _note(self, change: Change, partitions: Sequence[TopicPartition]) -> None:
        for found in partitions:
            self._notes.put((change, Place(found.topic, found.partition)))


class Member:
    """One member of the consumer group ``<config.group>-<role>``, subscribed to ``topics``.

    Reads committed records only, and commits nothing itself: offsets are committed in the transaction of an outbox.
    Belongs to one thread.  Raises ``Unavailable`` while the cluster can't be reached.
    """

    def __init__(self, config: KafkaConfig, role: str, topics: Sequence[str], max_records: int) -> None:
        self.config = config
        self._notes: SimpleQueue[tuple[Change, Place]] = SimpleQueue()
        self._metadata: Any = None
        with translated():
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
                max_partition_fetch_bytes=min(FETCH_BYTES, 4 * 1024 * 1024),
                fetch_max_bytes=FETCH_BYTES,
                fetch_max_wait_ms=50,
            )
            self._consumer.subscribe(topics=list(topics), listener=_Listener(self._notes))

    def poll(self, max_records: int, timeout_s: float) -> list[Received]:
        """The next messages, at most ``max_records``; empty after ``timeout_s``."""
        with translated():
            found = self._consumer.poll(timeout_ms=round(timeout_s * 1000), max_records=max_records)
            self._metadata = self._consumer.group_metadata()
        return [received for messages in found.values() for received in map(_received, messages)]

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
            offset: int | None = self._consumer.committed(_tp(place))
        return offset

    def seek(self, place: Place, offset: int | None) -> None:
        """Read on at ``offset`` of ``place``, at its beginning when None."""
        with translated():
            if offset is None:
                self._consumer.seek_to_beginning(_tp(place))
            else:
                self._consumer.seek(_tp(place), offset)

    def lags(self) -> dict[Place, int]:
        """By how many records the member is behind in each of its partitions, as far as is known."""
        lags = {}
        for found in self._consumer.assignment():
            end = self._consumer.highwater(found)
            if end is not None:
                with translated():
                    lags[Place(found.topic, found.partition)] = max(0, end - self._consumer.position(found))
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
        self._consumer.close(autocommit=False)


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


class PartitionReader:
    """Reads one partition from an offset to its end, committed records only, outside of any group."""

    def __init__(self, config: KafkaConfig, place: Place) -> None:
        self._place = place
        with translated():
            self._consumer = KafkaConsumer(
                **connection(config),
                client_id=f"{config.group}-journal",
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
                auto_offset_reset="none",  # "earliest" would silently begin anew where the journal has a hole
                allow_auto_create_topics=False,
                max_poll_records=2000,
                max_partition_fetch_bytes=8 * 1024 * 1024,
                fetch_max_bytes=FETCH_BYTES,
            )
            self._consumer.assign([_tp(place)])

    @property
    def beginning(self) -> int:
        """The first offset that is still kept."""
        with translated():
            return int(self._consumer.beginning_offsets([_tp(self._place)])[_tp(self._place)])

    @property
    def end(self) -> int:
        """The offset behind the last committed record."""
        with translated():
            return int(self._consumer.end_offsets([_tp(self._place)])[_tp(self._place)])

    def read(self, start: int, end: int) -> Iterator[Received]:
        """Every message from ``start`` to before ``end``, in order.  Raises ``Unavailable`` when it stops coming."""
        tp = _tp(self._place)
        with translated():
            self._consumer.seek(tp, start)
        silent_since = monotonic()
        while self._consumer.position(tp) < end:  # runs over aborted and control records by itself
            with translated():
                found = self._consumer.poll(timeout_ms=200, max_records=2000)
            for message in found.get(tp, []):
                if message.offset < end:
                    yield _received(message)
            if found:
                silent_since = monotonic()
            elif monotonic() - silent_since > SILENCE_S:
                what = f"the journal {self._place.name}"
                raise Unavailable(what)

    def close(self) -> None:
        self._consumer.close(autocommit=False)


def _received(message: Any) -> Received:
    headers = tuple((name, value or b"") for name, value in message.headers or ())
    return Received(
        Place(message.topic, message.partition), message.offset, Message(message.key, message.value, headers)
    )


def _tp(place: Place) -> TopicPartition:
    return TopicPartition(place.topic, place.partition)
