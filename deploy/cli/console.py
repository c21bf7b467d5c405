"""What the commands share: consoles, options, tables and progress bars."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

WIDE = 120
"""Columns where output goes into a file or pipe, which has none of its own."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
"""Results, on standard output."""
err = Console(stderr=True, highlight=False)
"""Progress and messages, on standard error."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
Model = Annotated[str | None, typer.Option(help="Name of a shipped model, or path of a model folder.")]
Rules = Annotated[Path | None, typer.Option(help="Rules file (YAML); the shipped default rules without it.")]
Threads = Annotated[int | None, typer.Option(min=0, help="Pictures worked on at a time; 0 for one per core.")]
Threshold = Annotated[float | None, typer.Option(help="Score above which a face joins a person, over the model's own.")]


def print_json(text: str) -> None:
    """One JSON object on standard output, as it is."""
    typer.echo(text)


def progress_bar() -> Progress:
    """A bar with rate and time left, on standard error; nothing where that is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", style="dim"),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


@contextmanager
def stopping() -> Iterator[Event]:
    """An event that SIGINT and SIGTERM set; a second one of either ends the process at once."""
    stop = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)
        err.print("Stopping after the batch at hand; once more to end at once.")

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def tidying() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does: what was started is stopped, and what was made is taken away."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
