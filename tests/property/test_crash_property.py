"""Whenever and however the process dies, it ends where an undisturbed run ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import FILES, Punch, Tally, expected_bytes, file_bytes, punches

from ingest.jsonl_bus import LOG, JsonlOutbox, Mode
from ingest.memory_bus import Crash, Crashed, MemoryOutbox, MemorySource
from ingest.records import Position, Record
from ingest.snapshots import Snapshot, SnapshotStore
from ingest.worker import Pace, Worker


class Death(Enum):
    IN_POLL = auto()
    BEFORE_COMMIT = auto()
    IN_COMMIT = auto()
    AFTER_COMMIT = auto()
    IN_SNAPSHOT = auto()
    LYING_DISK = auto()


@dataclass(frozen=True)
class Life:
    """One process: how it works, and how it dies after ``steps`` commits, snapshots or records."""

    death: Death
    steps: int
    batch: int
    snapshot_every: int
    cuts: tuple[float, ...]  # where each file is torn, as a share of what was being written; the log's is last
    garbage: bytes


LIVES = st.builds(
    Life,
    death=st.sampled_from(Death),
    steps=st.integers(0, 6),
    batch=st.integers(1, 9),
    snapshot_every=st.integers(1, 4),
    cuts=st.tuples(*[st.floats(0, 1)] * len(FILES), st.floats(0, 1, exclude_max=True)),
    garbage=st.sampled_from([b"", b"\0\0\0", b'{"schema_version":1,', b"\n\n", b'{"n":1}\n{"n":2}\n', b"\xff" * 90]),
)
STREAMS = st.lists(st.builds(Punch, key=st.sampled_from("abcdefghijklmnop"), badge=st.sampled_from("xyz")), max_size=40)


class DyingOutbox(JsonlOutbox):
    def __init__(self, folder: Path, life: Life) -> None:
        super().__init__(folder, FILES, mode=Mode.RESUME, fsync_every=None)
        self.paths = [folder / name for name in (*FILES.values(), LOG)]
        self.life = life
        self.left = life.steps

    def commit(self, outputs: Sequence[Record], position: Position) -> None:
        dying = self.left == 0 and self.life.death
        self.left -= 1
        if dying is Death.BEFORE_COMMIT:
            raise Crashed
        before = [path.stat().st_size for path in self.paths]
        super().commit(outputs, position)
        if dying is Death.IN_COMMIT:
            for path, size, cut in zip(self.paths, before, self.life.cuts, strict=True):
                with path.open("r+b") as file:
                    file.truncate(size + int((path.stat().st_size - size) * cut))
                    file.seek(0, os.SEEK_END)
                    file.write(self.life.garbage)
        if dying in {Death.IN_COMMIT, Death.AFTER_COMMIT}:
            raise Crashed


class DyingSnapshots(SnapshotStore):
    def __init__(self, folder: Path, life: Life) -> None:
        super().__init__(folder)
        self.folder = folder
        self.life = life
        self.left = life.steps

    def save(self, snapshot: Snapshot) -> None:
        dying = self.left == 0 and self.life.death
        self.left -= 1
        if dying is Death.IN_SNAPSHOT:
            self.folder.mkdir(exist_ok=True)
            (self.folder / "snapshot.tmp").write_bytes(self.life.garbage)
            raise Crashed
        super().save(snapshot)
        if dying is Death.LYING_DISK:
            newest = max(self.folder.glob("*.snapshot"))
            newest.write_bytes(newest.read_bytes()[: int(newest.stat().st_size * self.life.cuts[-1])])
            raise Crashed


def live(stream: list[Punch], folder: Path, life: Life) -> None:
    crashed: list[Record | Crash] = list(stream)
    if life.death is Death.IN_POLL:
        crashed.insert(min(life.steps * life.batch, len(stream)), Crash())
    worker = Worker(
        Tally(),
        MemorySource(crashed),
        DyingOutbox(folder, life),
        snapshots=DyingSnapshots(folder / "snapshots", life),
        pace=Pace(batch=life.batch, snapshot_every=life.snapshot_every),
    )
    with suppress(Crashed):
        worker.run()


def undisturbed(stream: Sequence[Record]) -> tuple[Tally, list[Record]]:
    stage, outbox = Tally(), MemoryOutbox()
    Worker(stage, MemorySource(stream), outbox).run()
    return stage, outbox.outputs


@pytest.fixture(scope="module", autouse=True)
def _no_fsync() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # the tests pull no plug
        patch.setattr(os, "fsync", lambda _: None)
        yield


@settings(deadline=None, max_examples=150)
@given(stream=STREAMS, lives=st.lists(LIVES, max_size=5), batch=st.integers(1, 9))
def test_every_crash_schedule_ends_as_the_undisturbed_run(stream: list[Punch], lives: list[Life], batch: int) -> None:
    expected, outputs = undisturbed(stream)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for life in lives:
            live(stream, folder, life)
        stage = Tally()
        outbox = JsonlOutbox(folder, FILES, mode=Mode.RESUME, fsync_every=None)
        snapshots = SnapshotStore(folder / "snapshots")
        Worker(stage, MemorySource(stream), outbox, snapshots=snapshots, pace=Pace(batch=batch)).run()
        assert file_bytes(folder) == expected_bytes(outputs)
        assert (stage.state, stage.milestones) == (expected.state, expected.milestones)

        again = Tally()
        outbox = JsonlOutbox(folder, FILES, mode=Mode.RESUME, fsync_every=None)
        assert list(outbox.journal()) == outputs
        Worker(again, MemorySource(stream), outbox, snapshots=snapshots).run()
        assert (again.state, again.milestones) == (expected.state, expected.milestones)


def test_a_killed_process_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    count, seed = 1500, 7
    script = Path(__file__).parents[1] / "toy_run.py"
    folder = tmp_path / "out"
    command = [sys.executable, str(script), str(folder), str(seed), str(count)]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    rng = random.Random()
    for _ in range(4):
        with subprocess.Popen([*command, "0.003"], stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.0, 0.15))
            process.kill()
            assert process.wait() == -signal.SIGKILL
    subprocess.run([*command, "0"], stdout=subprocess.DEVNULL, env=environment, check=True, timeout=60)
    _, outputs = undisturbed(punches(count, seed))
    assert file_bytes(folder) == expected_bytes(outputs)
    with closing(JsonlOutbox(folder, FILES, mode=Mode.RESUME)) as outbox:
        assert list(outbox.journal()) == outputs
