"""Pairs files: which pictures a verification protocol compares, as LFW and MFR2 publish them.

A line ``name i j`` is a genuine pair (two pictures of one person) and ``name1 i name2 j`` an impostor pair;
they mean the pictures ``name/name_000i.*`` (four digits, any extension).  Fields are separated by tabs, commas
or spaces.  LFW's first line of counts (``10 300``), a column heading that starts with ``name``, empty lines and
lines that start with ``#`` are passed over.  Format: Huang, Ramesh, Berg & Learned-Miller, "Labeled Faces in
the Wild", UMass 07-49, 2007, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.errors import UsageError
from ingest.records import mask_card_numbers

MAX_BYTES = 64 * 1024 * 1024
"""The largest pairs file that is read; LFW's has 160 KB."""

_SEPARATORS = tuple(re.compile(pattern) for pattern in (r"\s*\t\s*", r"\s*,\s*", r"\s+", r"[\s,]+"))
"""Tried in this order: a name may hold a comma beside tabs, and a space beside either."""

_MAX_LINE = 1000
_NUMBER = re.compile(r"[0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class Pair:
    """One line: picture ``number`` of ``name`` against picture ``other_number`` of ``other_name``."""

    line: int
    name: str
    number: int
    other_name: str
    other_number: int

    @property
    def genuine(self) -> bool:
        """Whether both pictures show the same person."""
        return self.name == self.other_name

    @property
    def keys(self) -> tuple[str, str]:
        """The two pictures as ``image_key`` writes them."""
        return image_key(self.name, self.number), image_key(self.other_name, self.other_number)


@dataclass(frozen=True, slots=True)
class PairRows:
    """Pairs as rows of template sets.

    ``first`` and ``second`` are (P,) int64 rows of the probe and gallery set, ``genuine`` is (P,) bool.
    ``left_out`` counts pairs with a picture that shows no usable face.  ``with_itself`` counts pairs that
    compare a picture with itself, as randomly drawn files do: they are kept, because the file is the protocol.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    genuine: NDArray[np.bool_]
    left_out: int = 0
    with_itself: int = 0


def image_key(name: str, number: int) -> str:
    """The picture's path without its extension, below the folder of all people."""
    return f"{name}/{name}_{number:04d}"


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a UTF-8 file of at most ``MAX_BYTES``.

    Raises ``UsageError`` when it can't be read, is too large, isn't text, or by ``parse_pairs``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"pairs file {_shown(str(path))} can't be read: {error.strerror}"
        raise UsageError(message) from error
    if len(content) > MAX_BYTES:
        message = f"pairs file {_shown(str(path))} is larger than {MAX_BYTES // 2**20} MB"
        raise UsageError(message)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"pairs file {_shown(str(path))}, line {line}: is not UTF-8 text"
        raise UsageError(message) from error
    return parse_pairs(text)


def parse_pairs(text: str) -> list[Pair]:
    """The pairs of a pairs file's text, in order.

    Raises ``UsageError`` with the line's number for a line that is no pair, or an impostor line that names
    one person twice; and when there is no pair at all.
    """
    pairs: list[Pair] = []
    first = True
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip().rstrip(",").rstrip()
        if not line or line.startswith("#"):
            continue
        if not (first and _is_heading(line)):
            pairs.append(_parse(line, number))
        first = False
    if not pairs:
        message = "the pairs file holds no pair"
        raise UsageError(message)
    return pairs


def resolve_pairs(
    pairs: Sequence[Pair],
    probe: Mapping[str, int],
    gallery: Mapping[str, int] | None = None,
    *,
    failed: Set[str] = frozenset(),
) -> PairRows:
    """Look the pairs' pictures up: the first among ``probe``, the second among ``gallery`` (or ``probe`` too).

    Both map ``image_key`` to the row of a template set.  ``failed`` are the keys of pictures that are there but
    show no usable face, on either side: their pairs are left out and counted.  Raises ``UsageError`` with the
    line's number when a pair names a picture that is nowhere.
    """
    gallery = probe if gallery is None else gallery
    kept: list[tuple[int, int, bool]] = []
    left_out = with_itself = 0
    for pair in pairs:
        rows = []
        for key, known in zip(pair.keys, (probe, gallery), strict=True):
            row = known.get(key)
            if row is not None:
                rows.append(row)
            elif key not in failed:
                message = f"pairs file, line {pair.line}: there is no picture {_shown(key)}.*"
                raise UsageError(message)
        if len(rows) < 2:
            left_out += 1
            continue
        with_itself += pair.keys[0] == pair.keys[1]
        kept.append((rows[0], rows[1], pair.genuine))
    table = np.array(kept, dtype=np.int64).reshape(-1, 3)
    return PairRows(table[:, 0], table[:, 1], table[:, 2] == 1, left_out, with_itself)


def _parse(line: str, number: int) -> Pair:
    for separator in _SEPARATORS if len(line) <= _MAX_LINE else ():
        match separator.split(line):
            case [name, i, j] if name and _are_numbers(i, j):
                return Pair(number, name, int(i), name, int(j))
            case [name, i, other, j] if name and other and _are_numbers(i, j):
                if name == other:
                    message = f"pairs file, line {number}: an impostor pair names one person twice; write: name i j"
                    raise UsageError(message)
                return Pair(number, name, int(i), other, int(j))
    message = f"pairs file, line {number}: expected name i j, or name1 i name2 j"
    raise UsageError(message)


def _is_heading(line: str) -> bool:
    fields = _SEPARATORS[-1].split(line)
    if len(fields) <= 2 and _are_numbers(*fields):
        return True
    return fields[0].lower().startswith("name") and not any(map(_are_numbers, fields))


def _are_numbers(*fields: str) -> bool:
    return all(_NUMBER.fullmatch(field.strip()) for field in fields)


def _shown(text: str) -> str:
    """A name from outside as a message may repeat it: no control characters, no card number."""
    return repr(mask_card_numbers(text))
