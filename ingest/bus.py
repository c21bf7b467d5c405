"""How records get in and out of a worker: two small protocols with memory, file and Kafka implementations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ingest.records import Position, Record
from ingest.stage import Delivery


class Source(Protocol):
    """A replayable, ordered stream of inputs."""

    def seek(self, after: Position | None) -> None:
        """Go on behind ``after``, the last position that was committed; from the start when None."""
        ...

    def poll(self, max_records: int) -> list[Delivery]:
        """The next records, at most ``max_records``; empty when there are none now."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether no record will ever follow.  A stream is never exhausted."""
        ...

    def close(self) -> None: ...


class Outbox(Protocol):
    """Where outputs and the input position that they cover become durable, together or not at all."""

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:
        """Make ``outputs`` durable together with the inputs that they cover: ``upto``, the last of each partition.

        After a crash either all of it is there or none.  An outbox of a single journal takes inputs of one
        partition only, and raises ``ValueError`` for others before anything is written.  May be called in another
        thread than the rest, while nothing else is.
        """
        ...

    def committed(self) -> Position | None:
        """The last position that was committed, None at the start."""
        ...

    def journal(self, after: Position | None = None) -> Iterator[Record]:
        """Every output of the commits behind ``after``, in commit order; ``after`` is a position that was committed."""
        ...

    def close(self) -> None: ...
