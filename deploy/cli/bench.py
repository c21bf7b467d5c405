"""``atmwatch bench``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from deploy.bench import bench_pipeline, first_result_seconds, load_events
from deploy.cli.console import Json, Model, Threads, out, print_json, progress_bar
from deploy.settings import load_settings
from deploy.simulator import FACES
from ingest.errors import UsageError
from ingest.worker import Progress

app = typer.Typer(help="Measure speed and memory.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Measure speed and memory."""


@app.command("pipeline")
def pipeline_command(
    images: Annotated[int, typer.Option(min=32, help="How many pictures to run through.")] = 1000,
    pictures: Annotated[
        Path | None, typer.Option(help="A folder to take them from; a simulated day of 640×480 JPEGs without.")
    ] = None,
    model: Model = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Run pictures through decode, detect, align, embed, decide, alerts and journal; report rate, times, memory."""
    settings = load_settings(model=model, threads=threads)
    with TemporaryDirectory(prefix="atmwatch-bench-") as name:
        scratch = Path(name)
        folder = pictures or _simulated(scratch / "day")
        events = load_events(folder)
        if not events:
            message = f"{folder} holds no pictures"
            raise UsageError(message)
        first = first_result_seconds(folder, scratch / "first")
        with progress_bar() as bar:
            task = bar.add_task("Pictures", total=images, rate="", detail="")

            def show(progress: Progress) -> None:
                bar.update(task, completed=progress.events)

            report = bench_pipeline(events, images, settings, scratch / "run", show)
    report = report.model_copy(update={"first_result_s": first})
    if as_json:
        print_json(report.model_dump_json(indent=2))
        return
    out.print(f"{report.images_per_second:.1f} images/s over {report.images:,} images, {report.threads} threads")
    for stage, ms in report.stage_ms.items():
        out.print(f"  {stage:8} {ms:8.3f} ms")
    course = " ".join(f"{mb:.0f}" for mb in report.rss_mb_course)
    out.print(f"resident memory at most {report.rss_mb:.0f} MB; after each tenth: {course}")
    out.print(f"first result {first:.2f} s after the start of the process")


def _simulated(folder: Path) -> Path:
    """A simulated day, made by a process of its own so that its memory does not count."""
    command = [sys.executable, "-m", "deploy.cli", "simulate", str(FACES), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return folder
