"""``atmwatch topics``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.console import Json, err, out, print_json
from deploy.settings import load_settings
from deploy.topics import load_topics
from ingest.kafka_bus.topics import Admin

app = typer.Typer(help="Make and check the topics.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Make and check the topics."""


@app.command("create")
def create(
    file: Annotated[Path | None, typer.Option(help="Topics file; the shipped deploy/topics.yaml without it.")] = None,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Copies of each topic, over the file's; 1 on a single broker.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing; change nothing that is there, and report how it differs.

    Exit 1 when a topic differs from the file.
    """
    settings = load_settings()
    admin = Admin(settings.kafka)
    try:
        states = admin.ensure(load_topics(file, settings.kafka, replication))
    finally:
        admin.close()
    if as_json:
        print_json(json.dumps({"topics": [{"name": s.name, "created": s.created, "drift": s.drift} for s in states]}))
    else:
        for state in states:
            out.print(f"{state.name}: {'created' if state.created else 'there already'}")
    drifted = [state for state in states if state.drift]
    for state in drifted:
        err.print(f"{state.name} differs from the file: {'; '.join(state.drift)}", markup=False)
    if drifted:
        raise typer.Exit(1)
