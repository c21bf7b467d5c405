"""What the commands that measure accuracy share: their options, and a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from deploy.cli.console import progress_bar
from deploy.evaluation.acquire import MASKS
from embedder.evaluation.protocols import People

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with one sub-folder of pictures per person.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="NAME", help="A shipped model's name, or a model folder; several are compared side by side."
    ),
]
Whom = Annotated[
    People,
    typer.Option(help="Everybody; the first fifth of the sorted names, to tune on; or the rest, to report on."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the order, of drawn masks, probes and people.")]
Bootstrap = Annotated[int, typer.Option(min=0, max=10_000, help="Draws of people for 95 % intervals; 0 for none.")]
KINDS = f"Draw masks first: {', '.join(MASKS)}."


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar; gives the function to tell it how many are done."""
    began = monotonic()
    with progress_bar() as bar:
        task = bar.add_task(what, total=total, rate="", detail="")

        def advance(done: int) -> None:
            bar.update(task, completed=done, rate=f"{done / max(monotonic() - began, 1e-6):.0f}/s")

        yield advance
