"""Manifests: a table that says what each picture is of, when, and what the bank knows about the moment.

Columns (.csv) or keys (.jsonl): ``path``, ``atm_id`` and ``captured_at`` are required; ``event_id, session_id,
card_token, amount, currency, transaction_type, lat, lon, zone, scope, camera, clock_offset_s, sha256,
received_at`` are optional; names that begin with ``x_`` are the bank's own and are left alone.

``path`` is relative to the manifest's folder and stays within it.  ``captured_at`` is ISO 8601: with an offset, or
else on the clock of the row's ``zone`` or of the option's (an hour that comes twice in autumn is taken as its
first coming).  It is what the terminal's clock said: ``clock_offset_s``, by which that runs ahead, is taken off.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from ingest.claim_check import file_uri, printable, unreadable
from ingest.errors import BadRecord, UsageError
from ingest.footage import frame_events
from ingest.plan import Described, ScanOptions, described, path_id, rejection, why_invalid
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource, Rejection, holds_card_number
from ingest.table import BadRow, Row, csv_columns, csv_rows, jsonl_rows
from ingest.video import SUFFIXES as VIDEO_SUFFIXES

REQUIRED = ("path", "atm_id", "captured_at")
OPTIONAL = (
    "event_id",
    "session_id",
    "card_token",
    "amount",
    "currency",
    "transaction_type",
    "lat",
    "lon",
    "zone",
    "scope",
    "camera",
    "clock_offset_s",
    "sha256",
    "received_at",
)
SUFFIXES = frozenset({".csv", ".jsonl"})
OWN_PREFIX = "x_"

_AS_IT_IS = ("session_id", "card_token", "amount", "transaction_type", "zone", "camera")
_MEASURED = frozenset({"lat", "lon", "clock_offset_s", "sha256"})
"""Long fractions and hashes look like card numbers by chance; their own form keeps card numbers out."""
_CASH_SLOT = frozenset({"exitslot", "cashslot", "cashexit", "cashexitslot", "cashtray", "dispenser", "cashdispenser"})
_MOST_OFFSET_S = 366 * 86_400.0


@dataclass(slots=True)
class Listing:
    """What a manifest gives: its events, in the order of its rows, and its refused rows."""

    entries: list[Described] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


def looks_at_cash_slot(camera: str | None) -> bool:
    """Whether a camera's name says that it watches the cash, as XFS's ``exitSlot`` does, and sees no person."""
    return camera is not None and "".join(c for c in camera.lower() if c.isalnum()) in _CASH_SLOT


def read_manifest(path: Path, options: ScanOptions, on_progress: Callable[[int], None] | None = None) -> Listing:
    """Every row of a manifest as an event, or as a Rejection that names its line.

    Raises UsageError for a missing or unknown column, no rows, more than ``options.max_files``, or a manifest
    that can't be read.  ``on_progress`` is given the number of rows so far, now and then.
    """
    reader = _Reader(folder=path.parent.absolute(), options=options)
    count = 0
    try:
        for count, row in enumerate(_rows(path), start=1):
            if on_progress is not None and count % 500 == 0:
                on_progress(count)
            if max(count, len(reader.listing.entries)) > options.max_files:
                message = f"{path.name} has more than {options.max_files:,} inputs"
                raise UsageError(message)
            reader.add(row, f"{printable(path.name)}:{row.line}")
    except OSError as error:
        message = f"the manifest {printable(path)} can't be read: {unreadable(error).detail}"
        raise UsageError(message) from error
    if count == 0:
        message = f"{path.name} names no picture"
        raise UsageError(message)
    return reader.listing


def _rows(path: Path) -> Iterable[Row | BadRow]:
    if path.suffix.lower() == ".csv":
        columns = csv_columns(path)
        _refuse_unknown(columns, path.name)
        _refuse_missing(columns, path.name)
        return csv_rows(path)
    return _checked_objects(path)


def _checked_objects(path: Path) -> Iterator[Row | BadRow]:
    """JSON objects have no header: a required key is missing when no object at all has it."""
    keys: set[str] = set()
    for row in jsonl_rows(path):
        if isinstance(row, Row):
            if not row.fields.keys() <= keys:
                _refuse_unknown(row.fields, f"{path.name}:{row.line}")
                keys.update(row.fields)
            yield row
        else:
            yield row
    if keys:
        _refuse_missing(keys, path.name)


def _refuse_unknown(names: Iterable[str], where: str) -> None:
    known = (*REQUIRED, *OPTIONAL)
    for name in names:
        if name not in known and not name.startswith(OWN_PREFIX):
            message = (
                f"{printable(where)} has an unknown column {_shown([name])}; columns are {', '.join(known)}, "
                f"and a bank's own ones begin with {OWN_PREFIX}"
            )
            raise UsageError(message)


def _refuse_missing(names: Iterable[str], where: str) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        message = f"{printable(where)} lacks the column {_shown(missing)}; it has {_shown(sorted(names))}"
        raise UsageError(message)


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"'{printable(name[:40])}'" for name in names)


@dataclass(slots=True)
class _Reader:
    """A manifest being read: the rows so far, and the event ids that they have used up."""

    folder: Path
    options: ScanOptions
    listing: Listing = field(default_factory=Listing)
    seen: set[str] = field(default_factory=set)

    def add(self, row: Row | BadRow, source: str) -> None:
        event: AtmEvent | None = None
        try:
            if isinstance(row, BadRow):
                raise row.error
            fields = {name: value for name, value in row.fields.items() if value}
            file = _locate(fields, self.folder, self.options.roots)
            event = _event(fields, file, self.options)
            self._take(event, file)
        except BadRecord as error:
            self.listing.rejections.append(rejection(error, source, event))

    def _take(self, event: AtmEvent, file: Path) -> None:
        if event.captured_at > self.options.latest:
            detail = f"{event.captured_at:%Y-%m-%d %H:%M:%S} UTC lies in the future; check the terminal's clock."
            raise BadRecord(Reason.CAPTURED_AT_IN_FUTURE, detail)
        if event.event_id in self.seen:
            raise BadRecord(Reason.DUPLICATE_EVENT, Reason.DUPLICATE_EVENT.sentence)
        self.seen.add(event.event_id)
        if file.suffix.lower() not in VIDEO_SUFFIXES:
            self.listing.entries.append(described(event))
            return
        _check_sum(file, event.sha256)
        frames, problem = frame_events(event, file, self.options, event.captured_at)
        self.listing.entries += frames
        if problem is not None:
            raise problem


def _locate(fields: dict[str, str], folder: Path, roots: Iterable[Path]) -> Path:
    """Where the row's file lies.  First of all the row is searched for card numbers: nothing may repeat one."""
    for name, value in fields.items():
        if name not in _MEASURED and holds_card_number(value):
            raise BadRecord(Reason.RAW_CARD_NUMBER, f"{name} holds a card number; send a token instead.")
        try:
            _ = os.fsencode(value) if name == "path" else value.encode()
        except UnicodeEncodeError as error:
            raise BadRecord(Reason.BAD_ROW, f"{name} is not valid text.") from error
    path = fields.get("path")
    if path is None or "\0" in path:
        raise BadRecord(Reason.BAD_ROW, "path is blank, or holds a zero byte.")
    file = Path(os.path.normpath(folder / path))
    if not any(file.is_relative_to(root.absolute()) for root in (folder, *roots)):
        raise BadRecord(Reason.OUTSIDE_ROOT, "path leaves the manifest's folder.")
    return file


