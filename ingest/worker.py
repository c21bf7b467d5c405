"""The loop that joins a source, a stage and an outbox, and the one way back after a crash.

Decisions are journalled, not inputs: recovery restores the newest good snapshot, folds every later journal
record into the stages, and lets the source go on behind the last committed position.  It never decides
anything twice, so models and thresholds may have changed meanwhile.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from random import SystemRandom
from threading import Event

from ingest.bus import Outbox, Source
from ingest.commits import Commits, Outputs
from ingest.errors import Corrupt, Unavailable
from ingest.records import Position, Record
from ingest.snapshots import Snapshot, SnapshotStore
from ingest.stage import Delivery, Foreseeing, Stage, Stateful, stateful_in


@dataclass(frozen=True, slots=True)
class Pace:
    """How a worker spends its time.

    ``batch`` is the number of inputs at most in a commit, ``reach`` how many commits' worth are read at a time, so that
    a stage may begin with the next while it is at work.  ``snapshot_every`` is the number of commits between snapshots,
    ``idle_s`` the wait when a stream has nothing, ``longest_pause_s`` where the pauses before a retry, which double
    from what ``Unavailable`` asks for, end to grow.
    """

    batch: int = 32
    reach: int = 1
    snapshot_every: int = 256
    idle_s: float = 0.1
    longest_pause_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """Where a worker goes on: the committed position, the snapshot's that was used, and what was replayed."""

    committed: Position | None
    snapshot: Position | None
    replayed: int


@dataclass(frozen=True, slots=True)
class Progress:
    """One committed batch: its last position, how many ``inputs`` gave which ``outputs``.

    ``events`` and ``retries`` are this worker's totals so far.
    """

    position: Position
    inputs: int
    outputs: tuple[Record, ...]
    events: int
    retries: int


