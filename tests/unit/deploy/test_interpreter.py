"""What is kept out of the search for garbage stays out of it, and comes back when it is given up."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from weakref import ref

import pytest

from deploy import interpreter


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    threshold, turn = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(turn)
    gc.unfreeze()


class Memory:
    """Garbage, once nobody holds it, that only the search for cycles finds."""

    def __init__(self) -> None:
        self.itself = self


def test_a_memory_that_is_kept_is_not_searched_and_one_that_is_given_up_is() -> None:
    memory = Memory()
    seen = ref(memory)
    interpreter.keep_memory()
    del memory
    gc.collect()
    assert seen() is not None
    interpreter.give_up_memory()
    assert seen() is None
    assert gc.get_freeze_count() == 0


def test_without_a_memory_nothing_is_searched() -> None:
    memory = Memory()
    seen = ref(memory)
    del memory
    gc.disable()
    try:
        interpreter.give_up_memory()
        assert seen() is not None
    finally:
        gc.enable()


def test_a_process_looks_for_garbage_seldom_and_changes_threads_often() -> None:
    interpreter.prepare()
    assert gc.isenabled()
    assert gc.get_threshold()[0] == interpreter.YOUNG
    assert sys.getswitchinterval() == pytest.approx(interpreter.TURN_S)
