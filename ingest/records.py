"""The records of an event's way in: what a camera or folder sends, and why one was not used.

A ``Record`` is what crosses a process: frozen, versioned, closed (an unknown field is an error).  The package
that produces a record defines it; the others are in ``embedder``, ``clustering`` and ``alerts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from ingest.reasons import Reason

PAN = re.compile(
    r"(?<![0-9])(?:"
    r"(?:2[2-7]|35|[456][0-9])[0-9]{14,17}|4[0-9]{12}|3(?:[689][0-9]|0[0-5])[0-9]{11,16}|3[47][0-9]{13}"
    r"|(?:2[2-7]|[3-6][0-9])[0-9]{2}(?:[ ._-][0-9]{4}){3}(?:[ ._-]?[0-9]{1,3})?"
    r"|3[04678][0-9]{2}[ ._-][0-9]{6}[ ._-][0-9]{4,5}"
    r")(?![0-9])"
)
"""Digit runs of a payment card's length and first digits (ISO/IEC 7812), plain or in a card's own groups."""

_DIGEST = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{24,}(?![0-9A-Za-z])")
"""Long hexadecimal words: ids and digests, in which a digit run of a card's form is chance."""

_SHORTEST = 13
"""Digits of the shortest card number."""


def _may_be_cards(text: str) -> Iterator[re.Match[str]]:
    if len(text) < _SHORTEST or PAN.search(text) is None:  # nearly always, and looked at for every name of every record
        return
    chance = [found.span() for found in _DIGEST.finditer(text)]
    for found in PAN.finditer(text):
        if not any(start <= found.start() and found.end() <= end for start, end in chance):
            yield found


def holds_card_number(text: str) -> bool:
    """Whether ``text`` holds what must be taken for a primary account number: right digits, valid Luhn sum."""
    for found in _may_be_cards(text):
        digits = [int(c) for c in found.group() if c.isdigit()]
        doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
        if sum(doubled) % 10 == 0:
            return True
    return False


def mask_card_numbers(text: str) -> str:
    """``text`` with every digit run that could be a card number replaced, for use in a message."""
    for found in reversed(list(_may_be_cards(text))):
        text = f"{text[: found.start()]}[card number]{text[found.end() :]}"
    return text


class CardNumberFound(ValueError):
    """A field holds a raw card number.  The text never repeats it."""


def _no_card_number(text: str) -> str:
    if holds_card_number(text):
        message = "holds a card number; send a token instead"
        raise CardNumberFound(message)
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = "is not an IANA time zone such as Europe/Oslo"
        raise ValueError(message) from error
    return name


Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$"),
    AfterValidator(_no_card_number),
]
"""An identifier: 1 to 200 printable characters that hold no raw card number."""

Uri = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_no_card_number)]
Instant = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A point in time with a zone, kept in UTC."""


class Record(BaseModel):
    """Base of everything that crosses a process."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_bytes="base64",
        val_json_bytes="base64",
        hide_input_in_errors=True,  # an error must not echo a card number or a vector
    )

    schema_version: Literal[1] = 1

    def to_json(self) -> str:
        """One line of JSON; fields that are not there are left out."""
        return self.model_dump_json(exclude_none=True)


class Position(Record):
    """Where an input record stood: ``offset`` within ``partition``.  Outputs carry it as far as they go."""

    partition: str = "replay"
    offset: int = Field(ge=0)


class ClockSource(StrEnum):
    """Who says when the picture was taken, best first."""

    MANIFEST = "manifest"
    CAMERA = "camera"
    EXIF = "exif"
    VIDEO = "video"
    FILE = "file"


class GeoPoint(Record):
    """A place on WGS 84, in degrees."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class AtmEvent(Record):
    """One picture taken by one ATM camera, and what the bank's systems said about the moment.

    ``captured_at`` is event time, on which every window is based; ``received_at`` is when atmwatch got the
    event.  ``clock_offset_s`` is by how much the terminal's clock was measured to run ahead; it has already
    been taken off ``captured_at``.  ``image`` is the encoded picture when it travels with the event, and is
    never part of the JSON: the codec puts it into a message's body.  Without it, ``image_uri`` and ``sha256``
    are the claim check by which to fetch it.
    """

    event_id: Name
    atm_id: Name
    captured_at: Instant
    received_at: Instant | None = None
    clock: ClockSource = ClockSource.CAMERA
    clock_offset_s: float = Field(default=0.0, allow_inf_nan=False)
    zone: Annotated[str, AfterValidator(_zone)] | None = None
    scope: Name = "default"
    camera: Name | None = None
    session_id: Name | None = None
    card_token: Name | None = None
    amount: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=4, allow_inf_nan=False)] | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    transaction_type: Name | None = None
    atm_location: GeoPoint | None = None
    image_uri: Uri | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    image: bytes | None = Field(default=None, exclude=True, repr=False)

    @property
    def source(self) -> str:
        """Where the picture lies, for people: the URI, or the event's id when it came with the event."""
        return self.image_uri or self.event_id

    @property
    def local_time(self) -> datetime:
        """``captured_at`` on the terminal's own wall clock; UTC where the zone is unknown."""
        return self.captured_at.astimezone(ZoneInfo(self.zone)) if self.zone else self.captured_at


class Rejection(Record):
    """An input that was not counted: a broken file or row, or a picture without a usable face.

    ``source`` names the file, row (``manifest.csv:17``) or event.  ``detail`` is one sentence.
    """

    reason: Reason
    source: str
    detail: str
    stage: str
    event_id: str | None = None
    atm_id: str | None = None
    scope: str | None = None
    captured_at: Instant | None = None
    position: Position | None = None
