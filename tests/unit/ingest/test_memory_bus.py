from __future__ import annotations

import pytest
from toys import Punch, punches

from ingest.memory_bus import Crash, Crashed, MemoryOutbox, MemorySource
from ingest.records import Position

ONE, TWO, THREE = (Punch(key=key, badge="b") for key in "123")


def keys(source: MemorySource, max_records: int = 10) -> list[object]:
    return [delivery.record for delivery in source.poll(max_records)]


def test_a_crash_strikes_once_and_between_records() -> None:
    source = MemorySource([ONE, Crash(), TWO, THREE])
    assert keys(source) == [ONE]
    with pytest.raises(Crashed):
        source.poll(10)
    assert keys(source) == [TWO, THREE]
    assert source.exhausted


def test_crashes_take_no_position() -> None:
    crashed = MemorySource([Crash(), ONE, Crash(), Crash(), TWO], partition="p")
    deliveries = []
    while not crashed.exhausted:
        try:
            deliveries += crashed.poll(10)
        except Crashed:
            continue
    assert deliveries == MemorySource([ONE, TWO], partition="p").poll(10)


def test_a_crash_at_the_end_strikes_too() -> None:
    source = MemorySource([ONE, Crash()])
    assert keys(source) == [ONE]
    assert not source.exhausted
    with pytest.raises(Crashed):
        source.poll(1)
    assert source.exhausted


def test_a_crash_that_lies_behind_is_over() -> None:
    source = MemorySource([ONE, Crash(), TWO, THREE])
    source.seek(Position(offset=1))
    assert keys(source) == [THREE]
    assert source.exhausted
    assert keys(source) == []


def test_a_crash_is_no_exception_that_could_be_caught() -> None:
    assert not issubclass(Crashed, Exception)


def test_the_outbox_outlives_its_worker() -> None:
    outbox = MemoryOutbox()
    outbox.commit(punches(3), Position(offset=2))
    outbox.close()
    assert outbox.outputs == punches(3)
