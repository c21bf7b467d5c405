"""How fast the pipeline is, and how much memory it takes: every stage, from encoded picture to journal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import monotonic, perf_counter, sleep

from pydantic import BaseModel, ConfigDict

from deploy.settings import Settings
from deploy.wiring import JOURNALS, READ_AHEAD, TimedOutbox, build_pipeline
from ingest.claim_check import fetch
from ingest.errors import AtmwatchError, BadRecord
from ingest.folder import plan
from ingest.jsonl_bus import JsonlOutbox
from ingest.records import AtmEvent, Position
from ingest.stage import Delivery
from ingest.worker import Pace, Progress, Worker

PARTITION = "bench"
FIRST_RESULT_LIMIT_S = 60.0


class PipelineBench(BaseModel):
    """What ``bench pipeline`` prints.

    ``stage_ms`` are means per picture, those of the embedder summed over its threads.  ``rss_mb`` is the largest
    resident memory of the process, ``rss_mb_course`` the memory after each tenth of the pictures.
    ``first_result_s`` is from the start of a ``replay`` process to its first committed batch.
    """

    model_config = ConfigDict(frozen=True)

    images: int
    images_per_second: float
    seconds: float
    threads: int
    stage_ms: dict[str, float]
    rss_mb: float
    rss_mb_course: list[float]
    first_result_s: float | None
    sightings: int
    identities: int


@dataclass(slots=True)
class RepeatedSource:
    """The events of a folder over and over, as new events at later times, their pictures held in memory."""

    events: list[AtmEvent]
    images: int
    period: timedelta
    _next: int = 0

    def seek(self, after: Position | None) -> None:
        self._next = 0 if after is None else after.offset + 1

    def poll(self, max_records: int) -> list[Delivery]:
        until = min(self.images, self._next + max_records)
        batch = [self._delivery(offset) for offset in range(self._next, until)]
        self._next = until
        return batch

    @property
    def exhausted(self) -> bool:
        return self._next >= self.images

    def close(self) -> None:
        """Nothing to let go of."""

    def _delivery(self, offset: int) -> Delivery:
        turn, place = divmod(offset, len(self.events))
        event = self.events[place]
        later = event.model_copy(
            update={"event_id": f"{event.event_id}-{turn}", "captured_at": event.captured_at + turn * self.period}
        )
        return Delivery(later, Position(partition=PARTITION, offset=offset))


@dataclass(slots=True)
class Memory:
    """Resident memory, looked at after every tenth of the work."""

    images: int
    course: list[float] = field(default_factory=list)

    def look(self, progress: Progress) -> None:
        if progress.events * 10 >= (len(self.course) + 1) * self.images:
            self.course.append(resident_mb())


def resident_mb() -> float:
    """This process's resident memory in MB (10^6 bytes), from /proc (Linux)."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def load_events(folder: Path) -> list[AtmEvent]:
    """The events of a folder of pictures, each with its picture in memory; without those that can't be read."""
    inputs = plan(folder)
    events = []
    for entry in inputs.entries:
        event = inputs.event(entry)
        if isinstance(event, AtmEvent):
            with suppress(BadRecord):
                events.append(event.model_copy(update={"image": fetch(event), "image_uri": None}))
    return events


def bench_pipeline(
    events: list[AtmEvent],
    images: int,
    settings: Settings,
    scratch: Path,
    on_progress: Callable[[Progress], None],
) -> PipelineBench:
    """Run ``images`` pictures, ``events`` repeated, through the whole embedded pipeline into ``scratch``."""
    pipeline = build_pipeline(settings)
    memory = Memory(images)
    outbox = TimedOutbox(JsonlOutbox(scratch, JOURNALS))
    span = max(event.captured_at for event in events) - min(event.captured_at for event in events)

    def watch(progress: Progress) -> None:
        memory.look(progress)
        on_progress(progress)

    source = RepeatedSource(events, images, span + timedelta(hours=1))
    worker = Worker(pipeline.chain, source, outbox, pace=Pace(batch=settings.batch, reach=READ_AHEAD), on_batch=watch)
    start = perf_counter()
    worker.run()
    seconds = perf_counter() - start
    threads = pipeline.embed.threads
    pipeline.close()
    return PipelineBench(
        images=images,
        images_per_second=round(images / seconds, 2),
        seconds=round(seconds, 3),
        threads=threads,
        stage_ms={name: round(1000 * s / images, 3) for name, s in pipeline.stage_seconds(outbox.seconds).items()},
        rss_mb=round(max(memory.course, default=resident_mb()), 1),
        rss_mb_course=[round(mb, 1) for mb in memory.course],
        first_result_s=None,
        sightings=len(pipeline.cluster.roster.seen),
        identities=len(pipeline.cluster.roster),
    )


def first_result_seconds(folder: Path, scratch: Path) -> float:
    """From the start of ``atmwatch replay`` as a process of its own to its first committed batch."""
    log = scratch / "commits.jsonl"
    command = [sys.executable, "-m", "deploy.cli", "replay", str(folder), "--out", str(scratch), "--pictures", "none"]
    start = monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        while monotonic() - start < FIRST_RESULT_LIMIT_S:
            if log.is_file() and log.read_bytes().count(b"\n") > 1:  # the first line is the log's header
                return round(monotonic() - start, 3)
            if process.poll() not in {None, 0}:
                break
            sleep(0.005)
    finally:
        process.terminate()
        process.wait()
    message = "the replay that was to show its first result failed"
    raise AtmwatchError(message)
