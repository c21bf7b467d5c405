"""The bus in memory: for tests, and to embed the pipeline in another program.

A crash is a value in the stream: put ``Crash()`` where the process is to die, and ``poll`` raises
``Crashed`` there, once.  What was committed stays, as it would on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.records import Position, Record
from ingest.stage import Delivery


@dataclass(frozen=True, slots=True)
class Crash:
    """The process dies here, between two records."""


class Crashed(BaseException):
    """The process is gone.  Not an ``Exception``: nothing may catch it and go on."""


class MemorySource:
    """Inputs from a list.  Crashes take no offset, so positions stay the same whether they struck or not."""

    def __init__(self, stream: Sequence[Record | Crash], partition: str = "memory") -> None:
        self._records: list[Record] = []
        self._crashes: dict[int, list[Crash]] = {}
        for item in stream:
            if isinstance(item, Crash):
                self._crashes.setdefault(len(self._records), []).append(item)
            else:
                self._records.append(item)
        self._partition = partition
        self._next = 0

    def seek(self, after: Position | None) -> None:
        self._next = 0 if after is None else after.offset + 1

    def poll(self, max_records: int) -> list[Delivery]:
        batch: list[Delivery] = []
        while len(batch) < max_records and not self.exhausted:
            if self._crashes.get(self._next):
                if batch:
                    break
                self._crashes[self._next].pop(0)
                raise Crashed
            position = Position(partition=self._partition, offset=self._next)
            batch.append(Delivery(self._records[self._next], position))
            self._next += 1
        return batch

    @property
    def exhausted(self) -> bool:
        return self._next >= len(self._records) and not self._crashes.get(self._next)

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryOutbox:
    """Outputs in a list; survives the worker that wrote it, as a file or topic would."""

    def __init__(self) -> None:
        self._commits: list[tuple[Position, tuple[Record, ...]]] = []

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:
        (position,) = upto
        self._commits.append((position, tuple(outputs)))

    def committed(self) -> Position | None:
        return self._commits[-1][0] if self._commits else None

    def journal(self, after: Position | None = None) -> Iterator[Record]:
        for position, outputs in self._commits:
            if after is None or position.offset > after.offset:
                yield from outputs

    @property
    def outputs(self) -> list[Record]:
        """Everything that was ever committed, in order."""
        return list(self.journal())

    def close(self) -> None:
        """Nothing to let go of."""
