"""Commits under way: one at a time, heard of in the owner's thread, never left behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from toys import punches

from ingest.commits import Commits, Outputs
from ingest.errors import Unavailable
from ingest.memory_bus import MemoryOutbox
from ingest.records import Position, Record
from ingest.stage import Delivery

STREAM = [Delivery(record, Position(partition="memory", offset=n)) for n, record in enumerate(punches(12, seed=1))]


class Slow(MemoryOutbox):
    """Commits when it is let, and fails as told."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.broken = False
        self.threads: list[str] = []

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:
        assert self.let.wait(5)
        self.threads.append(threading.current_thread().name)
        if self.broken:
            what = "broker"
            raise Unavailable(what)
        super().commit(outputs, *upto)


class Heard:
    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def __call__(self, batch: Sequence[Delivery], outputs: Outputs) -> None:
        assert outputs == records(batch)
        self.batches.append(len(batch))
        self.threads.add(threading.get_ident())


def records(batch: Sequence[Delivery]) -> Outputs:
    return tuple(delivery.record for delivery in batch)


def test_work_goes_on_while_a_commit_is_under_way_and_it_is_heard_of_when_settled() -> None:
    outbox, heard = Slow(), Heard()
    with Commits(outbox, heard) as commits:
        commits.begin(STREAM[:4], records(STREAM[:4]))
        assert outbox.committed() is None
        assert heard.batches == []
        outbox.let.set()
        commits.settle()
        assert outbox.committed() == STREAM[3].position
        assert heard.batches == [4]
        commits.settle()
        assert heard.batches == [4]
    assert heard.threads == {threading.get_ident()}


def test_each_waits_for_the_one_before() -> None:
    outbox, heard = Slow(), Heard()
    outbox.let.set()
    with Commits(outbox, heard) as commits:
        commits.begin(STREAM[:4], records(STREAM[:4]))
        commits.begin(STREAM[4:6], records(STREAM[4:6]))
        assert heard.batches == [4]
        commits.make(STREAM[6:9], records(STREAM[6:9]))
        assert heard.batches == [4, 2, 3]
        commits.begin(STREAM[9:], records(STREAM[9:]))
    assert heard.batches == [4, 2, 3, 3]
    assert outbox.committed() == STREAM[-1].position
    assert list(outbox.journal()) == list(records(STREAM))
    assert [name == threading.current_thread().name for name in outbox.threads] == [False, False, True, False]


@pytest.mark.parametrize("ends", ["settle", "begin", "make", "leave"])
def test_a_commit_that_fails_is_raised_at_the_next_occasion_and_nothing_follows_it(ends: str) -> None:
    outbox, heard = Slow(), Heard()
    outbox.broken = True
    outbox.let.set()

    def work() -> None:
        with Commits(outbox, heard) as commits:
            commits.begin(STREAM[:4], records(STREAM[:4]))
            if ends == "settle":
                commits.settle()
            elif ends != "leave":
                getattr(commits, ends)(STREAM[4:], records(STREAM[4:]))

    with pytest.raises(Unavailable):
        work()
    assert heard.batches == []
    assert len(outbox.threads) == 1


def test_whatever_is_raised_meanwhile_the_commit_is_waited_for() -> None:
    """An outbox must not be closed under a commit."""
    outbox, heard = Slow(), Heard()

    def work() -> None:
        with Commits(outbox, heard) as commits:
            commits.begin(STREAM[:4], records(STREAM[:4]))
            threading.Timer(0.05, outbox.let.set).start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert outbox.committed() == STREAM[3].position
    assert heard.batches == []
