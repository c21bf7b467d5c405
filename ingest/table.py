"""Records of a text table, .csv (RFC 4180) or .jsonl, with their line numbers, one broken record at a time.

A record that can't be read is an error in the stream, not its end.  Lines are bounded, and so is a quoted cell's
reach: a quote that is never closed costs the line that it is in, not the rest of the file.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from ingest.errors import BadRecord, UsageError
from ingest.reasons import Reason

MAX_LINE = 64 * 1024
"""Bytes of a line, and of a record of several lines."""
MAX_RECORD_LINES = 20

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One record: the number of its first line, and its fields by column name, stripped; "" where blank."""

    line: int
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that can't be read."""

    line: int
    error: BadRecord


def csv_columns(path: Path) -> list[str]:
    """The header's names, in lower case.  Raises UsageError when there is no header, or it can't be read."""
    with path.open("rb") as file:
        for _, line in _lines(file):
            if isinstance(line, BadRecord):
                break
            if line.strip():
                try:
                    names = [name.strip().lower() for name in next(csv.reader([line], strict=True))]
                except csv.Error:
                    break
                twice = sorted({name for name in names if names.count(name) > 1})
                if twice:
                    message = f"{path.name} has the column {twice[0]!r} twice"
                    raise UsageError(message)
                return names
        else:
            message = f"{path.name} is empty; its first line must name the columns"
            raise UsageError(message)
    message = f"the first line of {path.name} is not a header in UTF-8"
    raise UsageError(message)


def csv_rows(path: Path) -> Iterator[Row | BadRow]:
    """The records behind the header."""
    columns = csv_columns(path)
    with path.open("rb") as file:
        records = _csv_records(file)
        next(records)
        for line, cells in records:
            if isinstance(cells, BadRecord):
                yield BadRow(line, cells)
            elif len(cells) != len(columns):
                detail = f"The row has {len(cells)} cells, the header {len(columns)}."
                yield BadRow(line, BadRecord(Reason.BAD_ROW, detail))
            else:
                yield Row(line, {name: cell.strip() for name, cell in zip(columns, cells, strict=True)})


def jsonl_rows(path: Path) -> Iterator[Row | BadRow]:
    """The objects, one a line.  Numbers keep their text; null is blank."""
    with path.open("rb") as file:
        for number, line in _lines(file):
            if isinstance(line, BadRecord):
                yield BadRow(number, line)
            elif line.strip():
                try:
                    yield Row(number, _object(line))
                except BadRecord as error:
                    yield BadRow(number, error)


def _object(line: str) -> dict[str, str]:
    try:
        content = json.loads(line, parse_int=str, parse_float=str, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRecord(Reason.BAD_ROW, "The line is not valid JSON.") from error
    if not isinstance(content, dict):
        raise BadRecord(Reason.BAD_ROW, "The line is not a JSON object.")
    fields: dict[str, str] = {}
    for name, value in content.items():
        if value is not None and not isinstance(value, str):
            raise BadRecord(Reason.BAD_ROW, "A value is neither text nor a number.")
        fields[name.strip().lower()] = (value or "").strip()
    return fields


def _no_number(_: str) -> NoReturn:
    message = "not a number"
    raise ValueError(message)


def _lines(file: BinaryIO) -> Iterator[tuple[int, str | BadRecord]]:
    """(number, text with its line end) of every line, or what is wrong with it."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE + 1)
            yield number, BadRecord(Reason.BAD_ROW, f"The line is longer than {MAX_LINE:,} bytes.")
            continue
        try:
            yield number, line.decode()
        except UnicodeDecodeError:
            yield number, BadRecord(Reason.BAD_ROW, "The line is not UTF-8.")


def _csv_records(file: BinaryIO) -> Iterator[tuple[int, list[str] | BadRecord]]:
    """(number of the first line, cells) of every record that is not blank."""
    lines = _lines(file)
    ahead: deque[tuple[int, str | BadRecord]] = deque()
    while True:
        read = ahead.popleft() if ahead else next(lines, None)
        if read is None:
            return
        number, line = read
        if isinstance(line, BadRecord):
            yield number, line
            continue
        if not line.strip():
            continue
        taken = _reach(line, lines, ahead)
        cells = _cells([line, *(text for _, text in list(ahead)[:taken] if isinstance(text, str))])
        if cells is None:  # the quote means something else: judge the first line alone
            cells = _cells([line])
        else:
            for _ in range(taken):
                ahead.popleft()
        yield number, cells or BadRecord(Reason.BAD_ROW, "The row's quotes do not match.")


def _reach(line: str, lines: Iterator[tuple[int, str | BadRecord]], ahead: deque[tuple[int, str | BadRecord]]) -> int:
    """How many lines behind ``line`` its record takes up; 0 also when its quotes are never closed."""
    quotes, taken, size = line.count('"'), 0, len(line)
    while quotes % 2:
        if taken == len(ahead):
            following = next(lines, None)
            if following is None:
                return 0
            ahead.append(following)
        text = ahead[taken][1]
        taken += 1
        if isinstance(text, BadRecord) or taken >= MAX_RECORD_LINES or (size := size + len(text)) > MAX_LINE:
            return 0
        quotes += text.count('"')
    return taken


def _cells(lines: list[str]) -> list[str] | None:
    """The cells of the one record in ``lines``; None when they are not one record."""
    try:
        records = list(csv.reader(lines, strict=True))
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None
