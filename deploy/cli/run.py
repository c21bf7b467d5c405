"""``atmwatch run``: the long-running roles."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deploy.cli.console import Model, Rules, Threads, err, stopping
from deploy.roles import Watch, run_alerter, run_clusterer, run_embedder
from deploy.settings import load_settings


class Role(StrEnum):
    """What a process can be."""

    EMBEDDER = "embedder"
    CLUSTERER = "clusterer"
    ALERTER = "alerter"


RUNNERS = {Role.EMBEDDER: run_embedder, Role.CLUSTERER: run_clusterer, Role.ALERTER: run_alerter}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("run")(command)


def command(
    role: Annotated[Role, typer.Argument(help="What this process is to be.")],
    rules: Rules = None,
    model: Model = None,
    threads: Threads = None,
) -> None:
    """Run one role of the stream until it is told to stop (SIGTERM or SIGINT).

    embedder: pictures to templates; any number of them share the work.  clusterer: who is who, one active per
    scope, others stand by.  alerter: sightings to alerts, likewise.  The cluster is named by
    ATMWATCH_KAFKA__BOOTSTRAP; see `atmwatch topics create`.
    """
    settings = load_settings(rules=rules, model=model, threads=threads)
    watch = Watch(
        not_ready=lambda reason: err.print(f"{role}: not ready: {reason}", markup=False),
        restarted=lambda reason: err.print(f"{role}: starting over: {reason}", markup=False),
    )
    with stopping() as stop:
        RUNNERS[role](settings, watch, stop)
