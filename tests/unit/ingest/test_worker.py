from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from toys import Counted, Milestone, Tally, punches

from ingest.errors import Corrupt, Unavailable
from ingest.memory_bus import Crash, Crashed, MemoryOutbox, MemorySource
from ingest.records import Position, Record
from ingest.snapshots import Snapshot, SnapshotStore
from ingest.stage import Chain, Delivery
from ingest.worker import Pace, Progress, Recovery, Worker

STREAM = punches(40, seed=3)
QUICK = Pace(batch=4, snapshot_every=3, idle_s=0.001, longest_pause_s=0.002)


class Recorder(MemoryOutbox):
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[int, Position]] = []
        self.read_from: list[Position | None] = []
        self.closed = 0

    def commit(self, outputs: Sequence[Record], position: Position) -> None:
        super().commit(outputs, position)
        self.commits.append((len(outputs), position))

    def journal(self, after: Position | None = None) -> Iterator[Record]:
        self.read_from.append(after)
        return super().journal(after)

    def close(self) -> None:
        self.closed += 1


class Watched(MemorySource):
    """Can be away for a while, and remembers being closed."""

    away = 0
    closed = 0

    def poll(self, max_records: int) -> list[Delivery]:
        if self.away:
            self.away -= 1
            what = "the camera"
            raise Unavailable(what, retry_after=0.001)
        return super().poll(max_records)

    def close(self) -> None:
        self.closed += 1


class Fetcher:
    """A stage without a memory that fails as told."""

    name = "fetcher"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.batches: list[list[Delivery]] = []

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        self.batches.append(list(batch))
        if self.errors:
            raise self.errors.pop(0)
        return list(batch)


class Swallower:
    name = "swallower"

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        return list(batch[:0])


def undisturbed() -> Tally:
    tally = Tally()
    Worker(tally, MemorySource(STREAM), MemoryOutbox()).run()
    return tally


def test_every_batch_is_committed_with_its_last_position() -> None:
    outbox, seen = Recorder(), list[Progress]()
    worker = Worker(Tally(), Watched(STREAM), outbox, pace=Pace(batch=16), on_batch=seen.append)
    assert worker.run() == len(STREAM)
    assert [position.offset for _, position in outbox.commits] == [15, 31, 39]
    assert [(progress.inputs, progress.events, progress.retries) for progress in seen] == [
        (16, 16, 0),
        (16, 32, 0),
        (8, 40, 0),
    ]
    assert [record for progress in seen for record in progress.outputs] == outbox.outputs


def test_a_batch_without_outputs_is_committed_too() -> None:
    outbox = Recorder()
    Worker(Swallower(), MemorySource(STREAM), outbox, pace=Pace(batch=40)).run()
    assert outbox.commits == [(0, Position(partition="memory", offset=39))]


def test_source_and_outbox_are_closed_whatever_happens() -> None:
    outbox, source = Recorder(), Watched(STREAM)
    Worker(Tally(), source, outbox).run()
    assert (outbox.closed, source.closed) == (1, 1)
    outbox, source = Recorder(), Watched([*STREAM, Crash()])
    with pytest.raises(Crashed):
        Worker(Tally(), source, outbox).run()
    assert (outbox.closed, source.closed) == (1, 1)


def test_a_source_that_fails_to_close_keeps_no_outbox_open() -> None:
    class Stuck(MemorySource):
        def close(self) -> None:
            message = "stuck"
            raise OSError(message)

    outbox = Recorder()
    with pytest.raises(OSError, match="stuck"):
        Worker(Tally(), Stuck(STREAM), outbox).run()
    assert outbox.closed == 1


def test_recovery_folds_the_journal_and_goes_on_behind_it() -> None:
    outbox = Recorder()
    with pytest.raises(Crashed):
        Worker(Tally(), MemorySource([*STREAM[:21], Crash(), *STREAM[21:]]), outbox, pace=QUICK).run()
    journalled = len(outbox.outputs)
    outbox.read_from.clear()
    tally = Tally()
    worker = Worker(tally, MemorySource(STREAM), outbox, pace=QUICK)
    assert worker.recover() == Recovery(Position(partition="memory", offset=20), None, journalled)
    assert worker.run() == len(STREAM) - 21
    assert outbox.read_from == [None]  # run did not recover once more
    assert tally.state == undisturbed().state
    assert [record.count for record in outbox.outputs if isinstance(record, Milestone)]


