"""``atmwatch replay``: pictures in; journals, summary, identity folders and report out, with no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import TypeVar

from alerts.records import Alert
from clustering.records import Sighting, Usage
from deploy.identities import FolderOptions, IdentityFolders, PictureMode, write_identities
from deploy.report.page import ReportConfig, RunRecords, write_report
from deploy.report.thumbnails import picture_crop
from deploy.settings import Settings
from deploy.summary import Run, Summary, build_summary, write_summary
from deploy.wiring import JOURNALS, READ_AHEAD, Pipeline, TimedOutbox, build_pipeline
from ingest.claim_check import fetch, frame_time, printable, uri_path
from ingest.errors import Corrupt, UsageError
from ingest.folder import FolderSource, plan
from ingest.images import decode
from ingest.jsonl_bus import JsonlOutbox, Mode
from ingest.plan import Plan, ScanOptions
from ingest.records import AtmEvent, Record, Rejection
from ingest.snapshots import SnapshotStore
from ingest.video import FrameReader
from ingest.worker import Pace, Progress, Recovery, Worker

STATE = "state"
"""The folder of snapshots within an output folder."""

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to replay: a new run, or ``RESUME`` or ``FORCE``; ``zone`` is the report's time zone."""

    mode: Mode = Mode.NEW
    pictures: PictureMode = PictureMode.COPY
    scan: ScanOptions = field(default_factory=ScanOptions)
    zone: str = "UTC"
    title: str = "ATM usage report"


