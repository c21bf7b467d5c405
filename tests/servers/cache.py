"""The folder outside of the repository in which downloaded servers are kept."""

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_MARKER = "complete"


class Missing(RuntimeError):
    """A server or a tool needed to get one is not there; the message says which, and how to get it."""


def say(text: str) -> None:
    """One line of progress to the terminal."""
    print(text, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/atmwatch`, made when it is not there."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "atmwatch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept(name: str, recipe: str, fill: Callable[[Path], None], root: Path | None = None) -> Path:
    """The folder `name` of the cache, filled by `fill` unless it is already there for this `recipe`.

    Two runs never fill at once, and an interrupted one leaves nothing that looks whole: `fill` works in a folder
    beside, which is renamed when it is done. `recipe` is the text that decides the content (a pom.xml, a list of
    packages); when it changes, the folder is filled anew.
    """
    root = root or cache_folder()
    folder = root / name
    mark = hashlib.sha256(recipe.encode()).hexdigest()
    if _is_whole(folder, mark):
        return folder
    with _only_one(root / f".{name}.lock"):
        if _is_whole(folder, mark):  # another run filled it while this one waited
            return folder
        partial = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root))
        try:
            fill(partial)
            (partial / _MARKER).write_text(mark)
            partial.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _is_whole(folder: Path, mark: str) -> bool:
    marker = folder / _MARKER
    return marker.is_file() and marker.read_text() == mark


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another run is filling {path.parent}; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
