"""The commit log of a journal in files: one checked line for each batch that became durable.

A line says up to which byte each output file belongs to the journal, and in which order the batch's records
lie across the files.  What a file holds beyond the last good line was never committed.  The line's own
checksum tells a torn line from a whole one; the running CRC-32 of each file (ISO 3309, as in zlib) tells
damage to the files from what was written.  Checksums here find accidents, not forgers.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from ingest.errors import Corrupt
from ingest.records import Position, Record

MAX_LINE = 1 << 20
"""Bytes of a line at most: a batch of a million records."""

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""How ``Commit.order`` writes a file's place in ``Header.files``."""

_SEAL = b',"sum":"'
_TAIL = len(_SEAL) + 16 + len(b'"}\n')

Size = Annotated[int, Field(ge=0)]
AnyRecord = TypeVar("AnyRecord", bound=Record)


class Header(Record):
    """The log's first line: the files that the journal owns, and ``run``, the caller's mark of its input."""

    journal: Literal[1] = 1
    files: tuple[str, ...]
    run: str


class Commit(Record):
    """One batch: where the files stand behind it, each in the order of ``Header.files``.

    ``n`` counts the commits from 1.  ``lengths`` are in bytes, ``crcs`` cover each file from its start.
    ``order`` has one digit for each record of the batch: the file whose next line it is.
    """

    n: Annotated[int, Field(ge=1)]
    position: Position
    lengths: tuple[Size, ...]
    crcs: tuple[Size, ...]
    order: str


def encode(line: Header | Commit) -> bytes:
    """The sealed line.  Raises ``ValueError`` when it would be longer than ``MAX_LINE``."""
    body = line.model_dump_json().encode()[:-1]
    sealed = body + _SEAL + _digest(body) + b'"}\n'
    if len(sealed) > MAX_LINE:
        message = f"a batch of {len(body)} bytes of commit line is too large; commit smaller batches"
        raise ValueError(message)
    return sealed


def decode(sealed: bytes, kind: type[AnyRecord]) -> AnyRecord | None:
    """What ``encode`` wrote, or None when the line is torn, damaged or of another kind."""
    body, tail = sealed[:-_TAIL], sealed[-_TAIL:]
    if tail != _SEAL + _digest(body) + b'"}\n':
        return None
    try:
        return kind.model_validate_json(body + b"}")
    except ValidationError:
        return None


def read_header(path: Path) -> tuple[Header, int] | None:
    """The log's header and the byte behind it; None when there is no log yet, or it was torn at its birth.

    Raises ``Corrupt`` when the header is damaged but commits follow it.
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        header = decode(file.readline(MAX_LINE + 1), Header)
        if header is not None:
            return header, file.tell()
        if _any_commit(file):
            message = f"{path}:1: the journal's first line is damaged or of a newer version"
            raise Corrupt(message)
    return None


def read_commits(path: Path) -> Iterator[tuple[Commit, int]]:
    """Each good commit and the byte behind its line, in order, of a log with a good header; without a torn end.

    Raises ``Corrupt``, naming the line, when a bad line is followed by a good one or commits do not follow each
    other.  Memory is bounded by one line.
    """
    with path.open("rb") as file:
        file.readline(MAX_LINE + 1)
        before: Commit | None = None
        number = 2
        while line := file.readline(MAX_LINE + 1):
            commit = decode(line, Commit)
            if commit is None:
                if _any_commit(file):
                    message = f"{path}:{number}: the line is damaged, and commits follow it"
                    raise Corrupt(message)
                return
            if not _follows(commit, before):
                message = f"{path}:{number}: the commit does not follow the one before it"
                raise Corrupt(message)
            yield commit, file.tell()
            before = commit
            number += 1


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=8).hexdigest().encode()


def _any_commit(lines: Iterator[bytes]) -> bool:
    return any(len(line) <= MAX_LINE and decode(line, Commit) is not None for line in lines)


def _follows(commit: Commit, before: Commit | None) -> bool:
    if before is None:
        return commit.n == 1
    return (
        commit.n == before.n + 1
        and commit.position.partition == before.position.partition
        and commit.position.offset > before.position.offset
        and len(commit.lengths) == len(before.lengths)
        and all(now >= then for now, then in zip(commit.lengths, before.lengths, strict=True))
    )