@dataclass(frozen=True, slots=True)
class Watcher:
    """What a replay tells whoever watches: files found, the plan, where it goes on, batches done, what it does."""

    scanned: Callable[[int], None] = lambda _: None
    planned: Callable[[Plan], None] = lambda _: None
    recovered: Callable[[Recovery], None] = lambda _: None
    batch: Callable[[Progress], None] = lambda _: None
    phase: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came of a replay.  ``finished`` is False when it was stopped; it can then be resumed."""

    finished: bool
    summary: Summary
    usages: tuple[Usage, ...]
    alerts: tuple[Alert, ...]
    folders: IdentityFolders
    report: Path


def replay(
    path: Path,
    out: Path,
    settings: Settings,
    options: ReplayOptions | None = None,
    *,
    watcher: Watcher | None = None,
    stop: Event | None = None,
) -> ReplayResult:
    """Replay ``path`` into the folder ``out``.

    Whatever ends it, ``Mode.RESUME`` goes on where the journal ends, to the same result as an undisturbed run.
    Setting ``stop`` ends it after the batch at hand, with the views of what is done so far.  Raises
    ``UsageError`` for input, settings or an output folder that can't be used, before anything is written.
    """
    options, watcher, stop = options or ReplayOptions(), watcher or Watcher(), stop or Event()
    if out.is_dir() and path.is_dir() and out.samefile(path):
        message = f"{printable(out)} is the input: choose another folder for the output"
        raise UsageError(message)
    with ExitStack() as closing:
        pipeline = build_pipeline(settings)
        closing.callback(pipeline.close)
        watcher.phase("Looking for pictures")
        inputs = plan(path, replace(options.scan, skipped=(*options.scan.skipped, out)), watcher.scanned)
        watcher.planned(inputs)
        outbox = TimedOutbox(_open(out, options.mode, inputs, pipeline))
        closing.callback(outbox.close)
        worker = Worker(
            pipeline.chain,
            FolderSource(inputs),
            outbox,
            snapshots=SnapshotStore(out / STATE),
            pace=Pace(batch=settings.batch, reach=READ_AHEAD, snapshot_every=64),
            on_batch=watcher.batch,
        )
        watcher.recovered(worker.recover())
        watcher.phase("Replaying")
        start = perf_counter()
        worker.run(stop=stop)
        seconds = perf_counter() - start
        committed = 0 if (last := outbox.committed()) is None else last.offset + 1
        run = Run(
            input=printable(path),
            model_id=pipeline.card.model_id,
            threshold=pipeline.card.linking.threshold,
            seconds=seconds,
            timed_events=worker.events,
            stage_seconds=pipeline.stage_seconds(outbox.seconds),
            rules=pipeline.rule_statuses(),
            notes=_notes(inputs, committed),
            visit_gap=settings.policy.visit_gap,
        )
        usages = tuple(pipeline.cluster.roster.usages())
        return _views(out, usages, run, settings, options, watcher=watcher, finished=committed == len(inputs))


def _open(out: Path, mode: Mode, inputs: Plan, pipeline: Pipeline) -> JsonlOutbox:
    """The output folder's journal, marked with what it was made from: other pictures or another model can't go on."""
    mark = sha256(f"{inputs.digest(len(inputs))} {pipeline.card.model_id}".encode()).hexdigest()
    try:
        return JsonlOutbox(out, JOURNALS, mode=mode, run=mark)
    except OSError as error:
        message = f"output folder {printable(out)} can't be used: {error.strerror}"
        raise UsageError(message) from error


def _notes(inputs: Plan, committed: int) -> list[str]:
    notes = []
    if committed < len(inputs):
        notes.append(f"The run was stopped after {committed:,} of {len(inputs):,} inputs; --resume goes on from there.")
    if inputs.ignored:
        files = (
            "1 file that is no picture or video was"
            if inputs.ignored == 1
            else f"{inputs.ignored:,} files that are no pictures or videos were"
        )
        notes.append(f"{files} ignored.")
    return notes


def _views(
    out: Path,
    usages: tuple[Usage, ...],
    run: Run,
    settings: Settings,
    options: ReplayOptions,
    *,
    watcher: Watcher,
    finished: bool,
) -> ReplayResult:
    """Write what people read, all derived from the journals."""
    sightings = partial(read_journal, out, Sighting)
    alerts = tuple(read_journal(out, Alert))
    watcher.phase("Summing up")
    summary = build_summary(usages, sightings(), alerts, read_journal(out, Rejection), run)
    write_summary(out / "summary.json", summary)
    with ExitStack() as closing:
        frames = FrameReader(limits=settings.limits)
        closing.callback(frames.close)
        get = partial(_picture, frames, settings)
        watcher.phase("Filing the pictures by person")
        folders = write_identities(
            out / "identities",
            usages,
            sightings(),
            get,
            FolderOptions(options.pictures, fresh=options.mode is Mode.FORCE, locate=_file_of),
        )
        watcher.phase("Writing the report")
        records = RunRecords(summary, usages, sightings(), alerts, read_journal(out, Rejection))
        crop = picture_crop(get, partial(decode, limits=settings.limits))
        config = ReportConfig(title=options.title, zone=options.zone, visit_gap=settings.policy.visit_gap)
        written = write_report(out / "report.html", records, crop, config)
    return ReplayResult(finished, summary, usages, alerts, folders, written.path)


def _picture(frames: FrameReader, settings: Settings, event: AtmEvent) -> bytes:
    """The encoded picture of an event that was replayed from files; a video's frame as JPEG."""
    at_s = None if event.image_uri is None else frame_time(event.image_uri)
    if event.image_uri is not None and at_s is not None:
        return frames.read(uri_path(event.image_uri), at_s)
    return fetch(event, settings.limits)


def _file_of(event: AtmEvent) -> Path | None:
    if event.image_uri is None or frame_time(event.image_uri) is not None:
        return None
    return uri_path(event.image_uri)


def read_journal(out: Path, kind: type[RecordT]) -> Iterator[RecordT]:
    """The records of one journal file of a finished run, streamed.  Raises ``Corrupt`` with file and line."""
    name = JOURNALS[kind]
    with (out / name).open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield kind.model_validate_json(line)
            except ValueError as error:
                message = f"{name}, line {number}: not a {kind.__name__} record"
                raise Corrupt(message) from error
