"""What the sources of the stream owe a worker.  They differ from others: never exhausted, and a group's, not one's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from crowd import crowd
from stream import make_topics, publish, stream_config

from embedder.records import FaceEmbedding
from ingest.codec import Message, encode
from ingest.kafka_bus.config import FACES, KafkaConfig
from ingest.kafka_bus.member import Member, MemberSource, Place
from ingest.kafka_bus.membership import KafkaMembership
from ingest.reasons import Reason
from ingest.records import Position, Rejection
from ingest.stage import Delivery

pytest_plugins = ["servers.plugin"]

COUNT = 40
SCOPES = ("one", "two")


@pytest.fixture(scope="module")
def filled(kafka: str) -> KafkaConfig:
    config = stream_config(kafka, scopes=SCOPES)
    make_topics(config)
    faces = [face for number, scope in enumerate(SCOPES) for face in crowd(COUNT // 2, number, scope)]
    sent = [(config.partition_of(face.event.scope), encode(face)) for face in faces]
    publish(config, FACES, [*sent, (1, Message(None, b"poison"))])
    return config


Poll = Callable[[int], list[Delivery]]


class Sourced:
    """Polls a MemberSource."""

    def __init__(self, config: KafkaConfig) -> None:
        self.source = MemberSource(Member(config, "sourced", [FACES], 7), (FaceEmbedding,))
        self.source.seek(None)
        assert not self.source.exhausted

    def poll(self, most: int) -> list[Delivery]:
        return self.source.poll(most)

    def close(self) -> None:
        self.source.close()


class Divided:
    """Polls a KafkaMembership as a division does."""

    def __init__(self, config: KafkaConfig) -> None:
        self.membership = KafkaMembership(Member(config, "divided", [FACES], 7), (FaceEmbedding,), lambda: None)

    def poll(self, most: int) -> list[Delivery]:
        turn = self.membership.rounds(most)
        assert not set(turn.gained) & turn.records.keys()
        for name in turn.gained:
            self.membership.start(name, None)
        return [delivery for batch in turn.records.values() for delivery in batch]

    def close(self) -> None:
        self.membership.close()


@pytest.fixture(params=[Sourced, Divided])
def opener(request: pytest.FixtureRequest, filled: KafkaConfig) -> Callable[[], Sourced | Divided]:
    return lambda: request.param(filled)


def drain(source: Sourced | Divided, most: int = 5) -> list[Delivery]:
    found: list[Delivery] = []
    until = time.monotonic() + 30
    while len(found) <= COUNT:
        assert time.monotonic() < until
        batch = source.poll(most)
        assert len(batch) <= most
        found += batch
    assert source.poll(most) == []
    return found


@pytest.fixture
def everything(opener: Callable[[], Sourced | Divided]) -> Iterator[list[Delivery]]:
    with closing(opener()) as source:
        yield drain(source)


def test_everything_comes_once_in_the_order_of_its_partition(everything: list[Delivery]) -> None:
    for number in range(len(SCOPES)):
        offsets = [d.position.offset for d in everything if d.position.partition == f"atm.faces/{number}"]
        assert offsets == list(range(COUNT // 2 + number))


def test_poison_comes_as_a_rejection_with_its_place(everything: list[Delivery]) -> None:
    (poison,) = [d.record for d in everything if isinstance(d.record, Rejection)]
    place = Place(FACES, 1)
    assert (poison.reason, poison.source) == (Reason.BAD_RECORD, f"{place.name}@{COUNT // 2}")
    assert poison.position == Position(partition=place.name, offset=COUNT // 2)
    assert Place.named(place.name) == place


def test_what_nobody_committed_comes_again(opener: Callable[[], Sourced | Divided]) -> None:
    def drained() -> list[Delivery]:
        with closing(opener()) as source:
            return sorted(drain(source), key=lambda d: (d.position.partition, d.position.offset))

    assert drained() == drained()


def test_closing_twice_does_nothing(opener: Callable[[], Sourced | Divided]) -> None:
    source = opener()
    source.close()
    source.close()
