"""A process to be killed: ``toy_run.py FOLDER SEED COUNT PAUSE`` tallies punches, or goes on where it was."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from toys import FILES, Tally, punches

from ingest.jsonl_bus import JsonlOutbox, Mode
from ingest.memory_bus import MemorySource
from ingest.snapshots import SnapshotStore
from ingest.worker import Pace, Worker


def main(folder: Path, seed: int, count: int, pause: float) -> None:
    """Run to the end, ``pause`` seconds between batches."""
    worker = Worker(
        Tally(),
        MemorySource(punches(count, seed)),
        JsonlOutbox(folder, FILES, mode=Mode.RESUME, fsync_every=0.05),
        snapshots=SnapshotStore(folder / "snapshots"),
        pace=Pace(batch=3, snapshot_every=4),
        on_batch=lambda _: time.sleep(pause),
    )
    print("ready", flush=True)
    worker.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
