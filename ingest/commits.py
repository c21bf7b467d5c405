"""A commit that is under way while the next batch is worked on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from ingest.bus import Outbox
from ingest.records import Position, Record
from ingest.stage import Delivery

Outputs = tuple[Record, ...]


class Commits:
    """Commits batches into ``outbox``, one at a time and in order; belongs to one thread.

    ``on_done`` hears of each that has succeeded, in the owner's thread.  As a context manager it waits for what is
    under way, whatever happens; that is heard of unless something was raised.
    """

    def __init__(self, outbox: Outbox, on_done: Callable[[Sequence[Delivery], Outputs], None]) -> None:
        self._outbox = outbox
        self._on_done = on_done
        self._thread = ThreadPoolExecutor(1, "commit")
        self._under_way: tuple[Sequence[Delivery], Outputs, Future[None]] | None = None

    def __enter__(self) -> Commits:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown()
        if error is None:
            self.settle()

    def settle(self) -> None:
        """Wait for the commit that is under way, if any.  Raises what it raised."""
        if self._under_way is not None:
            batch, outputs, done = self._under_way
            self._under_way = None
            done.result()
            self._on_done(batch, outputs)

    def begin(self, batch: Sequence[Delivery], outputs: Outputs) -> None:
        """Commit the ``outputs`` of ``batch`` in another thread, once the commit before is settled."""
        self.settle()
        self._under_way = batch, outputs, self._thread.submit(self._outbox.commit, outputs, *_upto(batch))

    def make(self, batch: Sequence[Delivery], outputs: Outputs) -> None:
        """Commit the ``outputs`` of ``batch`` here and now, once the commit before is settled."""
        self.settle()
        self._outbox.commit(outputs, *_upto(batch))
        self._on_done(batch, outputs)


def _upto(batch: Sequence[Delivery]) -> list[Position]:
    """The last position of ``batch`` in each partition."""
    return list({delivery.position.partition: delivery.position for delivery in batch}.values())
