"""``identities/<identity_id>/``: the pictures of each unknown person, for people and other programs."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from clustering.records import Sighting, Usage
from deploy.atomic import part_of, write_atomically
from ingest.errors import BadRecord, Unavailable
from ingest.images import picture_format
from ingest.records import AtmEvent

Fetch = Callable[[AtmEvent], bytes]
"""The encoded picture of an event (a video's frame as JPEG).  Raises BadRecord, Unavailable or OSError."""

Locate = Callable[[AtmEvent], Path | None]
"""The file that holds an event's picture, None when it is no file of its own (a video's frame)."""

NAME_LENGTH = 80
ATM_LENGTH = 40
MISSING_LISTED = 1000

HEAD_BYTES = 32
ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "GIF": "gif"}
SUFFIXES = (*ENDINGS.values(), "img")
PICTURE = rf"[0-9]{{8}}T[0-9]{{6}}Z_.+_[0-9a-f]{{8}}\.(?:{'|'.join(SUFFIXES)})"
OURS = re.compile(rf"(?:{PICTURE}|identity\.json)|\.(?:{PICTURE}|identity\.json)\.part")


class PictureMode(StrEnum):
    """What is put into an identity's folder beside its description."""

    COPY = "copy"
    LINK = "link"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """How the folders are written.

    ``LINK`` makes a hard link to what ``locate`` names, and copies where that is impossible.  ``fresh`` first
    removes what an earlier run left.
    """

    mode: PictureMode = PictureMode.COPY
    fresh: bool = False
    locate: Locate | None = None


class MissingPicture(NamedTuple):
    """A picture that was there when it was decided, and now can't be had."""

    event_id: str
    source: str
    detail: str


@dataclass(frozen=True, slots=True)
class IdentityFolders:
    """What was written: ``kept`` pictures were there already; ``missing`` lists the first 1,000 of ``lost``."""

    identities: int
    copied: int
    linked: int
    kept: int
    lost: int
    missing: tuple[MissingPicture, ...]


def safe_name(text: str, length: int = NAME_LENGTH) -> str:
    """``text`` as a file name of ASCII letters, digits, ``-``, ``_`` and inner dots, at most ``length`` long.

    Where something had to go, eight hex digits of the text's SHA-256 keep different texts apart.
    """
    plain = re.sub(r"[^0-9A-Za-z._-]", "_", text).lstrip(".")
    if plain == text and 0 < len(plain) <= length:
        return plain
    return f"{plain[: length - 9]}-{_digest(text)}"


def write_identities(
    folder: Path,
    usages: Sequence[Usage],
    sightings: Iterable[Sighting],
    fetch: Fetch,
    options: FolderOptions | None = None,
) -> IdentityFolders:
    """Write the pictures and an ``identity.json`` of every identity in ``usages`` below ``folder``.

    May be run again after a crash: a picture that is there is kept and not fetched.  Sightings of an identity
    that ``usages`` does not list (forgotten or merged away) are passed over.  A picture that can't be fetched
    is counted, never fatal; a folder that can't be written is: OSError.  Reads ``sightings`` once, and holds a
    few hundred bytes for each until its identity's description is written.
    """
    options = options or FolderOptions()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if options.fresh:
        remove_identities(folder)
    writer = _Writer(fetch, options)
    places = {usage.identity_id: folder / safe_name(usage.identity_id) for usage in usages}
    for place in places.values():
        place.mkdir(mode=0o700, exist_ok=True)
    lines: defaultdict[str, list[_Line]] = defaultdict(list)
    for sighting in sightings:
        home = places.get(sighting.identity_id)
        if home is not None:
            file = writer.put(home, sighting.event)
            lines[sighting.identity_id].append(_line(sighting, file))
    for usage in usages:
        _describe(places[usage.identity_id], usage, lines.pop(usage.identity_id, []))
    return writer.result(len(places))


def remove_identities(folder: Path) -> None:
    """Remove what an earlier run wrote below ``folder``: files of our names, and folders that this empties.

    Anything else in there, and everything outside of it, is left alone; links are not followed.
    """
    for place in folder.iterdir():
        if place.is_symlink() or not place.is_dir():
            continue
        for file in place.iterdir():
            if OURS.fullmatch(file.name) and (file.is_symlink() or file.is_file()):
                file.unlink()
        try:
            place.rmdir()
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise


class _Line(NamedTuple):
    captured_at: str
    event_id: str
    atm_id: str
    similarity: float | None
    file: str | None


class _Writer:
    """Puts pictures into folders and keeps count."""

    def __init__(self, fetch: Fetch, options: FolderOptions) -> None:
        self._fetch = fetch
        self._options = options
        self._copied = self._linked = self._kept = self._lost = 0
        self._missing: list[MissingPicture] = []

    def put(self, place: Path, event: AtmEvent) -> str | None:
        """The name of the event's picture in ``place``; None when it is not wanted or can't be had."""
        if self._options.mode is PictureMode.NONE:
            return None
        moment = event.captured_at.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()
        compact = moment.replace("-", "").replace(":", "") + "Z"
        stem = f"{compact}_{safe_name(event.atm_id, ATM_LENGTH)}_{_digest(event.event_id)}"
        for suffix in SUFFIXES:
            if (place / f"{stem}.{suffix}").is_file():
                self._kept += 1
                return f"{stem}.{suffix}"
        if self._options.mode is PictureMode.LINK:
            name = self._link(place, stem, event)
            if name is not None:
                return name
        try:
            content = self._fetch(event)
        except (BadRecord, Unavailable, OSError) as error:
            self._lose(event, error)
            return None
        name = f"{stem}.{_suffix(content[:HEAD_BYTES])}"
        write_atomically(place / name, content)
        self._copied += 1
        return name

    def _link(self, place: Path, stem: str, event: AtmEvent) -> str | None:
        path = self._options.locate(event) if self._options.locate else None
        if path is None:
            return None
        try:
            original = path.resolve(strict=True)
            with original.open("rb") as stream:
                name = f"{stem}.{_suffix(stream.read(HEAD_BYTES))}"
            part = part_of(place / name)
            part.unlink(missing_ok=True)
            part.hardlink_to(original)
            part.replace(place / name)
        except (OSError, RuntimeError):  # another file system, no right to link, a loop of links: copy instead
            return None
        self._linked += 1
        return name

    def _lose(self, event: AtmEvent, error: BadRecord | Unavailable | OSError) -> None:
        self._lost += 1
        if len(self._missing) < MISSING_LISTED:
            detail = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            self._missing.append(MissingPicture(event.event_id, event.source, detail))

    def result(self, identities: int) -> IdentityFolders:
        return IdentityFolders(
            identities=identities,
            copied=self._copied,
            linked=self._linked,
            kept=self._kept,
            lost=self._lost,
            missing=tuple(self._missing),
        )


def _line(sighting: Sighting, file: str | None) -> _Line:
    event = sighting.event
    at = event.captured_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    # Thousands of lines share a few ATM names; interned they cost a reference each.
    return _Line(at, event.event_id, sys.intern(event.atm_id), sighting.similarity, file)


def _describe(place: Path, usage: Usage, lines: list[_Line]) -> None:
    lines.sort()
    description = {"usage": usage.model_dump(mode="json"), "sightings": [line._asdict() for line in lines]}
    write_atomically(place / "identity.json", (json.dumps(description, indent=1) + "\n").encode())


def _suffix(head: bytes) -> str:
    """The file name's ending by the content's first bytes; names lie."""
    return ENDINGS.get(picture_format(head) or "", "img")


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
