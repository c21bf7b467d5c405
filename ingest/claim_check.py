"""The claim check: an event names its picture by URI and sha256, and the one who needs the pixels fetches it.

File names are bytes on Linux.  ``Path`` carries what is not UTF-8 as surrogates, and URIs carry it percent-encoded,
so any name goes there and back.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from ingest.errors import BadRecord
from ingest.limits import DEFAULT_LIMITS, ImageLimits
from ingest.reasons import Reason
from ingest.records import AtmEvent, mask_card_numbers
from ingest.video import read_frame

_FRAME = "t="


def file_uri(path: Path, at_s: float | None = None) -> str:
    """``path`` as a file URI, of its frame at ``at_s`` seconds when it is a video (W3C Media Fragments)."""
    uri = "file://" + quote_from_bytes(os.fsencode(path.absolute()))
    return uri if at_s is None else f"{uri}#{_FRAME}{at_s:.3f}"


def uri_path(uri: str) -> Path:
    """The path of a file URI, without its fragment.  Raises BadRecord (OUTSIDE_ROOT) for any other URI."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise BadRecord(Reason.OUTSIDE_ROOT, "The picture's URI can't be read.") from error
    path = unquote_to_bytes(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith(b"/"):
        raise BadRecord(Reason.OUTSIDE_ROOT, "The picture's URI is not that of a local file (file:///...).")
    if b"\0" in path:
        raise BadRecord(Reason.OUTSIDE_ROOT, "The picture's URI holds a zero byte.")
    return Path(os.fsdecode(path))


def frame_time(uri: str) -> float | None:
    """The seconds into the video at which a frame's URI points; None for a picture's."""
    fragment = uri.partition("#")[2]
    if not fragment.startswith(_FRAME):
        return None
    try:
        return float(fragment.removeprefix(_FRAME))
    except ValueError:
        return None


def printable(path: str | Path) -> str:
    """A file name for a message: valid text on one line, without a card number."""
    try:
        text = os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a character, out of a JSON text
        text = str(path).encode("ascii", "backslashreplace").decode()
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return mask_card_numbers(text)


def read_file(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """The bytes of a regular file, at most ``limits.max_bytes`` of them.

    Raises BadRecord: EMPTY_FILE, TOO_MANY_BYTES, SYMLINK_LOOP, UNREADABLE (not there, no permission, or a
    folder, pipe, socket or device, for which it never waits).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BadRecord(Reason.UNREADABLE, "It is a folder, pipe, socket or device, not a file.")
            data = _read(descriptor, status.st_size, limits.max_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(error) from error
    except ValueError as error:  # a zero byte in the name
        raise BadRecord(Reason.UNREADABLE, "No file can have this name.") from error
    if not data:
        raise BadRecord(Reason.EMPTY_FILE, Reason.EMPTY_FILE.sentence)
    if len(data) > limits.max_bytes:
        raise BadRecord(Reason.TOO_MANY_BYTES, f"The file is larger than {limits.max_bytes:,} bytes.")
    return data


def _read(descriptor: int, expected: int, most: int) -> bytes:
    """At most ``most`` bytes; a file that grows or lies about its size costs another turn, not memory."""
    pieces: list[bytes] = []
    while most > 0 and (piece := os.read(descriptor, min(most, expected + 1 if not pieces else 1 << 16))):
        pieces.append(piece)
        most -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def unreadable(error: OSError) -> BadRecord:
    """What an operating system's error over a file or folder means for the record that names it."""
    if error.errno == errno.ELOOP:
        return BadRecord(Reason.SYMLINK_LOOP, Reason.SYMLINK_LOOP.sentence)
    why = (error.strerror or type(error).__name__).lower()
    return BadRecord(Reason.UNREADABLE, f"It can't be read: {why}.")


def fetch(event: AtmEvent, limits: ImageLimits = DEFAULT_LIMITS, roots: Sequence[Path] | None = None) -> bytes:
    """The encoded picture of an event: its own ``image``, else what its ``image_uri`` points at.

    ``roots`` are the folders that may be read from, links resolved; None allows any.  A frame's URI gives the
    video's frame as JPEG.  Raises BadRecord: what ``read_file`` and ``ingest.video`` raise, OUTSIDE_ROOT,
    CHECKSUM_MISMATCH, and BAD_RECORD for an event with neither.  Safe to call from several threads.
    """
    if event.image is not None:
        if not event.image:
            raise BadRecord(Reason.EMPTY_FILE, "The event's picture has no bytes.")
        if len(event.image) > limits.max_bytes:
            raise BadRecord(Reason.TOO_MANY_BYTES, f"The picture is larger than {limits.max_bytes:,} bytes.")
        data = event.image
    elif event.image_uri is not None:
        path = uri_path(event.image_uri)
        if roots is not None and not _within(path, roots):
            raise BadRecord(Reason.OUTSIDE_ROOT, Reason.OUTSIDE_ROOT.sentence)
        at_s = frame_time(event.image_uri)
        data = read_file(path, limits) if at_s is None else read_frame(path, at_s, limits)
    else:
        raise BadRecord(Reason.BAD_RECORD, "The event has neither a picture nor a URI of one.")
    if event.sha256 is not None and sha256(data).hexdigest() != event.sha256:
        raise BadRecord(Reason.CHECKSUM_MISMATCH, Reason.CHECKSUM_MISMATCH.sentence)
    return data


def _within(path: Path, roots: Sequence[Path]) -> bool:
    try:
        real = path.resolve(strict=True)
        return any(real.is_relative_to(root.resolve()) for root in roots)
    except OSError as error:
        raise unreadable(error) from error
    except RuntimeError as error:  # how Python 3.11 and 3.12 report a loop of links
        raise BadRecord(Reason.SYMLINK_LOOP, Reason.SYMLINK_LOOP.sentence) from error
