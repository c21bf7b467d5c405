"""A time limit for calls that have none of their own: name look-ups, object stores, files on a lost network share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadline:
    """Runs calls of which the caller waits for ``seconds`` at most, each in a thread of its own.

    Python can't stop a thread, so one that is late is left behind as a daemon, and its outcome is dropped.  No more
    than ``at_a_time`` calls run, late ones included: what hangs costs so many threads and no more.  Safe to use from
    several threads.
    """

    def __init__(self, seconds: float, at_a_time: int) -> None:
        self.seconds = seconds
        self._slots = BoundedSemaphore(at_a_time)

    def run(self, call: Callable[[], T]) -> T:
        """What ``call`` gives or raises.  Raises TimeoutError when it is late, or no thread is free in that time."""
        if not self._slots.acquire(timeout=self.seconds):
            raise TimeoutError
        outcome: Future[T] = Future()
        Thread(target=self._work, args=(call, outcome), name="deadline", daemon=True).start()
        return outcome.result(self.seconds)

    def _work(self, call: Callable[[], T], outcome: Future[T]) -> None:
        try:
            with _Into(outcome):
                outcome.set_result(call())
        finally:
            self._slots.release()


class _Into(Generic[T]):
    """Hands whatever is raised within to the one who waits for the outcome."""

    def __init__(self, outcome: Future[T]) -> None:
        self._outcome = outcome

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is not None:
            self._outcome.set_exception(error)
        return True
