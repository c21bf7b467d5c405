"""Reading a partition from one offset to another, as recovery and the tools do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from ingest.errors import Unavailable
from ingest.kafka_bus.client import connecting, connection, translated
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.member import FAREWELL_MS, FETCH_BYTES, Place, Received, received_from

SILENCE_S = 30.0


class PartitionReader:
    """Reads one partition from an offset to its end, committed records only, outside of any group.

    ``on_poll`` is called again and again, for whoever wants to see that a long reading goes on.  ``fetch_bytes`` is
    about how much one request brings: little for single records, which are brought whole in any case.
    """

    def __init__(
        self,
        config: KafkaConfig,
        place: Place,
        on_poll: Callable[[], None] = lambda: None,
        fetch_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._on_poll = on_poll
        self._place = place
        self._tp = place.on_wire(config)
        with connecting(config):
            self._consumer = KafkaConsumer(
                **connection(config),
                client_id=f"{config.group}-journal",
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
                auto_offset_reset="none",  # "earliest" would silently begin anew where the journal has a hole
                allow_auto_create_topics=False,
                max_poll_records=2000,
                max_partition_fetch_bytes=fetch_bytes,
                fetch_max_bytes=FETCH_BYTES,
            )
            self._consumer.assign([self._tp])

    @property
    def beginning(self) -> int:
        """The first offset that is still kept."""
        with translated():
            return int(self._consumer.beginning_offsets([self._tp])[self._tp])

    @property
    def end(self) -> int:
        """The offset behind the last committed record."""
        with translated():
            return int(self._consumer.end_offsets([self._tp])[self._tp])

    def read(self, start: int, end: int) -> Iterator[Received]:
        """Every message from ``start`` to before ``end``, in order.  Raises ``Unavailable`` when it stops coming."""
        self.seek(start)
        silent_since = monotonic()
        while self.position < end:  # runs over aborted and control records by itself
            found = self.poll(2000, 0.2)
            for received in found:
                if received.offset < end:
                    yield received
            if found:
                silent_since = monotonic()
            elif monotonic() - silent_since > SILENCE_S:
                what = f"the journal {self._place.name}"
                raise Unavailable(what)

    @property
    def position(self) -> int:
        """The offset of the next record; once polled to the end, the end, over control records and aborted ones."""
        with translated():
            return int(self._consumer.position(self._tp))

    def seek(self, offset: int) -> None:
        """Read on at ``offset``, which must lie between ``beginning`` and ``end``."""
        with translated():
            self._consumer.seek(self._tp, offset)

    def poll(self, max_records: int, timeout_s: float) -> list[Received]:
        """The next messages, at most ``max_records``; empty after ``timeout_s``."""
        self._on_poll()
        with translated():
            found = self._consumer.poll(timeout_ms=round(timeout_s * 1000), max_records=max_records)
        return list(received_from(found.get(self._tp, ()), self._place))

    def close(self) -> None:
        with suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=FAREWELL_MS)
