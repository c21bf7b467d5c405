"""What the commands that train share: PyTorch, if it is there, and word of how far a long work is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from time import monotonic
from typing import Any

from rich.progress import TaskID

from deploy.cli.console import err, progress_bar
from ingest.errors import UsageError

Tell = Callable[[str, int, int | None, str], None]
"""What is being done, how far it is, of how much, and a detail."""
WORD_EVERY_S = 30.0
"""Where no bar can be shown, there is a line so often."""


@dataclass(slots=True)
class _Task:
    """``began`` and ``said`` on the monotonic clock; ``first`` is where a run that was gone on with began."""

    number: TaskID
    began: float
    first: int
    said: float


def needing_torch(module: str) -> Any:
    """The ``module``, if PyTorch is there, which is no part of what runs at a bank.

    Raises ``UsageError`` if it is not.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        message = f"training needs {error.name}, which the extra train brings: pip install 'atmwatch[train]'"
        raise UsageError(message) from error


@contextmanager
def telling() -> Iterator[Tell]:
    """A progress bar for each thing that is done, one after the other; lines, where standard error is no terminal."""
    with progress_bar() as bar:
        tasks: dict[str, _Task] = {}

        def tell(what: str, done: int, total: int | None, detail: str) -> None:
            now = monotonic()
            if what not in tasks:
                tasks[what] = _Task(bar.add_task(what, total=total, rate="", detail=""), now, done, -WORD_EVERY_S)
            task = tasks[what]
            rate = f"{(done - task.first) / max(now - task.began, 1e-6):.1f}/s"
            bar.update(task.number, completed=done, total=total, rate=rate, detail=detail)
            if not err.is_terminal and (now - task.said >= WORD_EVERY_S or done == total):
                task.said = now
                of = "" if total is None else f" of {total:,}"
                err.print(f"{what}: {done:,}{of}{detail and ', '}{detail}", markup=False)

        yield tell
