"""Where alerts go: to people's systems, each alert at least once, and recognisable by its id when it comes again."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Protocol

from pydantic import ValidationError

from alerts.records import Alert
from ingest.errors import Corrupt, Unavailable, UsageError

PRIVATE = 0o600
"""Alerts tell of people's whereabouts: readable by their owner alone."""

MAX_LINE = 1 << 20
"""Bytes of an alert's line at most; one with all its evidence has about 20,000."""


class Sink(Protocol):
    """A place that takes alerts.  Owned by one thread."""

    def deliver(self, alert: Alert) -> None:
        """Hand ``alert`` over; when it returns, the place has it.  Harmless when it was handed over before.

        Raises ``Unavailable`` when the place can't take it now: the same alert is to be tried again later.
        """
        ...

    def close(self) -> None: ...


class JsonlSink:
    """Alerts in a JSON Lines file, each once, and on the disk when ``deliver`` returns.

    Goes on with a file that is there; a last line that a crash tore is cut off.  The ids of all its alerts are
    kept in memory: about 150 bytes each.  A lock keeps other processes out.  Raises ``UsageError`` when the file
    is in use or can't be opened, and ``Corrupt``, naming the line, when it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(path, "ab+", opener=lambda name, flags: os.open(name, flags, PRIVATE))
        except OSError as error:
            message = f"{path} can't be used for alerts: {error.strerror}"
            raise UsageError(message) from error
        with ExitStack() as opened:
            opened.callback(self._file.close)
            self._lock()
            self._known, self._length = self._read()
            self._file.truncate(self._length)
            _sync_folder(path.parent)
            opened.pop_all()

    def deliver(self, alert: Alert) -> None:
        if alert.alert_id in self._known:
            return
        line = alert.to_json().encode() + b"\n"
        try:
            self._file.truncate(self._length)  # what an earlier try may have left
            left = memoryview(line)
            while left:  # the kernel may take less than it was given
                left = left[self._file.write(left) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            what = f"{self._path} ({error.strerror})"
            raise Unavailable(what, retry_after=5.0) from error
        self._length += len(line)
        self._known.add(alert.alert_id)

    def close(self) -> None:
        """Let go of the file; again does nothing."""
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another process is writing alerts to {self._path}"
            raise UsageError(message) from error

    def _read(self) -> tuple[set[str], int]:
        known: set[str] = set()
        length = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                if not line.endswith(b"\n") and len(line) <= MAX_LINE:
                    break
                try:
                    known.add(Alert.model_validate_json(line).alert_id)
                except ValidationError as error:
                    message = f"{self._path}:{number}: the line is not an alert"
                    raise Corrupt(message) from error
                length += len(line)
        return known, length


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE + 1):
        yield line


def _sync_folder(folder: Path) -> None:
    """So that a new file's name outlives a power cut as well."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
