"""The codec: records to Kafka messages and back, as CloudEvents.  The stream's only bytes boundary.

An event with its picture travels in binary mode, the picture as the body and the rest as headers; an event that names
its picture by URI and sha256 travels in structured mode, as JSON in JSON; every other record is a JSON body with
headers.  ``decode`` accepts each of these for any record that fits.  Names and types are in ``cloudevents``.

What is unknown is treated in two ways.  Unknown *attributes* are ignored: CloudEvents lets every producer and
intermediary add extensions of its own (tracing, sequence, partition key), so one that refused them would refuse valid
events.  Unknown *fields* of a record are an error: records are closed and versioned, and a field that is not read is a
fact that somebody believes was counted.

Pictures are not looked at: whether a body is one is judged where it is decoded, as for files.  Every function is pure
and safe to call from several threads.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from ingest import cloudevents
from ingest.cloudevents import CONTENT_TYPE, JSON_TYPE, PREFIX, STRUCTURED_TYPE, Kind, kind_of
from ingest.envelope import (
    DEFAULT_MESSAGE_LIMITS,
    Envelope,
    Message,
    MessageLimits,
    check_size,
    open_message,
    shown,
)
from ingest.errors import BadRecord
from ingest.manifest import looks_at_cash_slot
from ingest.reasons import Reason
from ingest.records import AtmEvent, CardNumberFound, Record
from ingest.trace_context import Headers, trace_headers

__all__ = [
    "DEFAULT_MESSAGE_LIMITS",
    "Message",
    "MessageLimits",
    "check_clock",
    "decode",
    "encode",
    "read_event",
    "trace_headers",
]

R = TypeVar("R", bound=Record)

_MOST_FAULTS = 100
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
"""Pictures before it are of broken clocks; a local time after it, or the end of a window, is no time any more."""


def encode(record: Record, *, trace: Headers = (), limits: MessageLimits = DEFAULT_MESSAGE_LIMITS) -> Message:
    """``record`` as a message, with its key (``cloudevents.message_key``) and the trace context of ``trace``.

    ``trace`` may be all headers of the input that ``record`` comes from.  A picture is only carried by the AtmEvent
    itself: a record that holds its event is written without it.  Raises BadRecord: EMPTY_FILE, TOO_MANY_BYTES,
    and BAD_RECORD for an event with neither a picture nor a claim check.
    """
    if isinstance(record, AtmEvent):
        value, headers = _encoded_event(record)
        check_size(value, limits.max_value_bytes)
    else:
        value = record.to_json().encode()
        check_size(value, limits.max_json_bytes)
        headers = _binary(cloudevents.record_attributes(record, value), JSON_TYPE)
    key = cloudevents.message_key(record)
    return Message(None if key is None else key.encode(), value, (*headers, *trace_headers(trace)))


def decode(message: Message, *expected: type[R], limits: MessageLimits = DEFAULT_MESSAGE_LIMITS) -> R:
    """The record in ``message``, which must be of one of the ``expected`` classes.

    ``decode(encode(record))`` gives ``record``.  Raises BadRecord with one sentence that repeats nothing of the
    content but the names of fields: TOO_MANY_BYTES, BAD_RECORD, EMPTY_FILE (a picture without bytes),
    CAPTURED_AT_MISSING, CAPTURED_AT_NAIVE, RAW_CARD_NUMBER, CASH_SLOT_CAMERA.
    """
    envelope = open_message(message, limits)
    found = cloudevents.pick(envelope.attributes["type"], expected)
    try:
        record = _read(envelope, found)
    except ValidationError as error:
        raise _why(error) from error
    except OverflowError as error:
        raise BadRecord(Reason.BAD_RECORD, "A time lies outside of the years 1 to 9999.") from error
    _check(record, claim=envelope.image is None)
    return record


def read_event(content: bytes, image: bytes | None = None) -> AtmEvent:
    """The event in ``content``, an AtmEvent's JSON, for ways in that have no message; ``image`` came beside it.

    Without an image the event is a claim check.  The caller bounds both.  Raises BadRecord as ``decode`` does.
    """
    try:
        event = AtmEvent.model_validate_json(content)
    except ValidationError as error:
        raise _why(error) from error
    except OverflowError as error:
        raise BadRecord(Reason.BAD_RECORD, "A time lies outside of the years 1 to 9999.") from error
    if event.image is not None:
        raise BadRecord(Reason.BAD_RECORD, "image: a picture comes beside the JSON, never in it.")
    _check_event(event, claim=image is None)
    return event if image is None else event.model_copy(update={"image": image})


def check_clock(event: AtmEvent, now: datetime, tolerance: timedelta) -> None:
    """Refuse an event from later than ``tolerance`` after ``now``.  Raises BadRecord (CAPTURED_AT_IN_FUTURE).

    A matter of its own, because a replay of a topic must not depend on when it is done.
    """
    if event.captured_at - now > tolerance:
        detail = f"{event.captured_at:%Y-%m-%d %H:%M:%S} UTC lies in the future; check the terminal's clock."
        raise BadRecord(Reason.CAPTURED_AT_IN_FUTURE, detail)


def _encoded_event(event: AtmEvent) -> tuple[bytes, Headers]:
    if event.image is None:
        _check_claim(event)
        return cloudevents.structured(event), ((CONTENT_TYPE, STRUCTURED_TYPE.encode()),)
    if not event.image:
        raise BadRecord(Reason.EMPTY_FILE, "The event's picture has no bytes.")
    return event.image, _binary(cloudevents.event_attributes(event), cloudevents.image_type(event.image))


def _binary(attributes: dict[str, str], content_type: str) -> Headers:
    named = ((PREFIX + name, text.encode()) for name, text in attributes.items())
    return ((CONTENT_TYPE, content_type.encode()), *named)


def _read(envelope: Envelope, found: type[R]) -> R:
    if envelope.json is not None:
        return found.model_validate_json(envelope.json)
    if not issubclass(found, AtmEvent):
        raise BadRecord(Reason.BAD_RECORD, f"A record of this type has a body of {JSON_TYPE}.")
    if not envelope.image:
        raise BadRecord(Reason.EMPTY_FILE, "The event's picture has no bytes.")
    return found.model_validate({**cloudevents.event_fields(envelope.attributes), "image": envelope.image})


def _check(record: Record, *, claim: bool) -> None:
    """What the fields' types do not say.  ``claim``: the record came without a picture beside it."""
    if isinstance(record, AtmEvent):
        _check_event(record, claim=claim)
    else:
        _check_other(record, kind_of(type(record)))


