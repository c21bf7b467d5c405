"""``atmwatch replay``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.progress import Progress as Bar
from rich.progress import TaskID

from deploy.cli.console import Json, Model, Rules, Threads, Threshold, err, print_json, progress_bar, stopping
from deploy.cli.tables import print_result
from deploy.identities import PictureMode
from deploy.replay import ReplayOptions, ReplayResult, Watcher, replay
from deploy.settings import Settings, load_settings
from ingest.errors import UsageError
from ingest.jsonl_bus import Mode
from ingest.plan import Plan, ScanOptions
from ingest.records import Rejection
from ingest.worker import Progress, Recovery

FAILED = 1


@dataclass(slots=True)
class Display:
    """A progress bar fed by a replay."""

    bar: Bar
    task: TaskID
    total: int = 0
    done: int = 0
    rejected: int = 0
    began: float = field(default_factory=monotonic)
    fresh: int = 0

    def scanned(self, files: int) -> None:
        self.bar.update(self.task, description=f"Looking for pictures: {files:,}")

    def planned(self, inputs: Plan) -> None:
        self.total = len(inputs)
        self.bar.update(self.task, total=self.total)

    def recovered(self, recovery: Recovery) -> None:
        if recovery.committed is not None:
            self.done = recovery.committed.offset + 1
            err.print(f"Going on behind {self.done:,} of {self.total:,} inputs.")
        self.began = monotonic()

    def batch(self, progress: Progress) -> None:
        self.done += progress.inputs
        self.fresh += progress.inputs
        self.rejected += sum(isinstance(record, Rejection) for record in progress.outputs)
        rate = self.fresh / max(monotonic() - self.began, 1e-6)
        self.bar.update(self.task, completed=self.done, rate=f"{rate:.0f}/s", detail=f"{self.rejected:,} rejected")

    def phase(self, name: str) -> None:
        self.bar.update(self.task, description=name)


@contextmanager
def displayed() -> Iterator[Watcher]:
    """A watcher that shows a progress bar on a terminal."""
    with progress_bar() as bar:
        display = Display(bar, bar.add_task("Starting", total=None, rate="", detail=""))
        yield Watcher(display.scanned, display.planned, display.recovered, display.batch, display.phase)


def run_replay(path: Path, out: Path, settings: Settings, options: ReplayOptions) -> ReplayResult:
    """Replay with a progress bar and signals handled."""
    with stopping() as stop, displayed() as watcher:
        return replay(path, out, settings, options, watcher=watcher, stop=stop)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("replay")(command)


def command(
    path: Annotated[Path, typer.Argument(help="A folder (one sub-folder per ATM, or flat), a manifest, or a video.")],
    out: Annotated[Path, typer.Option(help="Output folder; made if it is not there.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that was begun in OUT.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Drop the run in OUT and begin anew.")] = False,
    rules: Rules = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA zone, such as Europe/Oslo, of times that name none; also the report's.")
    ] = None,
    frame_every: Annotated[float, typer.Option(min=0.001, help="Seconds between the frames taken of a video.")] = 1.0,
    pictures: Annotated[
        PictureMode, typer.Option(help="How pictures come into identities/: copied, hard-linked, or not at all.")
    ] = PictureMode.COPY,
    model: Model = None,
    threshold: Threshold = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Tell from pictures which unknown person used which ATM when and how often, and who crossed a threshold.

    PATH is replayed in the order in which the pictures were taken.  A folder with a manifest.csv or
    manifest.jsonl is read by that (columns path, atm_id, captured_at; optional: event_id, session_id,
    card_token, amount, currency, transaction_type, lat, lon, zone, scope, camera, clock_offset_s, sha256,
    received_at).  Without one, times come from EXIF, else from the file.

    OUT then holds sightings.jsonl, alerts.jsonl, rejected.jsonl (why a picture was not counted), summary.json,
    identities/ (the pictures of each person) and report.html.  A run that was killed or stopped goes on with
    --resume, to the same result.
    """
    if resume and force:
        message = "--resume goes on and --force begins anew: give one of them"
        raise UsageError(message)
    settings = load_settings(rules=rules, model=model, threshold=threshold, threads=threads)
    scan = ScanOptions(timezone=timezone, frame_every_s=frame_every, limits=settings.limits)
    mode = Mode.RESUME if resume else Mode.FORCE if force else Mode.NEW
    options = ReplayOptions(mode, pictures, scan, zone=timezone or "UTC")
    result = run_replay(path, out, settings, options)
    if as_json:
        print_json(result.summary.model_dump_json(indent=2, exclude_none=True))
    else:
        print_result(result)
    if not result.finished:
        err.print("Stopped before the end: the same command with --resume goes on from there.")
        raise typer.Exit(FAILED)
