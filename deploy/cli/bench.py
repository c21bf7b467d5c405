"""``atmwatch bench``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from deploy.bench import bench_pipeline, first_result_seconds, load_events
from deploy.bench_clustering import bench_clustering
from deploy.bench_kafka import KafkaBenchOptions, bench_kafka
from deploy.cli import benchmarks
from deploy.cli.bench_tables import print_kafka
from deploy.cli.console import Json, Model, Threads, err, out, print_json, progress_bar, tidying
from deploy.settings import load_settings, model_folder
from deploy.simulator import FACES
from deploy.wiring import linked_card
from embedder.cards import load_model_card
from ingest.errors import UsageError
from ingest.worker import Progress

app = typer.Typer(help="Measure speed and memory.", no_args_is_help=True, rich_markup_mode=None)
benchmarks.register(app)


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


@app.command("clustering")
def clustering_command(
    templates: Annotated[
        int, typer.Option(min=1, help="Templates in the roster, of people with 1 to 8 each.")
    ] = 100_000,
    faces: Annotated[int, typer.Option(min=1, help="Faces to decide; 70 % of them show somebody known.")] = 10_000,
    batch: Annotated[int | None, typer.Option(min=1, help="Faces at a time; as in the stream without.")] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Decide made-up faces against a made-up roster, without a broker; report rate, processor time, snapshot times."""
    settings = load_settings(model=model)
    card = linked_card(load_model_card(model_folder(settings.model)), settings)
    report = bench_clustering(card, settings.policy, templates, faces, batch or settings.stream_batch)
    if as_json:
        print_json(report.model_dump_json(indent=2))
        return
    out.print(
        f"{report.decisions_per_second:,.0f} decisions/s at {templates:,} templates of {report.identities:,} people"
    )
    out.print(
        f"  {report.cpu_ms_per_face:.3f} ms of processor time a face; {100 * report.joined:.0f} % joined somebody"
    )
    out.print(f"  {report.applied_per_second:,.0f} sightings/s folded from a journal")
    out.print(
        f"  snapshot of {report.snapshot_mb:.0f} MB: written in {report.snapshot_write_s:.2f} s, "
        f"read in {report.snapshot_read_s:.2f} s"
    )


@app.command("kafka")
def kafka_command(
    kafka: Annotated[
        str | None, typer.Option(help="Broker (host:port); ATMWATCH_KAFKA__BOOTSTRAP and its companions without.")
    ] = None,
    faces: Annotated[int, typer.Option(min=100, help="Faces waiting for the clusterer.")] = 20_000,
    templates: Annotated[int, typer.Option(min=1, help="Templates in its roster.")] = 100_000,
    recovery_templates: Annotated[int, typer.Option(min=1, help="Templates in the roster that is restored.")] = 200_000,
    events: Annotated[int, typer.Option(min=1, help="Events whose way to the alert is timed.")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, help="Those events a second.")] = 10.0,
    images: Annotated[int, typer.Option(min=100, help="Pictures sent to the gateway in each of two forms.")] = 5000,
    connections: Annotated[int, typer.Option(min=1, max=256, help="Connections over which they come.")] = 16,
    backlog: Annotated[
        int, typer.Option(min=0, help="Records before each role while its memory is watched; 0 for not at all.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Measure the roles as processes on a real broker: rate, latency, recovery, gateway, memory.

    Takes about 5 minutes on two cores; --faces 3000 --templates 10000 --recovery-templates 20000 --events 100
    --images 1000 about one.  --backlog 100000 takes some 10 more, and 1.5 GB of the broker's disk for the while: the
    embedder works off 3000 of its pictures, every other role its whole backlog.  Works in topics of its own, which are
    deleted at the end.  The environment's settings hold for the roles; with ATMWATCH_REDIS__URL, the view has its part.
    """
    settings = load_settings()
    if kafka:
        settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": kafka})})
    card = linked_card(load_model_card(model_folder(settings.model)), settings)
    options = KafkaBenchOptions(faces, templates, recovery_templates, events, rate, images, connections, backlog)
    with tidying():
        report = bench_kafka(settings, card, load_events(FACES), options, err.print)
    if as_json:
        print_json(report.model_dump_json(indent=2))
    else:
        print_kafka(report, rate)


def _simulated(folder: Path) -> Path:
    """A simulated day, made by a process of its own so that its memory does not count."""
    command = [sys.executable, "-m", "deploy.cli", "simulate", str(FACES), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return folder
