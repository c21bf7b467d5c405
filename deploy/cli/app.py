"""The root of the command line: sub-commands, and how errors become exit codes."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from deploy.cli.console import err
from deploy.cli.lazy import Place, add_commands
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
COMMANDS = {
    "replay": Place(
        "deploy.cli.replay",
        "Tell from pictures which unknown person used which ATM when and how often, and who crossed a threshold.",
    ),
    "simulate": Place(
        "deploy.cli.demo",
        "Write a simulated ATM day: pictures, manifest.csv, and truth.json with who was where and what must alert.",
    ),
    "demo": Place(
        "deploy.cli.demo",
        "Simulate a day from five bundled portraits, replay it, and hold the result against the truth.",
    ),
    "run": Place("deploy.cli.run", "Run one role of the stream until it is told to stop (SIGTERM or SIGINT)."),
    "publish": Place(
        "deploy.cli.publish",
        "Send pictures into the stream: what replay reads, as events of the topic atm.events, in captured_at order.",
    ),
    "schema": Place(
        "deploy.cli.schema",
        "Print the JSON Schema of a record or of rules files; of the topics the AsyncAPI, of the gateway the OpenAPI.",
    ),
    "evaluate": Place(
        "deploy.cli.evaluate", "Measure accuracy on DIR/person/pictures, through the pipeline that replay uses."
    ),
    "bench": Place("deploy.cli.bench", "Measure speed and memory."),
    "masks": Place("deploy.cli.masks", "Draw masks and other occlusions onto faces."),
    "train": Place("deploy.cli.train", "Train models of one's own on folders of pictures."),
    "models": Place("deploy.cli.models", "List and verify model folders."),
    "rules": Place("deploy.cli.rules", "Check and show alert rules."),
    "topics": Place("deploy.cli.topics", "Make and check the topics."),
    "deadletter": Place("deploy.cli.deadletter", "What could not be used."),
    "view": Place("deploy.cli.view", "The view in Redis that dashboards read."),
}
add_commands(app, COMMANDS)


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
    # Set before NumPy is loaded.  BLAS threads wait by spinning, and so take time from those that have work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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
