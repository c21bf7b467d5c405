"""The root of the command line: sub-commands, and how errors become exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from deploy.cli import bench, deadletter, demo, evaluate, models, publish, replay, rules, run, schema, topics, view
from deploy.cli.console import err
from ingest.errors import AtmwatchError, UsageError

FAILED, BAD_USAGE = 1, 2

app = typer.Typer(
    name="atmwatch",
    help="Counts how often each unknown person uses a bank's ATMs, masked or not, and raises alerts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed, 2 bad usage.  Start with `atmwatch demo --out demo`.",
)
replay.register(app)
demo.register(app)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(bench.app, name="bench")
app.add_typer(models.app, name="models")
app.add_typer(rules.app, name="rules")
app.add_typer(topics.app, name="topics")
app.add_typer(deadletter.app, name="deadletter")
app.add_typer(view.app, name="view")
run.register(app)
publish.register(app)
schema.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"atmwatch {version('atmwatch')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line: 0 done, 1 failed, 2 bad usage.  A defect shows its traceback, and ends with 1."""
    try:
        app()
    except UsageError as error:
        err.print(f"atmwatch: {error}", markup=False, soft_wrap=True)
        sys.exit(BAD_USAGE)
    except AtmwatchError as error:
        err.print(f"atmwatch: {error}", markup=False, soft_wrap=True)
        sys.exit(FAILED)
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
        sys.stderr.close()
        sys.exit(FAILED)
