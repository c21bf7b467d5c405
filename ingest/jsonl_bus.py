"""The journal of a run without a server: each kind of record in a JSON Lines file, committed batch by batch.

A commit appends the records to their files, then one line to ``commits.jsonl`` (see ``commit_log``).  The
bytes have reached the kernel before ``commit`` returns, so a killed process loses nothing of it; what a
killed process had half written is cut off when the folder is opened again.  Against power loss there is
``fsync``: at most once per ``fsync_every`` seconds and at close, the files before the log.  What lies between
may be damaged by power loss, which opening or reading then reports; 0 makes every commit safe.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from io import FileIO
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from pydantic import ValidationError

from ingest import commit_log
from ingest.commit_log import DIGITS, Commit, Header
from ingest.errors import Corrupt, UsageError
from ingest.records import Position, Record

LOG = "commits.jsonl"
LOCK = ".lock"
PRIVATE = 0o600
"""Journals hold templates of faces: readable by their owner alone."""


class Mode(StrEnum):
    """What to do about a journal that the folder already holds: refuse, go on with it, or remove it."""

    NEW = "new"
    RESUME = "resume"
    FORCE = "force"


class JsonlOutbox:
    """Outputs in files of ``folder``, one for each type of record in ``files``; other records are dropped.

    ``run`` is the caller's mark of what the journal is made of (a digest of the input's listing, say); a
    journal is only resumed under the mark that it began with.  Owned by one thread; a lock on the folder keeps
    other runs out.  A journal covers one partition, and its positions rise.

    Opening raises ``UsageError`` (the folder is in use, not writable, holds a journal, or one of other files
    or of another ``run``) and ``Corrupt`` (what was committed is not there any more).  A ``commit`` that fails
    leaves the outbox unusable: open the folder anew to find out what became durable.
    """

    def __init__(
        self,
        folder: Path,
        files: Mapping[type[Record], str],
        *,
        mode: Mode = Mode.NEW,
        run: str = "",
        fsync_every: float | None = 1.0,
    ) -> None:
        self._types = tuple(files)
        self._names = _checked_names(tuple(files.values()))
        self._place = {kind: place for place, kind in enumerate(self._types)}
        self._header = Header(files=self._names, run=run)
        self._folder = folder
        self._log_path = folder / LOG
        self._fsync_every = fsync_every
        self._synced_at = monotonic()
        self._last: Commit | None = None
        self._whole = True
        with ExitStack() as opened:
            opened.enter_context(_locked(folder))
            found = self._settle(mode)
            self._files = [opened.enter_context(_append(folder / name)) for name in self._names]
            self._log = opened.enter_context(_append(self._log_path))
            self._cut_off_uncommitted() if found else self._begin()
            self._opened = opened.pop_all()

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:
        """Append ``outputs`` and the one position ``upto`` as one batch.

        Raises ``ValueError`` before anything is written when the position does not lie behind the last one, and
        ``OSError`` when the disk refuses, after which this outbox must be closed.
        """
        (position,) = upto
        if not self._whole:
            message = "an earlier commit failed, or the outbox is closed; open the folder anew"
            raise ValueError(message)
        last = self.committed()
        if last and (position.partition != last.partition or position.offset <= last.offset):
            message = f"{position.partition}:{position.offset} is not behind {last.partition}:{last.offset}"
            raise ValueError(message)
        chunks = [bytearray() for _ in self._names]
        order = []
        for record in outputs:
            place = self._place.get(type(record))
            if place is not None:
                chunks[place] += record.to_json().encode() + b"\n"
                order.append(DIGITS[place])
        lengths, crcs = self._standing(self._last)
        commit = Commit(
            n=self._last.n + 1 if self._last else 1,
            position=position,
            lengths=tuple(length + len(chunk) for length, chunk in zip(lengths, chunks, strict=True)),
            crcs=tuple(zlib.crc32(chunk, crc) for crc, chunk in zip(crcs, chunks, strict=True)),
            order="".join(order),
        )
        line = commit_log.encode(commit)
        self._whole = False
        for file, chunk in zip(self._files, chunks, strict=True):
            _write(file, chunk)
        due = self._fsync_every is not None and monotonic() - self._synced_at >= self._fsync_every
        if due:
            self._sync(*self._files)
        _write(self._log, line)
        if due:
            self._sync(self._log)
        self._last = commit
        self._whole = True

    def committed(self) -> Position | None:
        return self._last.position if self._last else None

    def journal(self, after: Position | None = None) -> Iterator[Record]:
        """Every record committed so far behind ``after``, read back from disk and checked, batch by batch.

        Raises ``Corrupt`` with file and line where the journal is not what was written.
        """
        until = self._last.n if self._last else 0
        commits = (commit for commit, _ in commit_log.read_commits(self._log_path))
        before: Commit | None = None
        lines = [1] * len(self._names)
        with ExitStack() as opened:
            files = [opened.enter_context((self._folder / name).open("rb")) for name in self._names]
            for commit in islice(commits, until):
                if after is None or commit.position.offset > after.offset:
                    yield from self._batch(files, before, commit, lines)
                for digit in commit.order:
                    lines[DIGITS.index(digit)] += 1
                before = commit
        if (before.n if before else 0) < until:
            message = f"{self._log_path}: commits are missing from the end"
            raise Corrupt(message)

    def close(self) -> None:
        """Let the disk have everything, and others the folder.  Doing it twice changes nothing."""
        with self._opened:
            if self._whole and self._fsync_every is not None:
                self._sync(*self._files, self._log)
            self._whole = False

    def _standing(self, commit: Commit | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Lengths and CRCs of the files behind ``commit``."""
        nothing = (0,) * len(self._names)
        return (commit.lengths, commit.crcs) if commit else (nothing, nothing)

    def _settle(self, mode: Mode) -> bool:
        """Whether there is a journal to go on with, after ``mode``'s checks; removes files only under FORCE."""
        paths = [self._folder / name for name in self._names]
        if mode is Mode.FORCE:
            for path in (self._log_path, *paths):  # the log first: files without a log are no journal
                path.unlink(missing_ok=True)
            return False
        if mode is Mode.NEW:
            if any(os.path.lexists(path) for path in (self._log_path, *paths)):
                message = f"{self._folder} holds a journal: --resume goes on with it, --force starts anew"
                raise UsageError(message)
            return False
        found = commit_log.read_header(self._log_path)
        if found is None:  # nothing there, or killed while it began
            for path in paths:
                if path.exists() and path.stat().st_size:
                    message = f"{path}: has records, but {self._log_path} does not say which were committed"
                    raise Corrupt(message)
            return False
        self._fit(found[0])
        return True

    def _fit(self, found: Header) -> None:
        if found.files != self._names:
            message = f"{self._folder} holds a journal of {', '.join(found.files)}: --force starts anew"
            raise UsageError(message)
        if found.run != self._header.run:
            message = f"{self._folder} holds the journal of another input: give that one, or --force starts anew"
            raise UsageError(message)

    def _begin(self) -> None:
        self._log.truncate(0)
        _write(self._log, commit_log.encode(self._header))
        if self._fsync_every is not None:
            self._sync(*self._files, self._log)
            _sync_folder(self._folder)

    def _cut_off_uncommitted(self) -> None:
        end = len(commit_log.encode(self._header))
        for commit, behind in commit_log.read_commits(self._log_path):
            self._last, end = commit, behind
        lengths, _ = self._standing(self._last)
        if len(lengths) != len(self._names):
            message = f"{self._log_path}: its commits are of other files than its first line names"
            raise Corrupt(message)
        for file, name, length in zip(self._files, self._names, lengths, strict=True):
            there = os.fstat(file.fileno()).st_size
            if there < length:
                message = f"{self._folder / name}: {there} bytes long, but {length} were committed"
                raise Corrupt(message)
            file.truncate(length)
        self._log.truncate(end)

    def _batch(
        self, files: Sequence[BinaryIO], before: Commit | None, commit: Commit, lines: Sequence[int]
    ) -> Iterator[Record]:
        """The records of ``commit`` in their order; ``lines`` says which line of each file comes first."""
        starts, crcs = self._standing(before)
        records: list[Iterator[Record]] = []
        for place, file in enumerate(files):
            file.seek(starts[place])
            content = file.read(commit.lengths[place] - starts[place])
            parsed = self._parsed(place, content, lines[place])
            right = zlib.crc32(content, crcs[place]) == commit.crcs[place]
            if not right or len(parsed) != commit.order.count(DIGITS[place]):
                message = f"{self._folder / self._names[place]}:{lines[place]}: this or a line after it was changed"
                raise Corrupt(message)
            records.append(iter(parsed))
        for digit in commit.order:
            yield next(records[DIGITS.index(digit)])

    def _parsed(self, place: int, content: bytes, first: int) -> list[Record]:
        kind = self._types[place]
        records: list[Record] = []
        for number, line in enumerate(content.split(b"\n")[:-1], first):
            try:
                records.append(kind.model_validate_json(line))
            except ValidationError as error:
                message = f"{self._folder / self._names[place]}:{number}: not a {kind.__name__}"
                raise Corrupt(message) from error
        return records

    def _sync(self, *files: FileIO) -> None:
        for file in files:
            os.fsync(file.fileno())
        self._synced_at = monotonic()


def _checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    plain = all(name == Path(name).name and name not in {"", "..", LOG, LOCK} for name in names)
    if not plain or len(set(names)) < len(names) or len(names) > len(DIGITS):
        message = f"each of at most {len(DIGITS)} types needs a file name of its own, not {LOG} or {LOCK}"
        raise ValueError(message)
    return names


def _locked(folder: Path) -> FileIO:
    """The folder's lock file, locked until it is closed; makes the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _append(folder / LOCK)
    except OSError as error:
        message = f"{folder} can't be used as output folder: {error.strerror}"
        raise UsageError(message) from error
    try:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        message = f"another run is writing into {folder}; wait for it, or choose another folder"
        raise UsageError(message) from error
    return lock


def _append(path: Path) -> FileIO:
    """Unbuffered, so that what was written is the kernel's and survives this process."""
    return FileIO(path, "ab", opener=lambda name, flags: os.open(name, flags, PRIVATE))


def _write(file: FileIO, content: bytes | bytearray) -> None:
    view = memoryview(content)
    while view:  # the kernel may take less than it was given
        view = view[file.write(view) or 0 :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
