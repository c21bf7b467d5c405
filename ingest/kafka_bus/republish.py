"""Records that are still kept, found by their place and published once more: what a replay of dead letters needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from ingest.codec import Message
from ingest.errors import Unavailable
from ingest.kafka_bus.client import connecting, connection, meaning, translated
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.member import Place, Received
from ingest.kafka_bus.reader import PartitionReader

REPLAYED = "atmwatch-replayed"
"""The header that says from where a record was taken when it was published once more."""

MOST_UNSENT, MOST_UNSENT_BYTES = 200, 32 * 1024 * 1024
FETCH_BYTES = 64 * 1024


class Originals:
    """Looks records up by topic, partition and offset.  Owned by one thread; close it after use."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._readers: dict[Place, tuple[PartitionReader, int, int]] = {}

    def find(self, place: Place, offset: int) -> Received | None:
        """The record, or None when it is not kept any more.  Raises ``Unavailable``."""
        reader, beginning, end = self._reader(place)
        if not beginning <= offset < end:
            return None
        return next(reader.read(offset, offset + 1), None)

    def _reader(self, place: Place) -> tuple[PartitionReader, int, int]:
        if place not in self._readers:
            reader = PartitionReader(self._config, place, fetch_bytes=FETCH_BYTES)
            self._readers[place] = reader, reader.beginning, reader.end
        return self._readers[place]

    def close(self) -> None:
        """Let go of the connections."""
        for reader, _, _ in self._readers.values():
            reader.close()


class Republisher:
    """Publishes records as they were, each into the partition that it came from.  Owned by one thread.

    Idempotent towards the broker: a request that is repeated writes once.  ``on_sent`` hears how many records have
    been acknowledged, in the order in which they were given.
    """

    def __init__(self, config: KafkaConfig, on_sent: Callable[[int], None] = lambda _: None) -> None:
        self._config = config
        self._on_sent = on_sent
        self._unsent: list[Any] = []
        self._bytes = 0
        with connecting(config):
            self._producer = KafkaProducer(
                **connection(config),
                client_id=f"{config.group}-replay",
                acks="all",
                enable_idempotence=True,
                max_request_size=config.max_message_bytes,
                max_block_ms=round(config.request_timeout_s * 1000),
                delivery_timeout_ms=round(config.request_timeout_s * 2000),
            )

    def publish(self, received: Received) -> None:
        """Publish ``received`` once more, with a header that names its place.  Raises ``Unavailable``."""
        message, tp = again(received), received.place.on_wire(self._config)
        with translated():
            self._unsent.append(
                self._producer.send(
                    tp.topic,
                    value=message.value,
                    key=message.key,
                    headers=list(message.headers),
                    partition=tp.partition,
                )
            )
        self._bytes += len(message.value or b"")
        if len(self._unsent) >= MOST_UNSENT or self._bytes >= MOST_UNSENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Wait until the broker has everything.  Raises ``Unavailable``: some of it may be there then."""
        unsent, self._unsent, self._bytes = self._unsent, [], 0
        with translated():
            self._producer.flush(timeout=self._config.request_timeout_s * 2)
        for future in unsent:
            if not future.is_done:
                what = "Kafka (a record was not acknowledged in time)"
                raise Unavailable(what)
            if future.exception is not None:
                raise meaning(future.exception) from future.exception
        self._on_sent(len(unsent))

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(KafkaError):
            self._producer.close(timeout=2)


def again(received: Received) -> Message:
    """The message as it is to be published once more; it names one place, however often it came."""
    message = received.message
    headers = tuple((name, value) for name, value in message.headers if name != REPLAYED)
    where = f"{received.place.name}@{received.offset}".encode()
    return Message(message.key, message.value, (*headers, (REPLAYED, where)))
