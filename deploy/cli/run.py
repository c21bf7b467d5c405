"""``atmwatch run``: the long-running roles."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from threading import Event
from types import MappingProxyType
from typing import Annotated

import typer

from deploy import interpreter
from deploy.cli.console import Model, Rules, Threads, stopping
from deploy.metrics import Role
from deploy.observe import observed
from deploy.roles import run_alerter, run_clusterer, run_embedder
from deploy.settings import Settings, load_settings
from deploy.sink import has_sink, run_notifier
from deploy.together import Runner, run_together
from deploy.view import run_view
from deploy.watch import Watch


class Runnable(StrEnum):
    """What a process can be."""

    EMBEDDER = "embedder"
    CLUSTERER = "clusterer"
    ALERTER = "alerter"
    VIEW = "view"
    NOTIFIER = "notifier"
    GATEWAY = "gateway"
    ALL = "all"


def _run_gateway(settings: Settings, watch: Watch, stop: Event) -> None:
    from deploy.gateway import run_gateway  # noqa: PLC0415 - its web framework costs other commands half a second

    run_gateway(settings, watch, stop)


RUNNERS: Mapping[str, Runner] = MappingProxyType(
    {
        Runnable.EMBEDDER: run_embedder,
        Runnable.CLUSTERER: run_clusterer,
        Runnable.ALERTER: run_alerter,
        Runnable.VIEW: run_view,
        Runnable.NOTIFIER: run_notifier,
        Runnable.GATEWAY: _run_gateway,
    }
)


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
    scope, others stand by.  alerter: sightings to alerts, likewise; it delivers them as well where a webhook or an
    alerts file is named, which the notifier does in a process of its own.  view: writes the view in Redis.  gateway:
    takes events over HTTP.  all: every role that the settings suffice for, in one process.

    The cluster is named by ATMWATCH_KAFKA__BOOTSTRAP; see `atmwatch topics create`.  Logs are JSON lines on standard
    error; /livez, /readyz and /metrics are on ATMWATCH_HTTP__HOST and ATMWATCH_HTTP__PORT.
    """
    settings = load_settings(rules=rules, model=model, threads=threads)
    interpreter.prepare()
    with stopping() as stop, observed(Role(role.value), settings) as watch:
        runners = runners_of(role, settings)
        if len(runners) == 1:
            RUNNERS[role](settings, watch, stop)
        else:
            run_together(runners, settings, watch, stop)


def runners_of(role: Runnable, settings: Settings) -> dict[str, Runner]:
    """What a process runs: one role, the alerter and the delivery of its alerts, or all that is configured."""
    names: set[str] = {role}
    if role is Runnable.ALL:
        names = {Runnable.EMBEDDER, Runnable.CLUSTERER, Runnable.ALERTER}
        if settings.redis.url is not None:
            names.add(Runnable.VIEW)
        if settings.gateway.lets_in:
            names.add(Runnable.GATEWAY)
    if role in (Runnable.ALL, Runnable.ALERTER) and has_sink(settings):
        names.add(Runnable.NOTIFIER)
    return {name: run for name, run in RUNNERS.items() if name in names}
