"""The two things that Exif (JEITA CP-3451, CIPA DC-008) is asked for: which way is up, and when it was taken.

Our own reader, because a scan reads a few kilobytes of each of a million files, and because a general one
warns, repairs and follows offsets.  Every read is bounded; what makes no sense is not there.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from ingest import jpeg
from ingest.jpeg import ReadAt

_HEAD = 4096
_MAX_READS = 64
_MAX_TAGS = 512
_MAX_CHUNKS = 64

_ORIENTATION, _SUB_IFD = 0x0112, 0x8769
_TIMES = ((0x9003, 0x9011, 0x9291), (0x9004, 0x9012, 0x9292), (0x0132, 0x9010, 0x9290))
"""Tags of (time, offset, fraction): taken, digitised, changed; the first that makes sense counts."""
_TEXT = frozenset(tag for tags in _TIMES for tag in tags)
_WHEN = re.compile(r"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Exif:
    """``orientation`` is 1 (upright) to 8; ``taken`` is naive unless the camera recorded its offset from UTC."""

    orientation: int = 1
    taken: datetime | None = None


def exif_time(source: bytes | Path) -> datetime | None:
    """When the picture was taken, says its Exif: original, digitised or changed time, in this order.

    Aware where the camera recorded an offset from UTC, else naive: the terminal's wall clock.  None without
    Exif, or where the times are nonsense such as 0000:00:00.  Raises OSError when a file can't be read.
    """
    return read(_over(source)).taken if isinstance(source, bytes) else of_file(source).taken


def of_file(path: Path | str) -> Exif:
    """The Exif of a file, from a few kilobytes of it.  Raises OSError; never waits for a pipe or device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        return read(_window(descriptor))
    finally:
        os.close(descriptor)


def of_bytes(data: bytes) -> Exif:
    """The Exif of an encoded picture: JPEG, PNG, WebP or TIFF."""
    return read(_over(data))


def of_block(data: bytes, base: int) -> Exif:
    """The Exif of the TIFF block that begins at ``base``."""
    return _tiff(_over(data), base)


def read(read_at: ReadAt) -> Exif:
    """The Exif of the picture that ``read_at`` reads, whatever its container."""
    head = read_at(0, 16)
    base: int | None = None
    if head.startswith(jpeg.SOI):
        base = jpeg.exif_block(read_at)
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        base = _png_block(read_at)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        base = _webp_block(read_at)
    elif head[:4] in (b"II*\0", b"MM\0*"):
        base = 0
    return Exif() if base is None else _tiff(read_at, base)


def _over(data: bytes) -> ReadAt:
    return lambda offset, size: data[offset : offset + size]


def _window(descriptor: int) -> ReadAt:
    """Reads of a file: its head at once, and a bounded number of small ones behind it."""
    head = os.pread(descriptor, _HEAD, 0)
    left = _MAX_READS

    def read_at(offset: int, size: int) -> bytes:
        nonlocal left
        if offset + size <= len(head) or len(head) < _HEAD:
            return head[offset : offset + size]
        left -= 1
        return os.pread(descriptor, size, offset) if left >= 0 else b""

    return read_at


def _png_block(read_at: ReadAt) -> int | None:
    offset = 8
    for _ in range(_MAX_CHUNKS):
        head = read_at(offset, 8)
        if head[4:] == b"eXIf":
            return offset + 8
        if len(head) < 8:
            break
        offset += 12 + int.from_bytes(head[:4])
    return None


def _webp_block(read_at: ReadAt) -> int | None:
    offset = 12
    for _ in range(_MAX_CHUNKS):
        head = read_at(offset, 8)
        if head[:4] == b"EXIF":
            return offset + (14 if read_at(offset + 8, 6) == b"Exif\0\0" else 8)
        if len(head) < 8:
            break
        size = int.from_bytes(head[4:], "little")
        offset += 8 + size + size % 2
    return None


def _tiff(read_at: ReadAt, base: int) -> Exif:
    head = read_at(base, 8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None or len(head) < 8:
        return Exif()
    tags = _directory(read_at, base, struct.unpack(order + "I", head[4:])[0], order)
    pointer = tags.get(_SUB_IFD)
    if isinstance(pointer, int):
        tags = {**_directory(read_at, base, pointer, order), **tags}
    turn = tags.get(_ORIENTATION)
    return Exif(turn if isinstance(turn, int) and 1 <= turn <= 8 else 1, _taken(tags))


def _directory(read_at: ReadAt, base: int, offset: int, order: str) -> dict[int, int | str]:
    """The wanted tags of one image file directory: numbers, and text of up to 64 bytes."""
    count = read_at(base + offset, 2)
    if len(count) < 2:
        return {}
    size = 12 * min(struct.unpack(order + "H", count)[0], _MAX_TAGS)
    table = read_at(base + offset + 2, size)
    tags: dict[int, int | str] = {}
    for at in range(0, len(table) - 11, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", table, at)
        value = table[at + 8 : at + 12]
        if tag in (_ORIENTATION, _SUB_IFD) and kind in (3, 4):
            tags[tag] = struct.unpack(order + ("H" if kind == 3 else "I"), value[: 2 if kind == 3 else 4])[0]
        elif tag in _TEXT and kind == 2 and length <= 64:
            if length > 4:
                value = read_at(base + struct.unpack(order + "I", value)[0], length)
            tags[tag] = value[:length].split(b"\0")[0].decode("ascii", "replace").strip()
    return tags


def _taken(tags: dict[int, int | str]) -> datetime | None:
    for when, offset, fraction in _TIMES:
        found = _WHEN.fullmatch(str(tags.get(when, "")))
        if found is None:
            continue
        digits = str(tags.get(fraction, ""))
        micros = int(digits[:6].ljust(6, "0")) if digits.isascii() and digits.isdigit() else 0
        year, month, day, hour, minute, second = map(int, found.groups())
        try:
            at = datetime(year, month, day, hour, minute, second, micros)  # noqa: DTZ001 - no zone was recorded
            return at.replace(tzinfo=_zone(str(tags.get(offset, ""))))
        except ValueError:
            continue
    return None


def _zone(text: str) -> timezone | None:
    if text == "Z":
        return UTC
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    if ahead > timedelta(hours=14):
        return None
    return timezone(-ahead if sign == "-" else ahead)