class Worker:
    """Runs ``stage`` over ``source`` into ``outbox``, exactly once for each input.

    A worker belongs to one thread, and so do the things that it was given, except that ``outbox`` may be committed to
    in another one while nothing else is asked of it; only the ``stop`` event of ``run`` may be set from elsewhere.
    It runs once.  Raises ``ValueError`` when two stateful stages share a name.
    """

    def __init__(
        self,
        stage: Stage,
        source: Source,
        outbox: Outbox,
        *,
        snapshots: SnapshotStore | None = None,
        pace: Pace | None = None,
        on_batch: Callable[[Progress], None] | None = None,
    ) -> None:
        self._stage = stage
        # An outbox may have to remember something too: where the journal's tail begins.
        self._stateful = _named_apart([*stateful_in(stage), *([outbox] if isinstance(outbox, Stateful) else [])])
        self._source = source
        self._outbox = outbox
        self._snapshots = snapshots
        self._pace = pace or Pace()
        self._on_batch = on_batch
        self._recovery: Recovery | None = None
        self._jitter = SystemRandom()
        self._last: Position | None = None
        self._unsaved = 0
        self.events = 0
        self.retries = 0

    def recover(self) -> Recovery:
        """Bring the stages to what was committed and the source behind it; ``run`` does it if nobody did.

        Raises ``Corrupt`` when the journal can't be trusted.  A snapshot that can't be used costs time only.
        """
        replayed = 0
        with _uncollected():
            committed = self._outbox.committed()
            covered = self._restore(committed)
            if self._stateful:
                for record in self._outbox.journal(covered):
                    for stage in self._stateful:
                        stage.apply(record)
                    replayed += 1
        self._source.seek(committed)
        self._recovery = Recovery(committed, covered, replayed)
        return self._recovery

    def run(self, *, until_exhausted: bool = True, stop: Event | None = None) -> int:
        """Work until the source is exhausted or ``stop`` is set; returns the number of inputs committed.

        ``stop`` is honoured between batches and while waiting.  While something is ``Unavailable`` the same
        batch is tried again.  Every other error ends the worker, and so does a failed commit: the stages'
        memories are then ahead of the journal, and only a new process finds back.  Source and outbox are closed
        in any case.
        """
        stop = stop or Event()
        with ExitStack() as closing:
            closing.callback(self._outbox.close)
            closing.callback(self._source.close)
            if self._recovery is None:
                self.recover()
            while not stop.is_set():
                if until_exhausted and self._source.exhausted:
                    break
                batch = self._persist(lambda: self._source.poll(self._pace.batch * self._pace.reach), stop)
                if batch:
                    self.step(batch, stop)
                elif not (until_exhausted and self._source.exhausted):
                    stop.wait(self._pace.idle_s)
            self.save()
        return self.events

    def step(self, batch: list[Delivery], stop: Event) -> None:
        """Process and commit ``batch``, for a caller that polls itself; ``recover`` comes before the first.

        A long one is committed piece by piece; while a piece is being committed the stage works on the next, and may
        begin with the one behind that.  All is committed at the end, but for what the stage had not come to when told
        to stop.  What a commit raises ends the worker.
        """
        size = self._pace.batch
        pieces = [batch[start : start + size] for start in range(0, len(batch), size)]
        ahead = self._stage.foresee if isinstance(self._stage, Foreseeing) and len(pieces) > 1 else None
        if ahead:
            ahead(pieces[0])
        with Commits(self._outbox, self._committed) as commits:
            for piece, following in zip_longest(pieces, pieces[1:]):
                if stop.is_set():
                    break
                if ahead and following:
                    ahead(following)
                deliveries = self._persist(partial(self._stage.process, piece), stop)
                if deliveries is None:
                    break
                commits.settle()
                # A snapshot comes of what is committed, so nothing more may have been decided then.
                due = self._unsaved + 1 >= self._pace.snapshot_every
                commit = commits.begin if following and not due else commits.make
                commit(piece, tuple(delivery.record for delivery in deliveries))

    def _committed(self, batch: Sequence[Delivery], outputs: Outputs) -> None:
        self._last = position = batch[-1].position
        self._unsaved += 1
        self.events += len(batch)
        if self._unsaved >= self._pace.snapshot_every:
            self.save()
        if self._on_batch:
            self._on_batch(Progress(position, len(batch), outputs, self.events, self.retries))

    def _persist(self, attempt: Callable[[], list[Delivery]], stop: Event) -> list[Delivery] | None:
        """What ``attempt`` gives once nothing is ``Unavailable``; None when told to stop before."""
        doubled = 1.0
        while not stop.is_set():
            try:
                return attempt()
            except Unavailable as error:
                self.retries += 1
                pause = min(error.retry_after * doubled, self._pace.longest_pause_s)
                stop.wait(pause * self._jitter.uniform(1.0, 1.5))  # so that workers do not come back all at once
                doubled *= 2
        return None

    def save(self) -> None:
        """Take a snapshot, if anything was committed since the last one."""
        if self._snapshots and self._stateful and self._last and self._unsaved:
            self._snapshots.save(Snapshot(self._last, {s.name: s.snapshot() for s in self._stateful}))
        self._unsaved = 0

    def _restore(self, committed: Position | None) -> Position | None:
        """The position of the newest snapshot that every stage took; None, and blank stages, without one."""
        if self._snapshots is None or not self._stateful:
            return None
        blank = {stage.name: stage.snapshot() for stage in self._stateful}
        for snapshot in self._snapshots.candidates(committed):
            try:
                if snapshot.contents.keys() != blank.keys():
                    message = "the snapshot is of other stages"
                    raise Corrupt(message)
                for stage in self._stateful:
                    stage.restore(snapshot.contents[stage.name])
            except Corrupt:
                self._snapshots.set_aside(snapshot)
                for stage in self._stateful:
                    stage.restore(blank[stage.name])
            else:
                return snapshot.position
        return None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cyclic garbage, in the whole process.

    Recovery makes a million objects, all to stay; going through them again and again takes a third of its time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _named_apart(stages: list[Stateful]) -> list[Stateful]:
    names = {stage.name for stage in stages}
    if len(names) < len(stages):
        message = f"stages with a memory need names of their own: {', '.join(sorted(names))}"
        raise ValueError(message)
    return stages
