"""The CloudEvents names of records: types, attributes, and an event as attributes and back.

Sources: CloudEvents 1.0.2, its JSON format and its Kafka protocol binding, https://github.com/cloudevents/spec.
In binary mode an attribute is the Kafka header ``ce_`` + name, UTF-8 as it is (the percent-encoding of the HTTP
binding is not Kafka's); ``content-type`` is the body's.  Attribute names are lower-case letters and digits, 20 at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from pydantic_core import to_json

from ingest.errors import BadRecord
from ingest.images import picture_format
from ingest.reasons import UNUSABLE, Reason
from ingest.records import AtmEvent, Record, Rejection

R = TypeVar("R", bound=Record)

SPECVERSION = "1.0"
CONTENT_TYPE = "content-type"
PREFIX = "ce_"
JSON_TYPE = "application/json"
STRUCTURED_TYPE = "application/cloudevents+json"
BYTES_TYPE = "application/octet-stream"
"""What a body is when its first bytes are those of no picture: the one who decodes it says so."""

_NOUNS = MappingProxyType({"AtmEvent": "event", "FaceEmbedding": "face"})
_ID_FIELDS = ("alert_id", "face_id")
_MAX_KEY_CHARS = 200

EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {
        "received_at": "receivedat",
        "clock": "clocksource",
        "clock_offset_s": "clockoffset",
        "zone": "zone",
        "scope": "scope",
        "camera": "camera",
        "session_id": "sessionid",
        "card_token": "cardtoken",
        "amount": "amount",
        "currency": "currency",
        "transaction_type": "transactiontype",
        "image_uri": "imageuri",
        "sha256": "imagesha256",
    }
)
"""AtmEvent's fields that are extension attributes.  ``atm_location`` is two, ``lat`` and ``lon``; the others are
``ce_id`` (event_id), ``ce_subject`` (atm_id), ``ce_time`` (captured_at) and ``ce_type`` (schema_version)."""

_IMAGE_TYPES = MappingProxyType(
    {
        "JPEG": "image/jpeg",
        "PNG": "image/png",
        "WebP": "image/webp",
        "BMP": "image/bmp",
        "TIFF": "image/tiff",
        "GIF": "image/gif",
    }
)
_ATM_SOURCE = "/atms/"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,18})?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_TYPE = re.compile(r"(?P<noun>com\.atmwatch\.[a-z0-9]{1,64})\.v(?P<version>[1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """How records of one class travel.

    ``id_field`` names the field that is ``ce_id``; ``vector`` says whether they hold a template, ``event`` whether
    they hold the event that they are about, and ``subject`` whether they name what they are about themselves.
    """

    ce_type: str
    source: str
    id_field: str | None
    vector: bool
    event: bool
    subject: bool


@cache
def kind_of(record: type[Record]) -> Kind:
    """How records of this class travel.

    ``ce_type`` is ``com.atmwatch.<noun>.v<schema_version>``, the noun the class's name in lower case (AtmEvent:
    event, FaceEmbedding: face).  The package that makes a record defines it and imports this one, so its class is
    known here by its fields alone.
    """
    fields = record.model_fields
    noun = _NOUNS.get(record.__name__, record.__name__.lower())
    return Kind(
        ce_type=f"com.atmwatch.{noun}.v{fields['schema_version'].default}",
        source=f"/atmwatch/{noun}",
        id_field=next((name for name in _ID_FIELDS if name in fields), None),
        vector="vector" in fields,
        event="event" in fields,
        subject="subject" in fields,
    )


def message_key(record: Record) -> str | None:
    """The Kafka key: whatever has one is in order with all others of the same key.

    An event's is its ``atm_id``; a face's and a sighting's their event's ``scope``; an alert's its identity, else
    its subject.  A Rejection of an unusable picture goes with its scope, any other with its ATM, else its source.
    """
    match record:
        case AtmEvent():
            return record.atm_id
        case Rejection(reason=reason) if reason in UNUSABLE:
            return record.scope or "default"
        case Rejection():
            return (record.atm_id or record.source)[:_MAX_KEY_CHARS] or None
    fields: Any = record
    kind = kind_of(type(record))  # to ask a record for what it lacks takes longer
    if kind.subject:
        return str(getattr(record, "identity_id", None) or fields.subject)
    if kind.event:
        return str(fields.event.scope)
    scope: str | None = getattr(record, "scope", None)
    return scope


def pick(ce_type: str, expected: tuple[type[R], ...]) -> type[R]:
    """The class among ``expected`` that ``ce_type`` names.  Raises BadRecord, and says so of a newer version."""
    for kind in expected:
        if kind_of(kind).ce_type == ce_type:
            return kind
    known = [kind_of(kind).ce_type for kind in expected]
    found = _TYPE.fullmatch(ce_type)
    if found:
        for name in known:
            noun, _, version = name.rpartition(".v")
            if noun == found["noun"] and int(found["version"]) > int(version):
                detail = f"The record is {noun} of schema version {found['version']}, newer than {version}: update."
                raise BadRecord(Reason.BAD_RECORD, detail)
    raise BadRecord(Reason.BAD_RECORD, f"The record's type is none of those read here: {', '.join(sorted(known))}.")


def image_type(image: bytes) -> str:
    """The media type that a picture's first bytes announce."""
    return _IMAGE_TYPES.get(picture_format(image) or "", BYTES_TYPE)