def test_every_stage_with_a_memory_gets_every_record() -> None:
    outbox = MemoryOutbox()
    Worker(Tally(), MemorySource(STREAM), outbox).run()
    first, second = Tally("first"), Tally("second")
    Worker(Chain(first, second), MemorySource(STREAM), outbox).recover()
    assert first.state == second.state == undisturbed().state


def test_a_stage_without_a_memory_reads_no_journal(tmp_path: Path) -> None:
    outbox = Recorder()
    store = SnapshotStore(tmp_path / "snapshots")
    Worker(Swallower(), MemorySource(STREAM), outbox, snapshots=store, pace=QUICK).run()
    assert outbox.read_from == []
    assert not (tmp_path / "snapshots").exists()


def test_names_keep_memories_apart() -> None:
    with pytest.raises(ValueError, match="names of their own: tally"):
        Worker(Chain(Tally(), Tally()), MemorySource([]), MemoryOutbox())


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path)


@pytest.fixture
def crashed(store: SnapshotStore) -> Recorder:
    """Commits up to 39 in steps of 4; snapshots at 23 and 35."""
    outbox = Recorder()
    with pytest.raises(Crashed):
        Worker(Tally(), MemorySource([*STREAM, Crash()]), outbox, snapshots=store, pace=QUICK).run()
    outbox.read_from.clear()
    return outbox


def recovered(outbox: Recorder, store: SnapshotStore) -> tuple[Recovery, Tally]:
    tally = Tally()
    return Worker(tally, MemorySource(STREAM), outbox, snapshots=store).recover(), tally


def test_a_snapshot_shortens_the_journal(crashed: Recorder, store: SnapshotStore) -> None:
    recovery, tally = recovered(crashed, store)
    assert crashed.read_from == [recovery.snapshot] == [Position(partition="memory", offset=35)]
    assert recovery.replayed == sum(count for count, position in crashed.commits if position.offset > 35)
    assert (tally.state, tally.milestones) == (undisturbed().state, undisturbed().milestones)


def test_the_end_of_a_run_is_a_snapshot_too(store: SnapshotStore) -> None:
    outbox = Recorder()
    Worker(Tally(), MemorySource(STREAM), outbox, snapshots=store, pace=QUICK).run()
    recovery, _ = recovered(outbox, store)
    assert recovery.replayed == 0


@pytest.mark.parametrize("damaged", [1, 2])
def test_damaged_snapshots_cost_time_only(
    crashed: Recorder, store: SnapshotStore, tmp_path: Path, damaged: int
) -> None:
    for path in sorted(tmp_path.glob("*.snapshot"), reverse=True)[:damaged]:
        path.write_bytes(b"?" + path.read_bytes()[1:])
    recovery, tally = recovered(crashed, store)
    assert recovery.snapshot == (Position(partition="memory", offset=23) if damaged == 1 else None)
    assert tally.state == undisturbed().state
    assert len(list(tmp_path.glob("*.bad"))) == damaged


def test_stages_refuse_a_snapshot_together(crashed: Recorder, store: SnapshotStore, tmp_path: Path) -> None:
    class Picky(Tally):
        refuses = 1

        def restore(self, content: bytes) -> None:
            if self.refuses:
                self.refuses -= 1
                message = "of another model"
                raise Corrupt(message)
            super().restore(content)

    ghost = json.dumps([{"ghost": ["k"]}, {}]).encode()
    for path in tmp_path.glob("*.snapshot"):
        path.unlink()
    store.save(Snapshot(Position(partition="memory", offset=3), {"tally": ghost, "picky": ghost}))
    tally, picky = Tally(), Picky("picky")
    recovery = Worker(Chain(tally, picky), MemorySource(STREAM), crashed, snapshots=store).recover()
    assert recovery.snapshot is None
    assert tally.state == picky.state == undisturbed().state
    assert list(tmp_path.glob("*.bad"))


def test_a_snapshot_of_other_stages_is_set_aside(crashed: Recorder, store: SnapshotStore, tmp_path: Path) -> None:
    tally = Tally("renamed")
    recovery = Worker(tally, MemorySource(STREAM), crashed, snapshots=store).recover()
    assert recovery.snapshot is None
    assert tally.state == undisturbed().state
    assert len(list(tmp_path.glob("*.bad"))) == 2


