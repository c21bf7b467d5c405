"""A folder, picture, manifest or video as a source: planned first, then replayed strictly in captured_at order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ingest.claim_check import frame_time, printable, unreadable, uri_path
from ingest.errors import BadRecord, Corrupt, UsageError
from ingest.manifest import SUFFIXES as MANIFEST_SUFFIXES
from ingest.manifest import read_manifest
from ingest.plan import Described, Entry, Picture, Plan, ScanOptions, in_order, rejection
from ingest.records import AtmEvent, ClockSource, Position, Record, Rejection
from ingest.scan import PICTURE_SUFFIXES, Scan
from ingest.stage import Delivery
from ingest.video import SUFFIXES as VIDEO_SUFFIXES
from ingest.video import FrameReader

__all__ = ["FolderSource", "Plan", "ScanOptions", "plan"]

MANIFESTS = ("manifest.csv", "manifest.jsonl")
PARTITION = "replay"
_DEFAULTS = ScanOptions()


def plan(path: Path, options: ScanOptions = _DEFAULTS, on_progress: Callable[[int], None] | None = None) -> Plan:
    """Everything that ``path`` offers: a folder, one picture, a manifest (.csv, .jsonl) or a video.

    A folder that holds a manifest.csv or manifest.jsonl is read by that alone.  Otherwise each folder below it
    is a machine, and pictures that lie in it directly are of one machine with its name; a picture's time is its
    Exif's, else its file's, and a video's ends when its file was last written.  Files that are neither, and
    hidden ones, are counted as ignored.  Reads a few kilobytes of each picture and decodes none: files that
    turn out to be no pictures are refused where they are decoded.

    Raises UsageError when there is no input at all, when an option or a manifest's header is wrong.
    """
    options.check()
    options = replace(options, now=options.now or datetime.now(UTC))
    path = Path(os.path.normpath(path.absolute()))
    try:
        if path.is_dir():
            manifests = [path / name for name in MANIFESTS if (path / name).is_file()]
            if len(manifests) > 1:
                message = f"{printable(path)} holds {' and '.join(MANIFESTS)}; name the one to use"
                raise UsageError(message)
            if manifests:
                return _from_manifest(manifests[0], options, on_progress)
            return _from_folder(path, options, on_progress)
        if path.suffix.lower() in MANIFEST_SUFFIXES and path.exists():
            return _from_manifest(path, options, on_progress)
        scan = Scan(path.parent, options, on_progress)
        scan.file(path.name, path.stat())
    except OSError as error:
        message = f"{printable(path)}: {unreadable(error).detail}"
        raise UsageError(message) from error
    if scan.ignored:
        message = f"{printable(path)} is not a picture, video, manifest (.csv, .jsonl) or folder"
        raise UsageError(message)
    return _planned(path.parent, scan.entries, scan.rejections, options)


def _from_manifest(path: Path, options: ScanOptions, on_progress: Callable[[int], None] | None) -> Plan:
    listing = read_manifest(path, options, on_progress)
    return _planned(path.parent, listing.entries, listing.rejections, options)


def _from_folder(path: Path, options: ScanOptions, on_progress: Callable[[int], None] | None) -> Plan:
    scan = Scan(path, options, on_progress)
    scan.folder()
    if not scan.entries and not scan.rejections:
        kinds = " ".join(sorted(PICTURE_SUFFIXES))
        message = (
            f"{printable(path)} holds no pictures ({kinds}), no videos ({' '.join(sorted(VIDEO_SUFFIXES))}) "
            f"and no {' or '.join(MANIFESTS)}; {scan.ignored:,} other files were ignored"
        )
        raise UsageError(message)
    made = _planned(path, scan.entries, scan.rejections, options)
    made.ignored = scan.ignored
    return made


def _planned(
    root: Path, entries: list[Entry] | list[Described], rejections: list[Rejection], options: ScanOptions
) -> Plan:
    assumed = sum(isinstance(entry, Picture) and entry.clock is ClockSource.FILE for entry in entries)
    return Plan(
        root,
        in_order(entries),
        tuple(rejections),
        scope=options.scope,
        limits=options.limits,
        assumed_visits=assumed,
    )


class FolderSource:
    """Replays a plan: its rejections first, then its events.

    An event names its picture by ``image_uri`` and leaves the reading to whoever needs the pixels; only a
    video's frame is read here, into ``image``, because a video is read in order.  A frame that can't be read
    becomes a Rejection.  A source belongs to one thread.
    """

    def __init__(self, inputs: Plan) -> None:
        self._plan = inputs
        self._next = 0
        self._frames = FrameReader(limits=inputs.limits)

    def seek(self, after: Position | None) -> None:
        """Go on behind ``after``.  Raises Corrupt for a position that the plan does not have."""
        following = 0 if after is None else after.offset + 1
        if following > len(self._plan):
            message = f"the input has {len(self._plan):,} records, fewer than the {following:,} that were used"
            raise Corrupt(message)
        self._next = following

    def poll(self, max_records: int) -> list[Delivery]:
        until = min(self._next + max_records, len(self._plan))
        batch = [self._delivery(offset) for offset in range(self._next, until)]
        self._next = max(self._next, until)
        return batch

    @property
    def exhausted(self) -> bool:
        return self._next >= len(self._plan)

    def close(self) -> None:
        self._frames.close()

    def _delivery(self, offset: int) -> Delivery:
        position = Position(partition=PARTITION, offset=offset)
        refused = self._plan.rejections
        if offset < len(refused):
            record: Record = refused[offset]
        else:
            record = self._plan.event(self._plan.entries[offset - len(refused)])
            if isinstance(record, AtmEvent):
                record = self._with_frame(record)
        if isinstance(record, Rejection):
            record = record.model_copy(update={"position": position})
        return Delivery(record, position)

    def _with_frame(self, event: AtmEvent) -> AtmEvent | Rejection:
        """A video's frame with its picture; any other event as it is."""
        at_s = None if event.image_uri is None else frame_time(event.image_uri)
        if event.image_uri is None or at_s is None:
            return event
        try:
            image = self._frames.read(uri_path(event.image_uri), at_s)
        except BadRecord as error:
            return rejection(error, event.image_uri, event)
        return event.model_copy(update={"image": image})
