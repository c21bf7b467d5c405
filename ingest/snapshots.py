"""Snapshots of the stages' memories: a shortcut through the journal, never the truth.

A snapshot can be lost, damaged or too new at any time: then the journal is replayed from further back.  A file
is one line of format, version and SHA-256 of the rest, one line of JSON (the position it covers, and the stages
with their sizes in bytes), and the stages' bytes, which this module does not look into.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from ingest.errors import Corrupt
from ingest.records import Position, Record

FORMAT = "atmwatch-snapshot"
VERSION = 1
MAX_HEADER = 1 << 20
PRIVATE = 0o600
"""Snapshots hold templates of faces: readable by their owner alone."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What each stage, by name, remembered when everything up to ``position`` was committed."""

    position: Position
    contents: Mapping[str, bytes]


class _Header(Record):
    position: Position
    sizes: dict[str, Annotated[int, Field(ge=0)]]


class SnapshotStore:
    """The newest ``keep`` snapshots, in ``folder``, which is made when first needed.

    Owned by one thread of one process: whoever holds the outbox whose journal the snapshots cover.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, snapshot: Snapshot) -> None:
        """Make ``snapshot`` durable, wholly or not at all, and drop the oldest.  Raises ``OSError``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / "snapshot.tmp"  # always the same name, so a crash leaves at most one
        with open(temporary, "wb", opener=_private) as file:
            for piece in _encode(snapshot):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path(snapshot.position))
        for old in self._newest_first("snapshot")[self._keep :]:
            old.unlink()
        self._sync()

    def candidates(self, committed: Position | None) -> Iterator[Snapshot]:
        """The good snapshots that lie within a journal committed up to ``committed``, newest first.

        One that lies ahead of the journal is deleted: it tells of what will be decided anew, perhaps
        differently.  A damaged one, or one of a newer version, is set aside.
        """
        for path in self._newest_first("snapshot"):
            try:
                snapshot = _read(path)
            except Corrupt:
                self._set_aside(path)
                continue
            if _within(snapshot.position, committed):
                yield snapshot
            else:
                path.unlink()

    def set_aside(self, snapshot: Snapshot) -> None:
        """Rename a snapshot that a stage refuses to ``*.bad``; the newest ``keep`` of them stay for inquiry."""
        self._set_aside(self._path(snapshot.position))

    def _set_aside(self, path: Path) -> None:
        path.replace(path.with_suffix(".bad"))
        for old in self._newest_first("bad")[self._keep :]:
            old.unlink()

    def _path(self, position: Position) -> Path:
        return self._folder / f"{position.offset:020d}.snapshot"

    def _newest_first(self, suffix: str) -> list[Path]:
        return sorted(self._folder.glob(f"{'[0-9]' * 20}.{suffix}"), reverse=True)

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _within(position: Position, committed: Position | None) -> bool:
    return committed is not None and position.partition == committed.partition and position.offset <= committed.offset


def _encode(snapshot: Snapshot) -> list[bytes]:
    sizes = {name: len(content) for name, content in snapshot.contents.items()}
    header = _Header(position=snapshot.position, sizes=sizes)
    pieces = [header.to_json().encode() + b"\n", *snapshot.contents.values()]
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
    return [_first_line(digest.hexdigest()), *pieces]


def _read(path: Path) -> Snapshot:
    """What ``save`` wrote.  Raises ``Corrupt`` when it is damaged or of another version."""
    with path.open("rb") as file:
        first = file.readline(MAX_HEADER)
        line = file.readline(MAX_HEADER)
        digest = sha256(line)
        try:
            header = _Header.model_validate_json(line)
        except ValidationError as error:
            message = f"{path}: its header does not fit the schema"
            raise Corrupt(message) from error
        contents: dict[str, bytes] = {}
        left = path.stat().st_size
        for name, size in header.sizes.items():
            contents[name] = file.read(min(size, left))
            digest.update(contents[name])
        rest = file.read(1)
    if rest or first != _first_line(digest.hexdigest()):
        message = f"{path}: damaged, or of another version"
        raise Corrupt(message)
    return Snapshot(header.position, contents)


def _first_line(digest: str) -> bytes:
    return f"{FORMAT} {VERSION} {digest}\n".encode()


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, PRIVATE)
