"""Labels of pictures or people: a CSV file with a column ``file`` or ``person``, and one per attribute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingest.claim_check import printable
from ingest.errors import UsageError
from ingest.table import BadRow, csv_columns, csv_rows

KEYS = ("file", "person")
MAX_ROWS = 2_000_000
MAX_GROUPS = 20
"""An attribute of more values is not one of groups (an age in years, a name)."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What a file says: ``rows`` maps a picture's path below the folder, or a person's name, to their attributes.

    ``key`` is ``file`` or ``person``; ``name`` is the file's own, for messages; a value may be "".
    """

    name: str
    key: str
    attributes: tuple[str, ...]
    rows: dict[str, dict[str, str]]

    def of(self, person: str, path: Path) -> dict[str, str]:
        """The attributes of a picture ``path`` of ``person``; empty where the table does not know it."""
        if self.key == "person":
            return self.rows.get(person, {})
        return self.rows.get(f"{person}/{path.name}") or self.rows.get(path.name) or {}

    @property
    def groupings(self) -> tuple[str, ...]:
        """The attributes that have few values, and so make groups."""
        return tuple(
            name for name in self.attributes if 1 < len({row[name] for row in self.rows.values()} - {""}) <= MAX_GROUPS
        )


def read_labels(path: Path) -> LabelTable:
    """The labels in a CSV file; ``UsageError`` names the line that is wrong, or the column that is missing."""
    name = printable(path)
    try:
        columns = csv_columns(path)
        key = next((column for column in KEYS if column in columns), None)
        attributes = tuple(column for column in columns if column and column not in KEYS)
        if key is None or not attributes:
            message = f"{name} needs a column file or person, and one for each label, such as sex, race or age"
            raise UsageError(message)
        rows: dict[str, dict[str, str]] = {}
        for row in csv_rows(path):
            if isinstance(row, BadRow):
                message = f"{name}, line {row.line}: {row.error.detail}"
                raise UsageError(message)
            if not row.fields[key] or row.fields[key] in rows:
                what = "twice" if row.fields[key] else "without a name"
                message = f"{name}, line {row.line}: the {key} is there {what}"
                raise UsageError(message)
            if len(rows) == MAX_ROWS:
                message = f"{name} has more than {MAX_ROWS:,} rows"
                raise UsageError(message)
            rows[row.fields[key]] = {attribute: row.fields[attribute] for attribute in attributes}
    except OSError as error:
        message = f"{name} can't be read: {error.strerror}"
        raise UsageError(message) from error
    if not rows:
        message = f"{name} holds no labels"
        raise UsageError(message)
    return LabelTable(name, key, attributes, rows)


def numbers_of(values: list[str]) -> list[float] | None:
    """``values`` as numbers, if all of them are and they are no mere classes: more than ``MAX_GROUPS`` of them."""
    if len(set(values)) <= MAX_GROUPS:
        return None
    try:
        return [float(value) for value in values]
    except ValueError:
        return None
