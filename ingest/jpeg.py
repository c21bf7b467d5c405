"""The outside of a JPEG (ISO/IEC 10918-1 annex B): its segments, its size, and whether it is all there.

OpenCV and libjpeg fill what is missing of a picture with grey and say nothing, or only so on standard error,
so completeness is decided here, on the bytes.  Nothing in this module decodes, apart from ``was_padded``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset, size)``: the bytes there, fewer at the end.  Over a buffer or a file, as the caller has it."""

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"
_SOS = 0xDA
_APP1 = 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_MAX_STEPS = 4096
_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker that ends entropy-coded data: there, an 0xFF of the data itself is always followed by 0x00."""

_TAIL = 16
_GREY_PIXELS = 4096
_MCU_ROW = 32


@dataclass(frozen=True, slots=True)
class Header:
    """What the frame header says.  ``scan`` is the offset of the first scan's data, ``exif`` of its TIFF block."""

    width: int
    height: int
    components: int
    bits: int
    sequential: bool
    scan: int
    exif: int | None


def segments(read_at: ReadAt) -> Iterator[tuple[int, int, int]]:
    """(marker, offset of the payload, its size) of each segment up to the first scan, which is the last.

    Ends early, without an error, where the bytes end or stop making sense.
    """
    offset = 2
    for _ in range(_MAX_STEPS):
        head = read_at(offset, 4)
        if len(head) < 4:
            return
        marker = head[1]
        if head[0] != 0xFF or marker == 0xFF:  # stray bytes, which every decoder skips, or fill
            offset += 1
        elif marker in _BARE:
            offset += 2
        else:
            size = int.from_bytes(head[2:4])
            if marker == EOI[1] or size < 2:
                return
            yield marker, offset + 4, size - 2
            if marker == _SOS:
                return
            offset += 2 + size


def exif_block(read_at: ReadAt) -> int | None:
    """The offset of the Exif segment's TIFF block, None without one."""
    for marker, start, _ in segments(read_at):
        if marker == _APP1 and read_at(start, 6) == b"Exif\0\0":
            return start + 6
    return None


def header(data: bytes) -> Header | None:
    """The frame header of a JPEG; None when the data ends before its first scan."""
    frame: tuple[int, int, int] | None = None
    exif: int | None = None
    for marker, start, size in segments(lambda offset, count: data[offset : offset + count]):
        if marker in _FRAMES and frame is None and size >= 6:
            frame = (marker, start, size)
        elif marker == _APP1 and exif is None and data[start : start + 6] == b"Exif\0\0":
            exif = start + 6
        elif marker == _SOS and frame is not None:
            at = frame[1]
            return Header(
                width=int.from_bytes(data[at + 3 : at + 5]),
                height=int.from_bytes(data[at + 1 : at + 3]),
                components=data[at + 5],
                bits=data[at],
                sequential=frame[0] in (0xC0, 0xC1),
                scan=start + size,
                exif=exif,
            )
    return None


def end(data: bytes, scan: int) -> tuple[int, int] | None:
    """(offset of the end marker, number of scans) of the JPEG whose first scan's data begins at ``scan``.

    None when the data ends before the picture does.  Segments are stepped over by their length, so an end
    marker inside of one (a thumbnail's) does not count; what follows the end marker does not matter.
    """
    scans = 1
    while found := _IN_SCAN.search(data, scan):
        at, marker = found.start(), data[found.end() - 1]
        if marker == EOI[1]:
            return at, scans
        scans += marker == _SOS
        scan = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return None


def was_padded(data: bytes, stop: int, pixels: NDArray[np.uint8]) -> bool:
    """Whether an end marker was put behind cut data, so that the decoder made up the grey rest.

    ``data`` is a sequential JPEG of one scan that ends at ``stop``, ``pixels`` its (H, W, 3) picture as stored.
    Without data, a decoder paints plain mid-grey.  A plain grey area may also be real, but then the scan's last
    bytes describe it (at least two bits for each block of 64 pixels), and what lies above it can do without them.
    """
    rows, width = pixels.shape[:2]
    plain = 0
    while plain < rows and bool((pixels[rows - 1 - plain] == 128).all()):
        plain += 1
    if plain * width < _GREY_PIXELS + _MCU_ROW * width:
        return False
    whole, cut = _pixels(data[:stop] + EOI), _pixels(data[: stop - _TAIL] + EOI)
    return not np.array_equal(whole[: rows - plain], cut[: rows - plain])


def _pixels(data: bytes) -> NDArray[np.uint8]:
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as picture:
        return np.asarray(picture)
