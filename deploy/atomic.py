"""Files that are there whole or not at all, and for their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600
"""What is derived from faces is readable by its owner alone, as the journals are."""


def part_of(path: Path) -> Path:
    """The hidden file beside ``path`` in which its content grows; the next run replaces what a crash left."""
    return path.with_name(f".{path.name}.part")


def write_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` in ``path`` by way of a file beside it, so that a reader never sees half of it.

    Not flushed to the disk: for what can be derived again, such as a report.  Raises OSError.
    """
    part = part_of(path)
    part.unlink(missing_ok=True)
    with open(part, "xb", opener=_private) as stream:
        stream.write(content)
    part.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)