def test_a_snapshot_ahead_of_the_journal_is_not_believed(store: SnapshotStore) -> None:
    ghost = json.dumps([{"ghost": ["k"]}, {}]).encode()
    store.save(Snapshot(Position(partition="memory", offset=999), {"tally": ghost}))
    tally = Tally()
    Worker(tally, MemorySource(STREAM), MemoryOutbox(), snapshots=store, pace=QUICK).run()
    assert tally.state == undisturbed().state


def test_what_is_unavailable_is_waited_for() -> None:
    source, outbox = Watched(STREAM), MemoryOutbox()
    source.away = 2
    camera, store = (Unavailable(what, retry_after=0.001) for what in ("camera", "store"))
    fetcher, tally = Fetcher(camera, store), Tally()
    worker = Worker(Chain(fetcher, tally), source, outbox, pace=QUICK)
    assert worker.run() == len(STREAM)
    assert worker.retries == 4
    assert fetcher.batches[0] == fetcher.batches[1] == fetcher.batches[2]  # the same batch each time
    assert tally.state == undisturbed().state
    assert sum(isinstance(record, Counted) for record in outbox.outputs) == sum(map(len, tally.state.values()))


def test_pauses_double_up_to_the_longest() -> None:
    class Clock(threading.Event):
        def __init__(self) -> None:
            super().__init__()
            self.waits: list[float] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.waits.append(timeout or 0.0)
            return self.is_set()

    clock = Clock()
    fetcher = Fetcher(*[Unavailable("store", retry_after=1.0) for _ in range(5)])
    Worker(fetcher, MemorySource(STREAM[:1]), MemoryOutbox(), pace=Pace(longest_pause_s=6.0)).run(stop=clock)
    assert len(clock.waits) == 5
    for wait, least in zip(clock.waits, [1, 2, 4, 6, 6], strict=True):
        assert least <= wait <= 1.5 * least


def test_stop_ends_the_waiting_and_loses_nothing() -> None:
    stop, outbox = threading.Event(), Recorder()

    class Gone(Fetcher):
        def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
            stop.set()
            return super().process(batch)

    gone = Gone(Unavailable("store", retry_after=60))
    assert Worker(Chain(gone, Tally()), MemorySource(STREAM), outbox).run(stop=stop) == 0
    assert outbox.commits == []
    assert outbox.closed == 1


def test_stop_is_honoured_between_batches() -> None:
    stop, outbox = threading.Event(), Recorder()
    worker = Worker(Tally(), MemorySource(STREAM), outbox, pace=QUICK, on_batch=lambda _: stop.set())
    assert worker.run(stop=stop) == 4
    assert len(outbox.commits) == 1


def test_a_stream_is_waited_for_until_stopped() -> None:
    stop, through = threading.Event(), threading.Event()

    def watch(progress: Progress) -> None:
        if progress.events == len(STREAM):
            through.set()

    worker = Worker(Tally(), MemorySource(STREAM), MemoryOutbox(), pace=QUICK, on_batch=watch)
    thread = threading.Thread(target=worker.run, kwargs={"until_exhausted": False, "stop": stop})
    thread.start()
    assert through.wait(5)
    thread.join(0.02)
    assert thread.is_alive()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert worker.events == len(STREAM)


def test_a_failed_commit_is_not_tried_again() -> None:
    class Full(Recorder):
        def commit(self, outputs: Sequence[Record], position: Position) -> None:
            self.commits.append((len(outputs), position))
            what = "broker"
            raise Unavailable(what)

    outbox = Full()
    with pytest.raises(Unavailable):
        Worker(Tally(), MemorySource(STREAM), outbox, pace=QUICK).run()
    assert len(outbox.commits) == 1
    assert outbox.closed == 1


def test_any_other_error_is_the_end() -> None:
    with pytest.raises(ZeroDivisionError):
        Worker(Fetcher(ZeroDivisionError()), MemorySource(STREAM), MemoryOutbox()).run()


