"""Inputs of a replay, sent into ``atm.events`` instead: in order, each until the broker has it."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Condition, Event
from time import monotonic
from typing import Protocol

from ingest.claim_check import fetch
from ingest.errors import AtmwatchError, BadRecord, Unavailable
from ingest.folder import FolderSource
from ingest.images import picture_format
from ingest.limits import ImageLimits
from ingest.plan import Plan, rejection
from ingest.reasons import Reason
from ingest.records import AtmEvent, Rejection
from ingest.trace_context import Headers

READ_AT_ONCE = 32
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0


class Sender(Protocol):
    """Where events go; ``Publisher`` is one."""

    def send(self, record: AtmEvent, done: Callable[[AtmwatchError | None], None], trace: Headers = ()) -> None: ...


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """``rate`` events a second at most, as fast as it goes without.

    ``give_up_s`` is how long nothing may be acknowledged before what is left counts as not acknowledged.
    ``in_flight`` events of at most ``in_flight_bytes`` wait for the broker at a time.
    """

    rate: float | None = None
    give_up_s: float = 300.0
    in_flight: int = 500
    in_flight_bytes: int = 32 * 1024 * 1024


@dataclass(slots=True)
class Published:
    """What became of the inputs so far.  ``finished`` is whether all of them were tried and acknowledged."""

    inputs: int
    acknowledged: int = 0
    retries: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    first_rejections: list[Rejection] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        return self.acknowledged + self.rejected.total() == self.inputs

    @property
    def unacknowledged(self) -> int:
        """Inputs that may not be in the stream: tried in vain, or not tried."""
        return self.inputs - self.acknowledged - self.rejected.total()

    def reject(self, refused: Rejection, shown: int = 20) -> None:
        """Count a rejection, and keep the first few to tell of."""
        self.rejected[refused.reason] += 1
        if len(self.first_rejections) < shown:
            self.first_rejections.append(refused)


def publish(
    inputs: Plan,
    sender: Sender,
    stop: Event,
    options: PublishOptions | None = None,
    on_progress: Callable[[Published], None] = lambda _: None,
) -> Published:
    """Send every event of ``inputs`` with its picture, in captured_at order, until ``stop`` is set.

    What was refused on sight, and pictures that are empty, unreadable, too large or no pictures, are counted and not
    sent.  Where the broker does not acknowledge, everything under way is awaited first, and what failed is sent again
    before anything new, so that the order holds as far as it can.  Sending twice does no harm: an event counts once,
    by its id.
    """
    options = options or PublishOptions()
    told = Published(len(inputs))
    window = Window(sender, options, told)
    pace = _Pace(options.rate)
    began = monotonic()
    for record in _records(inputs):
        if stop.is_set():
            break
        if isinstance(record, Rejection):
            told.reject(record)
        else:
            pace.wait(stop)
            if not window.send(record, stop):
                break
        on_progress(told)
    window.drain(stop)
    told.seconds = monotonic() - began
    on_progress(told)
    return told


class Window:
    """What was sent and not acknowledged yet: bounded, and sent again until it is."""

    def __init__(self, sender: Sender, options: PublishOptions, told: Published) -> None:
        self._sender = sender
        self._options = options
        self._told = told
        self._changed = Condition()
        self._waiting = 0
        self._bytes = 0
        self._number = 0
        self._failed: dict[int, AtmEvent] = {}
        self._fatal: AtmwatchError | None = None
        self._last_good = monotonic()

    def send(self, event: AtmEvent, stop: Event) -> bool:
        """Send ``event`` once there is room; False when ``stop`` was set or the broker given up before.

        Raises what Kafka refuses for good.
        """
        if self._fatal is not None:
            raise self._fatal
        size = len(event.image or b"")
        options = self._options
        with self._changed:
            while not (self._failed or stop.is_set()) and (
                self._waiting >= options.in_flight or (self._waiting and self._bytes + size > options.in_flight_bytes)
            ):
                self._changed.wait(1.0)
        if self._failed and not self._again(stop):
            return False
        self._try(event)
        return True

    def drain(self, stop: Event) -> None:
        """Wait until everything is acknowledged, given up, or, once ``stop`` is set, answered one way or another."""
        self._settle()
        if self._failed:
            self._again(stop)

    def _again(self, stop: Event) -> bool:
        """Send what failed once more, in order, until nothing fails; False when that was given up."""
        pause = SHORTEST_PAUSE_S
        while True:
            self._settle()
            failed, self._failed = self._failed, {}
            if not failed:
                return True
            if stop.is_set() or monotonic() - self._last_good > self._options.give_up_s:
                return False
            stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(LONGEST_PAUSE_S, pause * 2)
            waiting = deque(event for _, event in sorted(failed.items()))
            while waiting and not self._failed:
                self._told.retries += 1
                self._try(waiting.popleft())
            with self._changed:
                for event in waiting:  # behind the one that failed again
                    self._number += 1
                    self._failed[self._number] = event

    def _settle(self) -> None:
        with self._changed:
            while self._waiting:
                self._changed.wait(1.0)
        if self._fatal is not None:
            raise self._fatal

    def _try(self, event: AtmEvent) -> None:
        size = len(event.image or b"")
        with self._changed:
            self._number += 1
            number = self._number
            self._waiting += 1
            self._bytes += size

        def done(error: AtmwatchError | None) -> None:
            with self._changed:
                self._waiting -= 1
                self._bytes -= size
                self._note(number, event, error)
                self._changed.notify()

        try:
            self._sender.send(event, done)
        except AtmwatchError as error:
            done(error)

    def _note(self, number: int, event: AtmEvent, error: AtmwatchError | None) -> None:
        if error is None:
            self._told.acknowledged += 1
            self._last_good = monotonic()
        elif isinstance(error, BadRecord):
            self._told.reject(rejection(error, event.source, event))
        elif isinstance(error, Unavailable):
            self._failed[number] = event
        else:
            self._fatal = error


class _Pace:
    """Spreads events over time: at most ``rate`` a second, and no burst to catch up."""

    def __init__(self, rate: float | None) -> None:
        self._step = 1 / rate if rate else 0.0
        self._next = monotonic()

    def wait(self, stop: Event) -> None:
        if self._step:
            stop.wait(max(0.0, self._next - monotonic()))
            self._next = max(self._next, monotonic() - self._step) + self._step


def _records(inputs: Plan) -> Iterator[AtmEvent | Rejection]:
    source = FolderSource(inputs)
    try:
        while not source.exhausted:
            for delivery in source.poll(READ_AT_ONCE):
                record = delivery.record
                if isinstance(record, Rejection):
                    yield record
                elif isinstance(record, AtmEvent):
                    yield _with_picture(record, inputs.limits)
    finally:
        source.close()


def _with_picture(event: AtmEvent, limits: ImageLimits) -> AtmEvent | Rejection:
    try:
        image = fetch(event, limits)
        if picture_format(image) is None:
            raise BadRecord(Reason.NOT_AN_IMAGE, Reason.NOT_AN_IMAGE.sentence)
    except BadRecord as error:
        return rejection(error, event.source, event)
    return event.model_copy(update={"image": image})
