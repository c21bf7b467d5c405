"""``atmwatch view``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from deploy.cli.console import Json, out, print_json, stopping
from deploy.settings import load_settings
from deploy.view import rebuild_views

app = typer.Typer(help="The view in Redis that dashboards read.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def root() -> None:
    """The view in Redis that dashboards read."""


@app.command("rebuild")
def rebuild(
    scope: Annotated[list[str] | None, typer.Option(help="Only this scope; can be given again.")] = None,
    as_json: Json = False,
) -> None:
    """Build the view anew from the journal, beside the one that readers see until it is whole.

    The view role does so by itself when Redis was flushed or can't be read.  Both need the same secret: give them the
    same ATMWATCH_VIEW_SECRET_FILE.  Exit 1 when it was stopped before the end; readers then keep what they had.
    """
    settings = load_settings()
    with stopping() as stop:
        totals = rebuild_views(settings, scope or (), stop)
    if as_json:
        scopes = {name: json.loads(found.to_json()) for name, found in totals.items()}
        print_json(json.dumps({"scopes": scopes}))
    else:
        table = Table("scope", "pictures", "people", "visits", "alerts")
        for name, found in totals.items():
            table.add_row(name, *(f"{n:,}" for n in (found.pictures, found.identities, found.visits, found.alerts)))
        out.print(table)
    if len(totals) < len(set(scope or settings.kafka.scopes)):
        raise typer.Exit(1)
