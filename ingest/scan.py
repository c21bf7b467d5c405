"""The walk through a folder of pictures: what is an input, of which machine, and when it was taken."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from pydantic import ValidationError

from ingest import exif
from ingest.claim_check import file_uri, printable, unreadable
from ingest.errors import BadRecord, UsageError
from ingest.footage import frame_events
from ingest.images import picture_format
from ingest.plan import Entry, Picture, ScanOptions, instant, micros, path_id, rejection, why_invalid
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource, Rejection, holds_card_number
from ingest.video import SUFFIXES as VIDEO_SUFFIXES

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
)
FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng"})
"""Pictures that can't be decoded.  They are inputs all the same, so each leaves a line and none is missed."""

_INPUTS = PICTURE_SUFFIXES | FOREIGN_SUFFIXES | VIDEO_SUFFIXES
_HEAD = 32
_REPORT_EVERY = 500


@dataclass(slots=True)
class Scan:
    """A walk under way, and what it has found.  ``scan`` makes and finishes one."""

    root: Path
    options: ScanOptions
    on_progress: Callable[[int], None] | None = None
    entries: list[Entry] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    ignored: int = 0
    _seen: int = 0
    _latest_us: int = field(init=False)
    _zone: tzinfo = field(init=False)
    _folders: set[tuple[int, int]] = field(default_factory=set)
    _links: deque[str] = field(default_factory=deque)
    _skipped: set[tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        found = (path.stat() for path in self.options.skipped if path.exists())
        self._skipped = {(status.st_dev, status.st_ino) for status in found}
        self._latest_us = micros(self.options.latest)
        self._zone = self.options.zone or UTC

    def folder(self) -> None:
        """Walk everything below the root; linked folders last, so that the real ones are found where they lie."""
        status = self.root.stat()
        self._folders.add((status.st_dev, status.st_ino))
        self._walk("")
        while self._links:
            self._follow(self._links.popleft())

    def _walk(self, start: str) -> None:
        waiting = [start]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(self.root / below) as found:
                    items = sorted(found, key=lambda item: os.fsencode(item.name))
            except OSError as error:
                self._refuse(unreadable(error), below or ".")
                continue
            for item in items:
                path = f"{below}/{item.name}" if below else item.name
                if item.name.startswith("."):
                    self.ignored += 1
                elif self._is_folder(item, path):
                    waiting.append(path)

    def _is_folder(self, item: os.DirEntry[str], path: str) -> bool:
        """Whether ``item`` is a real folder, to be walked now; anything else is dealt with here."""
        try:
            status = item.stat()
        except OSError as error:
            # Nothing but its name can tell what a dangling link was meant to be.
            if error.errno == errno.ENOENT and _suffix(path) not in _INPUTS | {""}:
                self.ignored += 1
            else:
                self._refuse(unreadable(error), path)
            return False
        if not stat.S_ISDIR(status.st_mode):
            self.file(path, status)
        elif (status.st_dev, status.st_ino) in self._skipped:
            pass
        elif item.is_symlink():
            self._links.append(path)
        else:
            self._folders.add((status.st_dev, status.st_ino))
            return True
        return False

    def _follow(self, path: str) -> None:
        """Walk the folder that a link leads to, once: a way back up is a loop, another way to it an alias."""
        try:
            status = (self.root / path).stat()
        except OSError as error:
            self._refuse(unreadable(error), path)
            return
        here = (status.st_dev, status.st_ino)
        if here not in self._folders:
            self._folders.add(here)
            self._walk(path)
            return
        above = [self.root, *(self.root / upper for upper in Path(path).parents)]
        if any((s.st_dev, s.st_ino) == here for s in (upper.stat() for upper in above)):
            self._refuse(BadRecord(Reason.SYMLINK_LOOP, Reason.SYMLINK_LOOP.sentence), path)
        else:
            self.ignored += 1

    def file(self, path: str, status: os.stat_result) -> None:
        """Take one file in, refuse it, or ignore it."""
        suffix = _suffix(path)
        if suffix not in _INPUTS and (suffix or not self._looks_like_a_picture(path, status)):
            self.ignored += 1
            return
        self._count()
        try:
            if holds_card_number(path):
                detail = "The file's name or folder holds a card number; rename it to a token."
                raise BadRecord(Reason.RAW_CARD_NUMBER, detail)
            if not stat.S_ISREG(status.st_mode):
                raise BadRecord(Reason.UNREADABLE, "It is a pipe, socket or device, not a file.")
            if suffix in VIDEO_SUFFIXES:
                self._video(path)
            else:
                self.entries.append(self._picture(path, status))
        except BadRecord as error:
            self._refuse(error, path)
        except OSError as error:
            self._refuse(unreadable(error), path)

    def _picture(self, path: str, status: os.stat_result) -> Picture:
        at_us, clock = status.st_mtime_ns // 1000, ClockSource.FILE
        taken = exif.of_file(f"{self.root}/{path}").taken
        if taken is not None:
            try:
                at = taken if taken.tzinfo is not None else taken.replace(tzinfo=self._zone)
                at_us, clock = micros(at.astimezone(UTC)), ClockSource.EXIF
            except OverflowError:
                pass  # the year 1 or 9999: as good as none
        if at_us > self._latest_us:
            what = "file's time" if clock is ClockSource.FILE else "picture's Exif time"
            detail = f"The {what}{_shown(at_us)} lies in the future; check the terminal's clock."
            raise BadRecord(Reason.CAPTURED_AT_IN_FUTURE, detail)
        return Picture(at_us, path, self._atm_of(path), clock)

    def _video(self, path: str) -> None:
        file = self.root / path
        try:
            event = AtmEvent(
                event_id=path_id(path),
                atm_id=self._atm_of(path),
                captured_at=datetime(1970, 1, 1, tzinfo=UTC),  # each frame gets its own
                clock=ClockSource.VIDEO,
                scope=self.options.scope,
                image_uri=file_uri(file),
            )
        except ValidationError as error:
            raise why_invalid(error, Reason.BAD_RECORD) from error
        frames, problem = frame_events(event, file, self.options, None)
        self.entries += frames
        if problem is not None:
            raise problem

    def _atm_of(self, path: str) -> str:
        """The machine: the first folder below the root, or the root's own name for a picture that lies in it."""
        first, deeper, _ = path.partition("/")
        return sys.intern(printable(first if deeper else self.root.name or "atm"))

    def _looks_like_a_picture(self, path: str, status: os.stat_result) -> bool:
        """Whether a file without a suffix is a picture, by its first bytes."""
        if not stat.S_ISREG(status.st_mode):
            return False
        try:
            with (self.root / path).open("rb") as file:
                return picture_format(file.read(_HEAD)) is not None
        except OSError:
            return False

    def _count(self) -> None:
        self._seen += 1
        if max(self._seen, len(self.entries)) > self.options.max_files:
            message = f"{printable(self.root)} holds more than {self.options.max_files:,} inputs"
            raise UsageError(message)
        if self.on_progress is not None and self._seen % _REPORT_EVERY == 0:
            self.on_progress(self._seen)

    def _refuse(self, error: BadRecord, path: str) -> None:
        self.rejections.append(rejection(error, printable(path)))


def _suffix(path: str) -> str:
    """As Path's, in lower case, but without the making of one for each of a million files."""
    stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return dot + suffix.lower() if stem else ""


def _shown(at_us: int) -> str:
    try:
        return f" {instant(at_us):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return ""
