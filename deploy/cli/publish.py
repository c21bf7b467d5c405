"""``atmwatch publish``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.console import Json, err, out, print_json, progress_bar, stopping
from deploy.publish import Published, PublishOptions, publish
from deploy.routes import publisher_route
from deploy.settings import load_settings
from ingest.errors import UsageError
from ingest.folder import plan
from ingest.kafka_bus.config import EVENTS
from ingest.kafka_bus.publisher import Publisher
from ingest.kafka_bus.topics import check_topics
from ingest.plan import ScanOptions

FAILED = 1


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("publish")(command)


def command(
    path: Annotated[Path, typer.Argument(help="A folder (one sub-folder per ATM, or flat), a manifest, or a video.")],
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Events a second at most; as fast as Kafka takes them without.")
    ] = None,
    scope: Annotated[str | None, typer.Option(help="The scope of events that name none; the first without.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA zone, such as Europe/Oslo, of times that name none.")
    ] = None,
    frame_every: Annotated[float, typer.Option(min=0.001, help="Seconds between the frames taken of a video.")] = 1.0,
    give_up: Annotated[
        float, typer.Option(min=1.0, help="Seconds without any acknowledgement after which the rest is given up.")
    ] = 300.0,
    as_json: Json = False,
) -> None:
    """Send pictures into the stream: what replay reads, as events of the topic atm.events, in captured_at order.

    Each event travels with its picture and is sent until Kafka has acknowledged it.  Pictures that are empty,
    unreadable, too large or no pictures are reported and not sent.  Publishing the same PATH again, after a stop or a
    failure, does no harm: an event has the same id each time, and counts once.

    Exit 1 when an event could not be acknowledged.
    """
    settings = load_settings()
    config = settings.kafka
    if scope is not None and scope not in config.scopes:
        message = f"--scope must be one of those configured: {', '.join(config.scopes)}"
        raise UsageError(message)
    scan = ScanOptions(
        timezone=timezone, frame_every_s=frame_every, scope=scope or config.scopes[0], limits=settings.limits
    )
    with stopping() as stop, progress_bar() as bar:
        task = bar.add_task("Looking for pictures", total=None, rate="", detail="")
        inputs = plan(path, scan)
        check_topics(config, (EVENTS,))
        publisher = Publisher(config, publisher_route, (EVENTS,))
        bar.update(task, description="Publishing", total=len(inputs))

        def show(told: Published) -> None:
            refused = told.rejected.total()
            detail = f"{refused:,} rejected, {told.retries:,} sent again"
            bar.update(task, completed=told.acknowledged + refused, detail=detail)

        try:
            told = publish(inputs, publisher, stop, PublishOptions(rate, give_up), show)
        finally:
            publisher.close()
    if as_json:
        print_json(json.dumps(_as_object(told), indent=2))
    else:
        _print(told)
    if not told.finished:
        err.print(f"{told.unacknowledged:,} events are not known to be in the stream: publish the same again.")
        raise typer.Exit(FAILED)


def _as_object(told: Published) -> dict[str, object]:
    return {
        "inputs": told.inputs,
        "published": told.acknowledged,
        "rejected": told.rejected.total(),
        "rejected_by_reason": {reason.value: count for reason, count in sorted(told.rejected.items())},
        "unacknowledged": told.unacknowledged,
        "sent_again": told.retries,
        "seconds": round(told.seconds, 3),
        "events_per_second": round(told.acknowledged / max(told.seconds, 1e-9), 1),
    }


def _print(told: Published) -> None:
    speed = told.acknowledged / max(told.seconds, 1e-9)
    out.print(
        f"{told.acknowledged:,} of {told.inputs:,} events published, {told.rejected.total():,} rejected.  "
        f"{told.seconds:.1f} s, {speed:.1f} events/s."
    )
    for reason, count in told.rejected.most_common():
        out.print(f"  {reason.value}: {count:,}", markup=False)
    for refused in told.first_rejections:
        out.print(f"  {refused.source}: {refused.detail}", markup=False, soft_wrap=True)
