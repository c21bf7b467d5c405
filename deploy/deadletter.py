"""Dead letters: what could not be used, listed, and given to the stream once more after its cause was mended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b

from ingest.codec import Message, decode
from ingest.errors import BadRecord
from ingest.kafka_bus.config import DEADLETTER, EVENTS, FACES, KafkaConfig
from ingest.kafka_bus.member import Place, Received
from ingest.kafka_bus.reader import PartitionReader
from ingest.kafka_bus.republish import REPLAYED, Originals, Republisher
from ingest.kafka_bus.topics import Admin, check_topics
from ingest.reasons import Reason
from ingest.records import Position, Rejection

REPLAYABLE = (EVENTS, FACES)
"""Topics whose records may be published again: an input that was counted is known by its id.  Never the journal."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejection, and where it lies in the topic of dead letters."""

    position: Position
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Found:
    """The newest dead letters, oldest of them first; ``unreadable`` counts those that are no rejections."""

    letters: tuple[DeadLetter, ...]
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay is to publish: each record once, by its newest dead letter.

    ``doubles`` counts dead letters of the same event.  ``nowhere`` are those that name no record of a topic that may
    be replayed.
    """

    originals: tuple[DeadLetter, ...]
    doubles: int
    nowhere: tuple[DeadLetter, ...]


@dataclass(slots=True)
class Replayed:
    """What became of a plan: ``gone`` are records that are not kept any more; ``doubles`` had the same content."""

    published: int = 0
    doubles: int = 0
    gone: list[DeadLetter] = field(default_factory=list)


def dead_letters(config: KafkaConfig, limit: int, reasons: frozenset[Reason] = frozenset()) -> Found:
    """The newest ``limit`` dead letters of ``reasons``, of all without any.

    Reads from the end backwards in growing stretches: ever more only if there are not enough.  Raises ``UsageError``
    when the topic is missing, and ``Unavailable``.
    """
    check_topics(config, (DEADLETTER,))
    found, unreadable = [], 0
    for number in range(_partitions(config)):
        reader = PartitionReader(config, Place(DEADLETTER, number))
        try:
            letters, damaged = _newest(reader, limit, reasons)
        finally:
            reader.close()
        found += letters
        unreadable += damaged
    # Of several partitions the newest can't be told but by when they were captured: each gives its own share.
    return Found(tuple(found), unreadable)


def plan_of(letters: Iterable[DeadLetter]) -> Plan:
    """What is to be published of ``letters``, in the order of topics, partitions and offsets.  Pure."""
    newest: dict[tuple[str, str], DeadLetter] = {}
    nowhere = []
    total = 0
    for letter in letters:
        place = origin(letter.rejection)
        if place is None:
            nowhere.append(letter)
            continue
        total += 1
        event_id = letter.rejection.event_id
        position = letter.rejection.position
        newest[place.topic, event_id or f"{position}"] = letter
    ordered = sorted(newest.values(), key=_order)
    return Plan(tuple(ordered), total - len(ordered), tuple(nowhere))


def origin(rejection: Rejection) -> Place | None:
    """The partition from which the rejected record came, if that is one that may be replayed."""
    position = rejection.position
    if position is None:
        return None
    topic, slash, number = position.partition.rpartition("/")
    if not slash or topic not in REPLAYABLE or not (number.isascii() and number.isdigit() and len(number) < 10):
        return None
    return Place(topic, int(number))


def replay(
    config: KafkaConfig, plan: Plan, *, dry_run: bool = False, on_letter: Callable[[], None] = lambda: None
) -> Replayed:
    """Publish the records of ``plan`` once more, where they came from; ``dry_run`` only looks whether they are kept.

    Doing it twice counts nothing twice: an event that was decided meanwhile is known by its id.  ``on_letter`` is
    called for each.  Raises ``Unavailable`` when the cluster goes away; some records are published then.
    """
    done = Replayed()
    seen: set[bytes] = set()
    known = _partitions_of(config)
    with ExitStack() as closing:
        originals = Originals(config)
        closing.callback(originals.close)
        publisher = None if dry_run else Republisher(config)
        if publisher is not None:
            closing.callback(publisher.close)
        for letter in plan.originals:
            received = _original(originals, letter, known)
            on_letter()
            if received is None:
                done.gone.append(letter)
                continue
            digest = content_digest(received.message)
            if digest in seen:
                done.doubles += 1
                continue
            seen.add(digest)
            if publisher is not None:
                publisher.publish(received)
            done.published += 1
        if publisher is not None:
            publisher.flush()
    return done


def content_digest(message: Message) -> bytes:
    """What tells records apart whose event has no id that could be read; a replay's own header does not count."""
    digest = blake2b(digest_size=16)
    headers = (part for name, value in message.headers if name != REPLAYED for part in (name.encode(), value))
    for part in (message.key, message.value, *headers):
        digest.update(b"-" if part is None else b"+%d:" % len(part))
        digest.update(part or b"")
    return digest.digest()


def _original(originals: Originals, letter: DeadLetter, known: dict[str, int]) -> Received | None:
    place, position = origin(letter.rejection), letter.rejection.position
    if place is None or position is None or place.partition >= known.get(place.topic, 0):
        return None
    return originals.find(place, position.offset)


def _newest(reader: PartitionReader, limit: int, reasons: frozenset[Reason]) -> tuple[list[DeadLetter], int]:
    beginning, end = reader.beginning, reader.end
    span = 4 * limit  # a transaction's marker takes an offset as well
    while True:
        start = max(beginning, end - span)
        letters: deque[DeadLetter] = deque(maxlen=limit)
        unreadable = 0
        for received in reader.read(start, end):
            try:
                rejection = decode(received.message, Rejection)
            except BadRecord:
                unreadable += 1
                continue
            if not reasons or rejection.reason in reasons:
                letters.append(DeadLetter(received.position, rejection))
        if len(letters) == limit or start == beginning:
            return list(letters), unreadable
        span *= 16


def _order(letter: DeadLetter) -> tuple[str, int, int]:
    place, position = origin(letter.rejection), letter.rejection.position
    return (place.topic, place.partition, position.offset) if place and position else ("", 0, 0)


def _partitions(config: KafkaConfig) -> int:
    return _partitions_of(config)[DEADLETTER]


def _partitions_of(config: KafkaConfig) -> dict[str, int]:
    admin = Admin(config)
    try:
        return admin.partitions()
    finally:
        admin.close()