def _event(fields: dict[str, str], file: Path, options: ScanOptions) -> AtmEvent:
    if looks_at_cash_slot(fields.get("camera")):
        raise BadRecord(Reason.CASH_SLOT_CAMERA, Reason.CASH_SLOT_CAMERA.sentence)
    if "atm_id" not in fields:
        raise BadRecord(Reason.BAD_ROW, "atm_id is blank.")
    zone = _zone(fields["zone"]) if "zone" in fields else options.zone
    offset_s = _number(fields, "clock_offset_s") or 0.0
    if "captured_at" not in fields:
        raise BadRecord(Reason.CAPTURED_AT_MISSING, Reason.CAPTURED_AT_MISSING.sentence)
    if abs(offset_s) > _MOST_OFFSET_S:
        raise BadRecord(Reason.BAD_ROW, "clock_offset_s is more than a year.")
    lat, lon = _number(fields, "lat"), _number(fields, "lon")
    if (lat is None) != (lon is None):
        raise BadRecord(Reason.BAD_ROW, "lat and lon go together.")
    received = fields.get("received_at")
    known_by = fields.get("event_id") or path_id(fields["path"], fields["atm_id"], fields["captured_at"])
    try:
        return AtmEvent.model_validate(
            {
                **{name: fields[name] for name in _AS_IT_IS if name in fields},
                "event_id": known_by,
                "atm_id": fields["atm_id"],
                "captured_at": _time(fields["captured_at"], "captured_at", zone) - timedelta(seconds=offset_s),
                "received_at": _time(received, "received_at", zone) if received else None,
                "clock": ClockSource.MANIFEST,
                "clock_offset_s": offset_s,
                "scope": fields.get("scope", options.scope),
                "currency": fields["currency"].upper() if "currency" in fields else None,
                "atm_location": None if lat is None else {"lat": lat, "lon": lon},
                "sha256": fields["sha256"].lower() if "sha256" in fields else None,
                "image_uri": file_uri(file),
            }
        )
    except ValidationError as error:
        raise why_invalid(error, Reason.BAD_ROW) from error
    except OverflowError as error:
        raise BadRecord(Reason.BAD_ROW, "captured_at lies outside of the years 1 to 9999.") from error


def _number(fields: dict[str, str], name: str) -> float | None:
    if name not in fields:
        return None
    try:
        number = float(fields[name])
    except ValueError as error:
        raise BadRecord(Reason.BAD_ROW, f"{name} is not a number.") from error
    if not math.isfinite(number):
        raise BadRecord(Reason.BAD_ROW, f"{name} is not a finite number.")
    return number


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadRecord(Reason.BAD_ROW, "zone is not an IANA time zone such as Europe/Oslo.") from error


def _time(text: str, name: str, zone: tzinfo | None) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRecord(Reason.BAD_ROW, f"{name} is not a time in ISO 8601.") from error
    if len(text) <= len("2024-01-01"):
        raise BadRecord(Reason.BAD_ROW, f"{name} is a date without a time.")
    if at.tzinfo is None:
        if zone is None:
            raise BadRecord(Reason.CAPTURED_AT_NAIVE, Reason.CAPTURED_AT_NAIVE.sentence)
        at = at.replace(tzinfo=zone)
    return at.astimezone(UTC)


def _check_sum(file: Path, expected: str | None) -> None:
    """A video's sha256 is that of the file, so it is checked before its frames become events of their own."""
    if expected is None:
        return
    try:
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(error) from error
    if found != expected:
        raise BadRecord(Reason.CHECKSUM_MISMATCH, Reason.CHECKSUM_MISMATCH.sentence)
