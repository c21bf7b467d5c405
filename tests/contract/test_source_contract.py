"""What every source owes its worker.  Add an implementation by adding how to fill it to ``SOURCES``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from toys import punches

from ingest.bus import Source
from ingest.memory_bus import MemorySource
from ingest.stage import Delivery

COUNT = 7
Opener = Callable[[], Source]
"""Opens the same input again and again, as processes do that follow each other."""


def memory(_: Path) -> Opener:
    return lambda: MemorySource(punches(COUNT))


SOURCES = {"memory": memory}
"""Each prepares an input of COUNT records in a folder of its own, and returns its opener."""


@pytest.fixture(params=SOURCES)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return SOURCES[request.param](tmp_path)


@contextmanager
def opened(opener: Opener) -> Iterator[Source]:
    with closing(opener()) as source:
        source.seek(None)
        yield source


def drain(source: Source, max_records: int = 3) -> list[Delivery]:
    deliveries: list[Delivery] = []
    while not source.exhausted:
        batch = source.poll(max_records)
        assert len(batch) <= max_records
        deliveries += batch
    return deliveries


@pytest.fixture
def everything(opener: Opener) -> list[Delivery]:
    with opened(opener) as source:
        return drain(source)


def test_everything_comes_once(everything: list[Delivery]) -> None:
    assert len(everything) == COUNT
    assert len({(d.position.partition, d.position.offset) for d in everything}) == COUNT


def test_positions_rise_within_a_partition(everything: list[Delivery]) -> None:
    for partition in {d.position.partition for d in everything}:
        offsets = [d.position.offset for d in everything if d.position.partition == partition]
        assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("max_records", [1, 2, COUNT, 100])
def test_the_size_of_batches_changes_nothing(opener: Opener, everything: list[Delivery], max_records: int) -> None:
    with opened(opener) as source:
        assert drain(source, max_records) == everything


@pytest.mark.parametrize("done", range(COUNT))
def test_another_process_goes_on_behind_any_position(opener: Opener, everything: list[Delivery], done: int) -> None:
    with closing(opener()) as source:
        source.seek(everything[done].position)
        assert drain(source) == everything[done + 1 :]


def test_seek_goes_back_too(opener: Opener, everything: list[Delivery]) -> None:
    with opened(opener) as source:
        drain(source)
        source.seek(everything[2].position)
        assert drain(source) == everything[3:]
        source.seek(None)
        assert drain(source) == everything


def test_an_exhausted_source_gives_nothing_more(opener: Opener) -> None:
    with opened(opener) as source:
        assert not source.exhausted
        drain(source)
        assert source.poll(5) == []
        assert source.exhausted


def test_closing_twice_does_nothing(opener: Opener) -> None:
    source = opener()
    source.close()
    source.close()
