"""What every outbox owes its worker.  Add an implementation by adding how to open it to ``OUTBOXES``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import FILES, Counted, Milestone

from ingest.bus import Outbox
from ingest.jsonl_bus import JsonlOutbox, Mode
from ingest.memory_bus import MemoryOutbox
from ingest.reasons import Reason
from ingest.records import Position, Record, Rejection

Opener = Callable[[], Outbox]
"""Opens the same outbox again and again, as processes do that follow each other."""


def memory(_: Path) -> Opener:
    outbox = MemoryOutbox()
    return lambda: outbox


def jsonl(folder: Path) -> Opener:
    return lambda: JsonlOutbox(folder, FILES, mode=Mode.RESUME, fsync_every=None)


OUTBOXES = {"memory": memory, "jsonl": jsonl}


@pytest.fixture(params=OUTBOXES)
def make(request: pytest.FixtureRequest) -> Callable[[Path], Opener]:
    return OUTBOXES[request.param]


@pytest.fixture
def opener(make: Callable[[Path], Opener], tmp_path: Path) -> Opener:
    return make(tmp_path)


@pytest.fixture
def outbox(opener: Opener) -> Iterator[Outbox]:
    with closing(opener()) as outbox:
        yield outbox


def at(offset: int) -> Position:
    return Position(partition="p", offset=offset)


def records(offset: int) -> list[Record]:
    return [
        Milestone(badge="ü", count=offset, position=at(offset)),
        Rejection(reason=Reason.NO_FACE, source=" \n", detail="-", stage="s", position=at(offset)),
        Counted(key="k", badge="b", count=offset, position=at(offset)),
        Milestone(badge="c", count=offset, position=at(offset)),
    ]


def test_a_new_one_is_empty(outbox: Outbox) -> None:
    assert outbox.committed() is None
    assert list(outbox.journal()) == []


def test_outputs_come_back_in_the_order_of_commit(outbox: Outbox) -> None:
    outbox.commit(records(0), at(0))
    outbox.commit(list(reversed(records(5))), at(5))
    assert outbox.committed() == at(5)
    assert list(outbox.journal()) == [*records(0), *reversed(records(5))]


def test_the_journal_goes_on_behind_a_committed_position(outbox: Outbox) -> None:
    outbox.commit(records(0), at(0))
    outbox.commit(records(3), at(3))
    assert list(outbox.journal(at(0))) == records(3)
    assert list(outbox.journal(at(3))) == []


def test_a_position_without_outputs_is_committed(outbox: Outbox) -> None:
    outbox.commit([], at(7))
    assert outbox.committed() == at(7)
    assert list(outbox.journal()) == []


def test_a_journal_is_what_was_committed_when_it_was_asked_for_at_least(outbox: Outbox) -> None:
    outbox.commit(records(0), at(0))
    journal = outbox.journal()
    first = next(journal)
    outbox.commit(records(1), at(1))
    assert [first, *journal][:4] == records(0)
    assert list(outbox.journal()) == [*records(0), *records(1)]


def test_the_next_process_finds_everything(opener: Opener) -> None:
    with closing(opener()) as outbox:
        outbox.commit(records(0), at(0))
    with closing(opener()) as outbox:
        assert outbox.committed() == at(0)
        outbox.commit(records(1), at(1))
    with closing(opener()) as outbox:
        assert list(outbox.journal()) == [*records(0), *records(1)]


def test_closing_twice_does_nothing(outbox: Outbox) -> None:
    outbox.close()
    outbox.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.tuples(st.integers(1, 5), st.lists(st.sampled_from(records(1)), max_size=8)), max_size=6),
    reopen=st.sets(st.integers(0, 5)),
)
def test_any_sequence_of_commits(
    make: Callable[[Path], Opener],
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[int, list[Record]]],
    reopen: set[int],
) -> None:
    opener = make(tmp_path_factory.mktemp("outbox"))
    outbox = opener()
    offset, committed = 0, list[tuple[int, list[Record]]]()
    for number, (step, outputs) in enumerate(batches):
        if number in reopen:
            outbox.close()
            outbox = opener()
        offset += step
        outbox.commit(outputs, at(offset))
        committed.append((offset, outputs))
    for start, _ in [(0, []), *committed]:
        later = [record for position, outputs in committed if position > start for record in outputs]
        assert list(outbox.journal(at(start))) == later
    outbox.close()