class Prophet(Fetcher):
    """Notes what it was told of in advance, and what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, int]] = []

    def foresee(self, batch: Sequence[Delivery]) -> None:
        self.heard.append(("ahead", batch[0].position.offset))

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        self.heard.append(("now", batch[0].position.offset))
        return super().process(batch)


def test_a_long_batch_is_committed_in_pieces_each_foreseen_before_the_one_ahead_of_it() -> None:
    prophet, outbox = Prophet(), Recorder()
    worker = Worker(prophet, MemorySource(STREAM), outbox, pace=Pace(batch=4))
    worker.recover()
    deliveries = [Delivery(record, Position(partition="memory", offset=n)) for n, record in enumerate(STREAM[:10])]
    worker.step(deliveries, threading.Event())
    assert prophet.heard == [("ahead", 0), ("ahead", 4), ("now", 0), ("ahead", 8), ("now", 4), ("now", 8)]
    assert [(count, position.offset) for count, position in outbox.commits] == [(4, 3), (4, 7), (2, 9)]
    assert worker.events == 10
    prophet.heard.clear()
    worker.step(deliveries[:4], threading.Event())
    assert prophet.heard == [("now", 0)]  # with nothing to do meanwhile there is no use in looking ahead


def test_so_many_commits_worth_are_read_at_a_time() -> None:
    prophet, outbox = Prophet(), Recorder()
    assert Worker(prophet, MemorySource(STREAM[:10]), outbox, pace=Pace(batch=2, reach=3)).run() == 10
    assert prophet.heard == [
        *[("ahead", 0), ("ahead", 2), ("now", 0), ("ahead", 4), ("now", 2), ("now", 4)],
        *[("ahead", 6), ("ahead", 8), ("now", 6), ("now", 8)],
    ]
    assert [count for count, _ in outbox.commits] == [2] * 5


def test_a_piece_is_worked_on_while_the_one_before_is_committed() -> None:
    """The first commit only ends once the second piece has been processed."""

    class Waiting(Recorder):
        reached = threading.Event()

        def commit(self, outputs: Sequence[Record], position: Position) -> None:
            assert self.reached.wait(5)
            super().commit(outputs, position)

    class Telling(Fetcher):
        def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
            if self.batches:
                Waiting.reached.set()
            return super().process(batch)

    outbox = Waiting()
    assert Worker(Telling(), MemorySource(STREAM[:10]), outbox, pace=Pace(batch=4, reach=3)).run() == 10
    assert [position.offset for _, position in outbox.commits] == [3, 7, 9]


def test_a_snapshot_holds_nothing_that_is_not_committed(tmp_path: Path) -> None:
    """However many pieces are read at a time, and whenever a snapshot is due."""

    class Checked(SnapshotStore):
        saved = 0

        def save(self, snapshot: Snapshot) -> None:
            assert snapshot.position == outbox.committed()
            until = Tally()
            for record in outbox.journal():
                until.apply(record)
            assert snapshot.contents[until.name] == until.snapshot()
            self.saved += 1
            super().save(snapshot)

    outbox, store = MemoryOutbox(), Checked(tmp_path)
    pace = Pace(batch=2, reach=7, snapshot_every=3)
    assert Worker(Tally(), MemorySource(STREAM), outbox, snapshots=store, pace=pace).run() == len(STREAM)
    assert store.saved == 7  # of 20 commits


def test_between_pieces_it_can_be_told_to_stop() -> None:
    """What the stage has come to is committed."""

    class Stopping(Fetcher):
        def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
            stop.set()
            return super().process(batch)

    stop, outbox = threading.Event(), Recorder()
    worker = Worker(Stopping(), MemorySource(STREAM), outbox, pace=Pace(batch=4))
    worker.recover()
    worker.step([Delivery(r, Position(partition="memory", offset=n)) for n, r in enumerate(STREAM[:10])], stop)
    assert [position.offset for _, position in outbox.commits] == [3]


def test_garbage_is_collected_again_after_recovery_whatever_happens() -> None:
    class Broken(MemoryOutbox):
        def journal(self, after: Position | None = None) -> Iterator[Record]:
            assert not gc.isenabled()
            message = f"a hole in the journal behind {after}"
            raise Corrupt(message)

    Worker(Tally(), MemorySource(STREAM), MemoryOutbox()).recover()
    assert gc.isenabled()
    with pytest.raises(Corrupt):
        Worker(Tally(), MemorySource(STREAM), Broken()).recover()
    assert gc.isenabled()
