"""From an event to its acknowledgement: sent once, however often it comes.

The broker's client answers in a thread of its own; the event loop is told by ``call_soon_threadsafe``, so no thread
waits for a request.  Everything else here belongs to the loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ingest.errors import AtmwatchError
from ingest.gateway.limits import Slot
from ingest.gateway.problems import Code, Problem, of_error
from ingest.records import AtmEvent
from ingest.trace_context import Headers

Done = Callable[[AtmwatchError | None], None]


class Sender(Protocol):
    """Where events go."""

    def send(self, record: AtmEvent, done: Done, trace: Headers = ()) -> None:
        """Send without waiting; ``done`` is called once, from any thread: with None when the broker has it for good.

        Raises AtmwatchError, and does not call ``done``, for what can't even be tried.
        """
        ...


class Status(StrEnum):
    """What became of an event that is in the stream."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class _Waiting:
    digest: bytes
    outcome: asyncio.Future[AtmwatchError | None]
    slot: Slot


class Intake:
    """Sends events, and remembers the last ``remembered`` ids that were acknowledged, with their events' digests.

    What is forgotten, or was acknowledged to another gateway, is sent again; the pipeline counts an id once.
    """

    def __init__(self, sender: Sender, remembered: int, ack_timeout_s: float) -> None:
        self._sender = sender
        self._remembered = remembered
        self._timeout_s = ack_timeout_s
        self._acknowledged: OrderedDict[str, bytes] = OrderedDict()
        self._waiting: dict[str, _Waiting] = {}
        self._outcomes: deque[tuple[str, AtmwatchError | None]] = deque()
        self._called = False

    async def accept(self, event: AtmEvent, digest: bytes, slot: Slot, trace: Headers = ()) -> Status:
        """Return once the broker has the event.  ``slot`` is left when it needs no memory any more.

        Raises Problem: EVENT_ID_CONFLICT, BROKER_UNAVAILABLE (it may be in the stream all the same).
        """
        known = self._acknowledged.get(event.event_id)
        if known is not None:
            self._acknowledged.move_to_end(event.event_id)
            return _same(known, digest)
        status = Status.ACCEPTED
        waiting = self._waiting.get(event.event_id)
        if waiting is None:
            waiting = self._send(event, digest, slot, trace)
        else:
            status = _same(waiting.digest, digest)
        done, _ = await asyncio.wait([waiting.outcome], timeout=self._timeout_s)
        if not done:
            detail = "The broker did not acknowledge in time; send the event again."
            raise Problem.busy(Code.BROKER_UNAVAILABLE, detail, 1.0)
        error = waiting.outcome.result()
        if error is not None:
            raise of_error(error)
        return status

    def _send(self, event: AtmEvent, digest: bytes, slot: Slot, trace: Headers) -> _Waiting:
        loop = asyncio.get_running_loop()

        def done(error: AtmwatchError | None) -> None:
            self._outcomes.append((event.event_id, error))
            if not self._called:  # one call for all that a batch brings: each wakes the loop by a system call
                self._called = True
                with suppress(RuntimeError):  # the loop has ended, and with it whoever asked
                    loop.call_soon_threadsafe(self._settle)

        try:
            self._sender.send(event, done, trace)
        except AtmwatchError as error:
            raise of_error(error) from error
        slot.lend()
        self._waiting[event.event_id] = waiting = _Waiting(digest, loop.create_future(), slot)
        return waiting

    def _settle(self) -> None:
        self._called = False  # before the first is taken, so that whatever comes now is taken, or calls again
        while self._outcomes:
            event_id, error = self._outcomes.popleft()
            waiting = self._waiting.pop(event_id)
            waiting.slot.leave()
            if error is None:
                self._remember(event_id, waiting.digest)
            waiting.outcome.set_result(error)

    def _remember(self, event_id: str, digest: bytes) -> None:
        self._acknowledged[event_id] = digest
        if len(self._acknowledged) > self._remembered:
            self._acknowledged.popitem(last=False)


def _same(known: bytes, digest: bytes) -> Status:
    if known != digest:
        raise Problem(Code.EVENT_ID_CONFLICT, "An event of this id, with other content, was sent before.")
    return Status.DUPLICATE
