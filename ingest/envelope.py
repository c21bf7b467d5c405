"""A Kafka message, and how it is opened: CloudEvents' binary and structured mode, checked and bounded.

What is in an envelope is not looked at here: ``codec`` makes records of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic_core import from_json, to_json

from ingest.cloudevents import BYTES_TYPE, CONTENT_TYPE, JSON_TYPE, PREFIX, SPECVERSION, STRUCTURED_TYPE
from ingest.errors import BadRecord
from ingest.limits import DEFAULT_LIMITS
from ingest.reasons import Reason
from ingest.records import holds_card_number
from ingest.trace_context import Headers

_REQUIRED = ("id", "source", "type")
_MOST_TOKENS = 100_000
_LARGEST_INTEGER = 2**31


@dataclass(frozen=True, slots=True)
class Message:
    """One Kafka record.  Its text shows sizes only, because messages carry pixels, templates and card tokens."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def __repr__(self) -> str:
        return f"Message({len(self.value or b''):,} bytes, {len(self.headers)} headers)"


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """Checked before anything is parsed.

    ``max_value_bytes`` bounds a body, by default the largest picture and a little; a picture within JSON takes a third
    more bytes, and has to fit as well.  ``max_json_bytes`` bounds a body without a picture.  ``max_header_bytes``
    bounds names and values together.
    """

    max_value_bytes: int = DEFAULT_LIMITS.max_bytes + 1024 * 1024
    max_json_bytes: int = 1024 * 1024
    max_headers: int = 64
    max_header_bytes: int = 64 * 1024


DEFAULT_MESSAGE_LIMITS = MessageLimits()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message that was opened: its attributes without ``ce_``, and the body by its kind; one of them is not None."""

    attributes: Mapping[str, str]
    json: bytes | None = None
    image: bytes | None = field(default=None, repr=False)


def open_message(message: Message, limits: MessageLimits) -> Envelope:
    """What is in a message of either mode; attributes that CloudEvents requires are there.

    Raises BadRecord (TOO_MANY_BYTES, BAD_RECORD) without repeating any of the content.
    """
    headers = _headers(message.headers, limits)
    value = message.value
    if value is not None:
        check_size(value, limits.max_value_bytes)
    content_type = headers.get(CONTENT_TYPE)
    if content_type is None:
        raise BadRecord(Reason.BAD_RECORD, "The content-type header is missing.")
    media = content_type.partition(";")[0].strip().lower()
    if media.startswith("application/cloudevents"):
        if media != STRUCTURED_TYPE:
            raise BadRecord(
                Reason.BAD_RECORD,
                f"Of CloudEvents in one body only {STRUCTURED_TYPE} is read; send each event on its own.",
            )
        if not value:
            raise BadRecord(Reason.BAD_RECORD, "The message has no body.")
        return _open_structured(value, limits)
    attributes = {name.removeprefix(PREFIX): text for name, text in headers.items() if name.startswith(PREFIX)}
    _check_attributes(attributes)
    return _body(attributes, media, value, limits)


def _headers(headers: Headers, limits: MessageLimits) -> dict[str, str]:
    """Content type and attributes.  Other headers are left alone, within the limits."""
    if len(headers) > limits.max_headers:
        raise BadRecord(Reason.BAD_RECORD, f"The message has more than {limits.max_headers} headers.")
    found: dict[str, str] = {}
    size = 0
    for name, value in headers:
        lower = name.lower()
        size += len(lower) + len(value or b"")
        if lower != CONTENT_TYPE and not lower.startswith(PREFIX):
            continue
        if lower in found:
            raise BadRecord(Reason.BAD_RECORD, f"The header {shown(lower)} comes twice.")
        if value is None:
            raise BadRecord(Reason.BAD_RECORD, f"The header {shown(lower)} has no value.")
        try:
            found[lower] = value.decode()
        except UnicodeDecodeError as error:
            raise BadRecord(Reason.BAD_RECORD, f"The header {shown(lower)} is not UTF-8.") from error
    if size > limits.max_header_bytes:
        raise BadRecord(Reason.TOO_MANY_BYTES, f"The headers are larger than {limits.max_header_bytes:,} bytes.")
    return found


def _check_attributes(attributes: Mapping[str, str]) -> None:
    version = attributes.get("specversion")
    if version is None:
        raise BadRecord(Reason.BAD_RECORD, "The message is no CloudEvent: specversion is missing.")
    if version != SPECVERSION:
        raise BadRecord(Reason.BAD_RECORD, f"The message's specversion is not {SPECVERSION}.")
    missing = [name for name in _REQUIRED if not attributes.get(name)]
    if missing:
        raise BadRecord(Reason.BAD_RECORD, f"The CloudEvent lacks {', '.join(missing)}.")


def _body(attributes: Mapping[str, str], media: str, value: bytes | None, limits: MessageLimits) -> Envelope:
    if media == JSON_TYPE:
        if not value:
            raise BadRecord(Reason.BAD_RECORD, "The message has no body.")
        check_size(value, limits.max_json_bytes)
        return Envelope(attributes, json=value)
    if media == BYTES_TYPE or media.startswith("image/"):
        return Envelope(attributes, image=value or b"")
    raise BadRecord(
        Reason.BAD_RECORD,
        f"The content type is none of image/*, {BYTES_TYPE}, {JSON_TYPE}, {STRUCTURED_TYPE}.",
    )


def _open_structured(value: bytes, limits: MessageLimits) -> Envelope:
    # A picture in base64 has none of these characters, and without them no JSON takes much memory.
    if sum(value.count(token) for token in (b",", b"[", b"{")) > _MOST_TOKENS:
        raise BadRecord(Reason.BAD_RECORD, "The body has more values than any event.")
    try:
        content = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise BadRecord(Reason.BAD_RECORD, "The body is not JSON.") from error
    if not isinstance(content, dict):
        raise BadRecord(Reason.BAD_RECORD, "The body is not a JSON object.")
    data, picture = content.pop("data", None), content.pop("data_base64", None)
    attributes = {name: str(value) for name, value in content.items() if _is_attribute(value)}
    _check_attributes(attributes)
    if (data is None) == (picture is None):
        raise BadRecord(Reason.BAD_RECORD, "The CloudEvent has neither data nor data_base64, or both.")
    if data is not None:
        if not isinstance(data, dict):
            raise BadRecord(Reason.BAD_RECORD, "data is not a JSON object.")
        return _body(attributes, JSON_TYPE, to_json(data), limits)
    if not isinstance(picture, str):
        raise BadRecord(Reason.BAD_RECORD, "data_base64 is not text.")
    try:
        return Envelope(attributes, image=base64.b64decode(picture.encode(), validate=True))
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadRecord(Reason.BAD_RECORD, "data_base64 is not base64.") from error


def _is_attribute(value: object) -> bool:
    """Text, and CloudEvents' 32-bit Integer; no attribute that is read here is of another type."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _LARGEST_INTEGER
    return isinstance(value, str)


def check_size(value: bytes, most: int) -> None:
    """Raises BadRecord (TOO_MANY_BYTES) for a body that is larger than ``most``."""
    if len(value) > most:
        raise BadRecord(Reason.TOO_MANY_BYTES, f"The message's body has {len(value):,} bytes; the limit is {most:,}.")


def shown(name: str) -> str:
    """A field's or header's name for a message; what can't be one is not repeated."""
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum() and len(name) <= 40
    return name if plain and not holds_card_number(name) else "(a name)"
