"""A request's body, read as it comes and never beyond its limits.

An event comes in one of four forms: multipart/form-data (RFC 7578) with the parts ``event`` (an AtmEvent's JSON) and
``image``; application/json, an AtmEvent that names its picture by image_uri and sha256; CloudEvents' HTTP binding in
binary mode (``ce-`` headers, the picture as the body) and in structured mode (application/cloudevents+json).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from ingest.cloudevents import BYTES_TYPE, CONTENT_TYPE, JSON_TYPE, PREFIX, STRUCTURED_TYPE
from ingest.codec import Message
from ingest.gateway.limits import Slot
from ingest.gateway.problems import Code, Problem
from ingest.trace_context import Headers

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MULTIPART_TYPE = "multipart/form-data"
EVENT_PART, IMAGE_PART = "event", "image"
_HTTP_PREFIX = "ce-"
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(rb"\\(.)")
_CLOSE = {"Connection": "close"}
_DRAINED = 4
"""A body that was announced with at most so many times the limit is read to its end and dropped, so that the client
gets to see the answer; for any other the connection is closed."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes: of a whole body, of a JSON event, of a picture.  ``timeout_s`` bounds the reading."""

    max_body: int
    max_event: int
    max_image: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Submission:
    """What a body held: an ``event`` as JSON, with or without an ``image`` beside it; or a CloudEvents ``message``."""

    event: bytes = b""
    image: bytes | None = None
    message: Message | None = None

    def __repr__(self) -> str:
        return f"Submission({len(self.event):,} bytes of JSON, {len(self.image or b''):,} of picture)"


async def receive(request: Request, slot: Slot, limits: BodyLimits) -> Submission:
    """Read the body into ``slot``.

    Raises Problem: UNSUPPORTED_MEDIA_TYPE, MALFORMED_REQUEST, BODY_TOO_LARGE, SLOW_BODY, OVERLOADED.
    """
    headers = request.headers
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, "A body is taken without a content encoding.")
    content_type = headers.get(CONTENT_TYPE, "")
    media = content_type.partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(limits.timeout_s):
            if media == MULTIPART_TYPE:
                return await _multipart(request, slot, limits)
            if media == JSON_TYPE and "ce-specversion" not in headers:
                return Submission(event=await _whole(request, slot, limits.max_event))
            if media in (JSON_TYPE, STRUCTURED_TYPE):
                most = limits.max_event
            elif media.startswith("image/") or media == BYTES_TYPE:
                most = min(limits.max_image, limits.max_body)
            else:
                detail = (
                    f"Send {MULTIPART_TYPE}, {JSON_TYPE}, {STRUCTURED_TYPE}, or image/* with the ce- headers of "
                    "CloudEvents' binary mode."
                )
                raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, detail)
            body = await _whole(request, slot, most)
            return Submission(message=Message(None, body, _attributes(request, content_type)))
    except TimeoutError as error:
        detail = f"The body did not come within {limits.timeout_s:g} seconds."
        raise Problem(Code.SLOW_BODY, detail, _CLOSE) from error
    except ClientDisconnect as error:
        raise Problem(Code.MALFORMED_REQUEST, "The body ended before it was complete.", _CLOSE) from error


async def _chunks(request: Request, slot: Slot, most: int) -> AsyncIterator[bytes]:
    """The body's pieces, at most ``most`` bytes of them; room for an announced length is taken at once."""
    announced = _announced(request)
    if announced is not None:
        if announced > most:
            raise _too_large(most, close=announced > _DRAINED * most)
        slot.hold(announced)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most, close=True)
        slot.hold(size)
        yield chunk


def _announced(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:  # most servers refuse it before
        raise Problem(Code.MALFORMED_REQUEST, "The content length is no number.", _CLOSE)
    return int(text)


async def _whole(request: Request, slot: Slot, most: int) -> bytes:
    pieces = [chunk async for chunk in _chunks(request, slot, most) if chunk]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _multipart(request: Request, slot: Slot, limits: BodyLimits) -> Submission:
    _, options = parse_options_header(request.headers[CONTENT_TYPE])
    boundary = options.get(b"boundary")
    if not boundary:
        raise Problem(Code.MALFORMED_REQUEST, "The multipart body has no boundary.")
    form = _Form({EVENT_PART: limits.max_event, IMAGE_PART: limits.max_image})
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in _chunks(request, slot, limits.max_body):
            if chunk:
                parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Problem(Code.MALFORMED_REQUEST, "The body is not multipart as RFC 7578 has it.") from error
    return form.submission()


class _Form:
    """Collects the two parts as the parser finds them; what else there is it refuses."""

    def __init__(self, most: dict[str, int]) -> None:
        self._most = most
        self._found: dict[str, list[bytes]] = {}
        self._field = b""
        self._value = b""
        self._disposition = b""
        self._pieces: list[bytes] = []
        self._room = 0
        self._complete = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._header,
            "on_headers_finished": self._named,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def submission(self) -> Submission:
        if not self._complete:
            raise Problem(Code.MALFORMED_REQUEST, "The multipart body ends before it is complete.")
        for name in self._most:
            if name not in self._found:
                raise Problem(Code.MALFORMED_REQUEST, f"The multipart body has no part {name!r}.")
        event, image = (b"".join(self._found[name]) for name in (EVENT_PART, IMAGE_PART))
        return Submission(event, image)

    def _begin(self) -> None:
        self._disposition = b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _named(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("latin-1")
        if name not in self._most or name in self._found:
            detail = f"The multipart body has the parts {EVENT_PART!r} and {IMAGE_PART!r}, each once, and no other."
            raise Problem(Code.MALFORMED_REQUEST, detail)
        self._pieces = self._found[name] = []
        self._room = self._most[name]

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._room -= end - start
        if self._room < 0:
            detail = f"The part {next(reversed(self._found))!r} is larger than the limit."
            raise Problem(Code.BODY_TOO_LARGE, detail)
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self._complete = True


def _attributes(request: Request, content_type: str) -> Headers:
    """CloudEvents' HTTP headers as those of its Kafka binding: other names, and no percent-encoding."""
    found: list[tuple[str, bytes]] = [(CONTENT_TYPE, content_type.encode("latin-1"))]
    for raw, value in request.headers.raw:
        name = raw.decode("latin-1")
        if name.startswith(_HTTP_PREFIX):
            found.append((PREFIX + name.removeprefix(_HTTP_PREFIX), _plain(value)))
    return tuple(found)


def _plain(value: bytes) -> bytes:
    """A header's value without quotes (RFC 9110, 5.6.4) and percent-encoding, as CloudEvents' HTTP binding wants it."""
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        value = _ESCAPED.sub(rb"\1", quoted[1])
    return unquote_to_bytes(value) if b"%" in value else value


def _too_large(most: int, *, close: bool) -> Problem:
    detail = f"At most {most:,} bytes are taken in a body of this type."
    return Problem(Code.BODY_TOO_LARGE, detail, _CLOSE if close else {})