def rfc3339(at: datetime) -> str:
    """An aware time in UTC, as CloudEvents writes one."""
    return at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def atm_source(atm_id: str) -> str:
    """The ``ce_source`` of an ATM's events."""
    return _ATM_SOURCE + quote(atm_id, safe="")


def event_attributes(event: AtmEvent) -> dict[str, str]:
    """Everything of an event but its picture; what is not there is left out."""
    attributes = {
        "specversion": SPECVERSION,
        "id": event.event_id,
        "source": atm_source(event.atm_id),
        "type": kind_of(AtmEvent).ce_type,
        "time": rfc3339(event.captured_at),
        "subject": event.atm_id,
    }
    for field, name in EXTENSIONS.items():
        value = getattr(event, field)
        if value is not None:
            attributes[name] = rfc3339(value) if isinstance(value, datetime) else str(value)
    if event.atm_location is not None:
        attributes["lat"] = repr(event.atm_location.lat)
        attributes["lon"] = repr(event.atm_location.lon)
    return attributes


def structured(event: AtmEvent) -> bytes:
    """An event without its picture in the JSON event format, with the whole record as ``data``."""
    names = ("specversion", "id", "source", "type", "time", "subject")
    attributes = event_attributes(event)
    head = to_json({name: attributes[name] for name in names} | {"datacontenttype": JSON_TYPE})
    return head.removesuffix(b"}") + b',"data":' + event.to_json().encode() + b"}"


def record_attributes(record: Record, body: bytes) -> dict[str, str]:
    """Those of a record with a JSON ``body``.  A record without an id of its own has its content's digest for one."""
    kind = kind_of(type(record))
    fields: Any = record
    about = fields.event if kind.event else fields
    identifier = getattr(record, kind.id_field) if kind.id_field else blake2b(body, digest_size=16).hexdigest()
    attributes = {"specversion": SPECVERSION, "id": identifier, "source": kind.source, "type": kind.ce_type}
    at = getattr(about, "captured_at", None) or getattr(about, "raised_at", None)
    if at is not None:
        attributes["time"] = rfc3339(at)
    subject = fields.subject if kind.subject else getattr(about, "atm_id", None)
    if subject is not None:
        attributes["subject"] = subject
    return attributes


def event_fields(attributes: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an AtmEvent that attributes give, still to be validated.

    An event without ``subject`` is of the ATM that its ``source`` names; the two must not name different ones.
    Raises BadRecord: CAPTURED_AT_MISSING, CAPTURED_AT_NAIVE, BAD_RECORD.
    """
    fields: dict[str, Any] = {field: attributes[name] for field, name in EXTENSIONS.items() if name in attributes}
    fields["event_id"] = attributes["id"]
    fields["atm_id"] = _atm_id(attributes)
    if "time" not in attributes:
        raise BadRecord(Reason.CAPTURED_AT_MISSING, "The event does not say when its picture was taken (time).")
    fields["captured_at"] = _time(attributes["time"], "time", Reason.CAPTURED_AT_NAIVE)
    if "received_at" in fields:
        fields["received_at"] = _time(fields["received_at"], "receivedat", Reason.BAD_RECORD)
    if ("lat" in attributes) != ("lon" in attributes):
        raise BadRecord(Reason.BAD_RECORD, "lat and lon go together.")
    if "lat" in attributes:
        fields["atm_location"] = {"lat": attributes["lat"], "lon": attributes["lon"]}
    return fields


def _atm_id(attributes: Mapping[str, str]) -> str:
    source, subject = attributes["source"], attributes.get("subject")
    named = unquote(source.removeprefix(_ATM_SOURCE)) if source.startswith(_ATM_SOURCE) else None
    if subject is not None and named is not None and subject != named:
        raise BadRecord(Reason.BAD_RECORD, "source and subject name different ATMs.")
    atm_id = named if subject is None else subject
    if atm_id is None:
        raise BadRecord(Reason.BAD_RECORD, "The event does not name its ATM (subject, or source /atms/...).")
    return atm_id


def _time(text: str, name: str, naive: Reason) -> str:
    """``text`` if it is of RFC 3339's form: the library that reads it would take a plain number for a time."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise BadRecord(Reason.BAD_RECORD, f"{name} is not a time as RFC 3339 has it.")
    if found["zone"] is None:
        raise BadRecord(naive, f"{name} has no zone; end it with Z or an offset such as +02:00.")
    return text
