"""What a role's memory is folded from, read back from its topics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Protocol

from ingest.codec import decode
from ingest.errors import BadRecord, Corrupt
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.member import Place, Received
from ingest.kafka_bus.reader import PartitionReader
from ingest.records import Position, Record


class Journal(Protocol):
    """``marks`` is, by partition name, the offset from which records are not yet in the last snapshot."""

    marks: dict[str, int]

    def wrote(self, place: Place, offset: int) -> None:
        """Note that ``offset`` of ``place`` was committed and is in memory."""
        ...

    def read(self, after: Position | None, committed: Position | None) -> Iterator[Record]:
        """Every record behind the marks, in the order in which it is to be folded."""
        ...


class OutputJournal:
    """A role's own output is its journal: sightings for the clusterer."""

    def __init__(
        self,
        config: KafkaConfig,
        place: Place,
        expected: tuple[type[Record], ...],
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_poll = on_poll
        self.marks: dict[str, int] = {}
        self._config = config
        self._place = place
        self._expected = expected

    def wrote(self, place: Place, offset: int) -> None:
        if place == self._place:
            self.marks[place.name] = offset + 1

    def read(self, after: Position | None, committed: Position | None) -> Iterator[Record]:  # noqa: ARG002
        reader = PartitionReader(self._config, self._place, self._on_poll)
        try:
            start, end = max(self.marks.get(self._place.name, 0), reader.beginning), reader.end
            for received in reader.read(start, end):
                yield decoded(received, self._expected)
            self.marks[self._place.name] = end
        finally:
            reader.close()


class InputJournal:
    """What a role read, with what it then wrote behind each input: sightings and alerts for the alerter."""

    def __init__(
        self,
        config: KafkaConfig,
        inputs: Place,
        outputs: Place,
        expected: tuple[tuple[type[Record], ...], tuple[type[Record], ...]],
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_poll = on_poll
        self.marks: dict[str, int] = {}
        self._config = config
        self._inputs = inputs
        self._outputs = outputs
        self._expected = expected

    def wrote(self, place: Place, offset: int) -> None:
        if place == self._outputs:
            self.marks[place.name] = offset + 1

    def read(self, after: Position | None, committed: Position | None) -> Iterator[Record]:
        written = self._written()
        if committed is None:
            return
        reader = PartitionReader(self._config, self._inputs, self._on_poll)
        try:
            start = reader.beginning if after is None else max(after.offset + 1, reader.beginning)
            for received in reader.read(start, committed.offset + 1):
                yield decoded(received, self._expected[0])
                yield from written.pop(received.offset, ())
        finally:
            reader.close()

    def _written(self) -> dict[int, list[Record]]:
        """The outputs behind the marks, by the offset of the input that they came from."""
        found: defaultdict[int, list[Record]] = defaultdict(list)
        reader = PartitionReader(self._config, self._outputs, self._on_poll)
        try:
            start, end = max(self.marks.get(self._outputs.name, 0), reader.beginning), reader.end
            for received in reader.read(start, end):
                record = decoded(received, self._expected[1])
                position: Position | None = getattr(record, "position", None)
                if position is not None:
                    found[position.offset].append(record)
            self.marks[self._outputs.name] = end
        finally:
            reader.close()
        return dict(found)


def decoded(received: Received, expected: tuple[type[Record], ...]) -> Record:
    """A journal's record.  Raises ``Corrupt``, with its place, for what nobody of ours can have written."""
    try:
        return decode(received.message, *expected)
    except BadRecord as error:
        what = f"{received.place.name}@{received.offset} is no record of the journal: {error.detail}"
        raise Corrupt(what) from error
