"""``atmwatch run``: the long-running roles."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deploy.cli.console import Model, Rules, Threads, stopping
from deploy.metrics import Role
from deploy.observe import observed
from deploy.roles import run_alerter, run_clusterer, run_embedder
from deploy.settings import load_settings


class Runnable(StrEnum):
    """What a process can be."""

    EMBEDDER = "embedder"
    CLUSTERER = "clusterer"
    ALERTER = "alerter"


RUNNERS = {Runnable.EMBEDDER: run_embedder, Runnable.CLUSTERER: run_clusterer, Runnable.ALERTER: run_alerter}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("run")(command)


def command(
    role: Annotated[Runnable, typer.Argument(help="What this process is to be.")],
    rules: Rules = None,
    model: Model = None,
    threads: Threads = None,
) -> None:
    """Run one role of the stream until it is told to stop (SIGTERM or SIGINT).

    embedder: pictures to templates; any number of them share the work.  clusterer: who is who, one active per
    scope, others stand by.  alerter: sightings to alerts, likewise.  The cluster is named by
    ATMWATCH_KAFKA__BOOTSTRAP; see `atmwatch topics create`.  Logs are JSON lines on standard error; /livez, /readyz
    and /metrics are on ATMWATCH_HTTP__HOST and ATMWATCH_HTTP__PORT.
    """
    settings = load_settings(rules=rules, model=model, threads=threads)
    with stopping() as stop, observed(Role(role.value), settings) as watch:
        RUNNERS[role](settings, watch, stop)