def _check_event(event: AtmEvent, *, claim: bool) -> None:
    if claim:
        if event.image is not None:
            raise BadRecord(Reason.BAD_RECORD, "image: a picture is the message's body, or data_base64, never a field.")
        _check_claim(event)
    _check_times(event)
    if looks_at_cash_slot(event.camera):
        raise BadRecord(Reason.CASH_SLOT_CAMERA, Reason.CASH_SLOT_CAMERA.sentence)


def _check_times(event: AtmEvent) -> None:
    for at in (event.captured_at, event.received_at):
        if at is not None and not _FIRST_YEAR <= at.year <= _LAST_YEAR:
            raise BadRecord(Reason.BAD_RECORD, f"A time lies outside of the years {_FIRST_YEAR} to {_LAST_YEAR}.")


def _check_claim(event: AtmEvent) -> None:
    missing = [name for name in ("image_uri", "sha256") if getattr(event, name) is None]
    if missing:
        raise BadRecord(
            Reason.BAD_RECORD, f"The event has no picture, and lacks {' and '.join(missing)} by which to fetch it."
        )


def _check_other(record: Record, kind: Kind) -> None:
    fields: Any = record
    if kind.event:
        _check_times(fields.event)
        if fields.event.image is not None:
            raise BadRecord(Reason.BAD_RECORD, "event.image: pictures do not travel beyond the events.")
    if kind.vector:
        vector: bytes = fields.vector
        if not vector or len(vector) % 4 or not np.isfinite(np.frombuffer(vector, "<f4")).all():
            raise BadRecord(Reason.BAD_RECORD, "vector: not a row of finite float32 numbers.")


def _why(error: ValidationError) -> BadRecord:
    """Which fields are wrong, and how.  The names of fields are the sender's too, and may be anything."""
    if error.error_count() > _MOST_FAULTS:
        return BadRecord(Reason.BAD_RECORD, f"The record has more than {_MOST_FAULTS} faults.")
    wrong: list[str] = []
    special: BadRecord | None = None
    for found in error.errors(include_url=False, include_input=False):
        where = ".".join(shown(str(part)) for part in found["loc"])
        what, kind = found["msg"].removeprefix("Value error, "), found["type"]
        if isinstance(found.get("ctx", {}).get("error"), CardNumberFound):
            return BadRecord(Reason.RAW_CARD_NUMBER, f"{where} holds a card number; send a token instead.")
        if where == "schema_version":
            special = BadRecord(
                Reason.BAD_RECORD, "The record is not of schema version 1: a newer atmwatch made it, or none."
            )
        elif where == "captured_at" and kind == "missing":
            special = BadRecord(Reason.CAPTURED_AT_MISSING, "captured_at is missing.")
        elif where == "captured_at" and kind == "timezone_aware":
            special = BadRecord(Reason.CAPTURED_AT_NAIVE, "captured_at has no zone; add one such as Z or +02:00.")
        wrong.append(f"{where}: {what[:1].lower()}{what[1:]}" if where else what)
    return special or BadRecord(Reason.BAD_RECORD, "; ".join(wrong[:5]) + ".")
