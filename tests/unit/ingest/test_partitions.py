"""Divided work: a worker for each partition given, with a memory of its own, and none for those taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event

import pytest
from toys import Counted, Punch, Tally

from ingest.errors import Superseded, Unavailable
from ingest.memory_bus import MemoryOutbox, MemorySource
from ingest.partitions import Division, Round
from ingest.records import Position, Record
from ingest.stage import Delivery
from ingest.worker import Worker


@dataclass
class FakeMembership:
    """A group's member whose polls were written down beforehand; stops the division after the last."""

    script: list[Round]
    stop: Event
    started: list[tuple[str, int | None]] = field(default_factory=list)
    closed: int = 0

    def rounds(self, max_records: int) -> Round:
        assert max_records == 10
        if not self.script:
            self.stop.set()
            return Round([], [], {})
        return self.script.pop(0)

    def start(self, partition: str, after: int | None) -> None:
        self.started.append((partition, after))

    def close(self) -> None:
        self.closed += 1


@dataclass
class Bench:
    """Outboxes that outlive their workers, by partition, and what became of the workers."""

    outboxes: dict[str, MemoryOutbox] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    held: list[Sequence[str]] = field(default_factory=list)

    def open(self, name: str) -> tuple[Worker, Callable[[], None]]:
        self.opened.append(name)
        outbox = self.outboxes.setdefault(name, MemoryOutbox())
        return Worker(Tally(), MemorySource([]), outbox), lambda: self.closed.append(name)

    def run(self, *script: Round) -> FakeMembership:
        stop = Event()
        membership = FakeMembership(list(script), stop)
        try:
            Division(membership, self.open, 10, self.held.append).run(stop)
        finally:
            self.membership = membership
        return membership

    def counts(self, name: str) -> list[int]:
        return [record.count for record in self.outboxes[name].outputs if isinstance(record, Counted)]


def punched(name: str, *offsets: int) -> dict[str, list[Delivery]]:
    """Punches of one badge at these offsets of a partition."""
    return {name: [Delivery(Punch(key=f"k{o}", badge="b"), Position(partition=name, offset=o)) for o in offsets]}


GAINED_A = Round(["a"], [], {})


def test_each_partition_has_a_memory_of_its_own() -> None:
    bench = Bench()
    records = {**punched("a", 0, 1), **punched("b", 0)}
    membership = bench.run(Round(["a", "b"], [], {}), Round([], [], records), Round([], [], punched("a", 2)))
    assert (bench.counts("a"), bench.counts("b")) == ([1, 2, 3], [1])
    assert membership.started == [("a", None), ("b", None)]
    assert bench.held == [("a", "b")] * 4
    assert sorted(bench.closed) == ["a", "b"]
    assert membership.closed == 1


def test_what_is_given_up_is_dropped_and_restored_when_it_comes_back() -> None:
    bench = Bench()
    membership = bench.run(
        GAINED_A,
        Round([], [], punched("a", 0, 1)),
        Round([], ["a"], {}),
        Round([], [], punched("a", 7)),  # not ours: left alone
        GAINED_A,
        Round([], [], punched("a", 1, 2)),  # 1 again, as after a hand-over: known
    )
    assert bench.counts("a") == [1, 2, 3]
    assert membership.started == [("a", None), ("a", 1)]
    assert bench.opened == bench.closed == ["a", "a"]
    assert bench.held == [("a",), ("a",), (), (), ("a",), ("a",), ("a",)]


def test_taken_and_given_back_between_two_polls_is_opened_anew() -> None:
    bench = Bench()
    bench.run(GAINED_A, Round(["a"], ["a"], punched("a", 0)), Round([], [], punched("a", 0)))
    assert bench.opened == bench.closed == ["a", "a"]
    assert bench.counts("a") == [1]


def test_what_was_never_held_can_be_given_up() -> None:
    bench = Bench()
    bench.run(Round([], ["z"], {}))
    assert bench.closed == []


class Refusing(MemoryOutbox):
    """Loses its work at the first commit, or can't be read."""

    def __init__(self, error: Exception, *, reading: bool = False) -> None:
        super().__init__()
        self._error, self._reading = error, reading

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:  # noqa: ARG002
        raise self._error

    def journal(self, after: Position | None = None) -> Iterator[Record]:
        if self._reading:
            raise self._error
        return super().journal(after)


@pytest.mark.parametrize("error", [Superseded("gone"), Unavailable("Kafka"), RuntimeError("a defect")])
@pytest.mark.parametrize("reading", [False, True])
def test_whatever_ends_it_everything_is_closed(error: Exception, reading: bool) -> None:
    bench = Bench(outboxes={"a": Refusing(error, reading=reading)})
    with pytest.raises(type(error)):
        bench.run(Round(["b"], [], {}), GAINED_A, Round([], [], punched("a", 0)))
    assert sorted(bench.closed) == ["a", "b"]
    assert bench.membership.closed == 1
