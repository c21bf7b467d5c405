"""A partition of the journal as a feed of the view: read from anywhere, again and again, outside of any group."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ingest.codec import decode
from ingest.errors import BadRecord, Corrupt, Unavailable
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.reader import PartitionReader
from ingest.records import Position, Record
from ingest.stage import Delivery

WAIT_S = 0.05
"""How long a poll waits for records: one thread may look after many feeds."""


class JournalDamaged(Corrupt):
    """The journal holds what nobody of ours can have written: nothing that is derived from it can be trusted."""


class PartitionFeed:
    """One partition, committed records only.  Owned by one thread.

    ``expected`` are the records that the topic carries.  ``on_poll`` is called at each poll.  Every method raises
    ``Unavailable`` while the cluster is away; the feed can be used on then, from a ``seek`` on.
    """

    exhausted = False

    def __init__(
        self,
        config: KafkaConfig,
        place: Place,
        expected: tuple[type[Record], ...],
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        self.partition = place.name
        self.place = place
        self._expected = expected
        self._reader = PartitionReader(config, place, on_poll)

    def seek(self, after: Position | None) -> None:
        """Go on behind ``after``; from the first record that is kept when None.

        Raises ``Corrupt`` when what follows ``after`` is not kept any more, or never was there: going on from
        elsewhere would leave a hole that nobody sees.
        """
        beginning = self._reader.beginning
        start = beginning if after is None else after.offset + 1
        if start < beginning or start > self._reader.end:
            message = f"{self.partition} does not reach back to offset {start}, or was made anew"
            raise Corrupt(message)
        self._reader.seek(start)

    def poll(self, max_records: int) -> list[Delivery]:
        """The next records.  Raises ``JournalDamaged``, with the place, for what is no record of the journal."""
        deliveries = []
        for received in self._reader.poll(max_records, WAIT_S):
            try:
                record: Record = decode(received.message, *self._expected)
            except BadRecord as error:
                what = f"{received.position.partition}@{received.offset} is no record of the journal: {error.detail}"
                raise JournalDamaged(what) from error
            deliveries.append(Delivery(record, received.position))
        return deliveries

    def lag(self) -> int:
        """Offsets between what was polled and the last committed record's end; 0 when there is nothing more for now.

        What follows may be but markers of transactions, over which the next poll runs.
        """
        return max(0, self._reader.end - self._reader.position)

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(Unavailable):
            self._reader.close()
