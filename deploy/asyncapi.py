"""The AsyncAPI 3.0 document of the topics, made from the records, the codec's names and the topics file.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0, and its Kafka bindings 0.5.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alerts.records import Alert
from clustering.records import Sighting
from deploy.topics import load_topics
from embedder.records import FaceEmbedding
from ingest.cloudevents import EXTENSIONS, JSON_TYPE, PREFIX, SPECVERSION, STRUCTURED_TYPE, Kind, kind_of
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.records import AtmEvent, Record, Rejection

VERSION = "1.0.0"
BINDING = "0.5.0"
SCHEMAS = "#/components/schemas/"
RECORDS: tuple[type[Record], ...] = (AtmEvent, FaceEmbedding, Sighting, Alert, Rejection)
_REQUIRED = ("specversion", "id", "source", "type")


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic: what is in it, under which key, who writes and who reads it."""

    topic: str
    about: str
    key: str
    messages: tuple[str, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]


CHANNELS = (
    Channel(
        EVENTS,
        "Pictures of ATM cameras, and what the bank's systems said about the moment.",
        "The ATM's id: the events of an ATM are in order.",
        ("EventWithPicture", "EventWithReference"),
        ("terminal", "gateway", "publisher"),
        ("embedder",),
    ),
    Channel(
        FACES,
        "Templates of faces; and pictures without a usable one, which are counted. A scope has one partition.",
        "The scope.",
        ("FaceEmbedding", "Rejection"),
        ("embedder",),
        ("clusterer",),
    ),
    Channel(
        SIGHTINGS,
        "The journal: who was seen where and when, in the order in which it was decided. Counts are a fold over it.",
        "The scope.",
        ("Sighting", "Rejection"),
        ("clusterer",),
        ("alerter", "view"),
    ),
    Channel(
        ALERTS,
        "Alerts, each once, for consoles and case management.",
        "The identity, or what else the alert is about.",
        ("Alert",),
        ("alerter",),
        ("consumer",),
    ),
    Channel(
        DEADLETTER,
        "What could not be used: the reason, and where the original stands. No pictures, no templates.",
        "The ATM's id, or the source.",
        ("Rejection",),
        ("embedder", "clusterer"),
        ("operator",),
    ),
)


def asyncapi() -> dict[str, Any]:
    """The document, of what a default installation has: one scope, the shipped topics file."""
    topics = {topic.name: topic for topic in load_topics(None, KafkaConfig())}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "atmwatch topics",
            "version": VERSION,
            "description": (
                "CloudEvents 1.0 on Apache Kafka. Read with isolation.level=read_committed: outputs are written in "
                "transactions. Ignore attributes that you do not know; `type` names the record and its version."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": JSON_TYPE,
        "servers": {
            "cluster": {
                "host": "{bootstrap}",
                "protocol": "kafka-secure",
                "description": "The bank's cluster; plain `kafka` in development.",
                "variables": {"bootstrap": {"description": "Host and port.", "default": "localhost:9092"}},
                "security": [{"$ref": "#/components/securitySchemes/scram"}],
            }
        },
        "channels": {channel.topic: _channel(channel, topics[channel.topic]) for channel in CHANNELS},
        "operations": {
            f"{role}.{action}.{channel.topic}": _operation(channel, action)
            for channel in CHANNELS
            for action, roles in (("send", channel.writers), ("receive", channel.readers))
            for role in roles
        },
        "components": {
            "messages": {
                "EventWithPicture": _event_with_picture(),
                "EventWithReference": _event_with_reference(),
                **{record.__name__: _message(record) for record in RECORDS if record is not AtmEvent},
            },
            "messageTraits": {"traced": _traced()},
            "schemas": _schemas(),
            "securitySchemes": {"scram": {"type": "scramSha512", "description": "SASL/SCRAM over TLS."}},
        },
    }


def _channel(channel: Channel, topic: Any) -> dict[str, Any]:
    kept = {name: topic.config[name] for name in ("cleanup.policy", "retention.ms", "max.message.bytes")}
    settings = {name: [text] if name == "cleanup.policy" else int(text) for name, text in kept.items()}
    return {
        "address": channel.topic,
        "description": channel.about,
        "servers": [{"$ref": "#/servers/cluster"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in channel.messages},
        "bindings": {
            "kafka": {
                "topic": channel.topic,
                "partitions": topic.partitions,
                "replicas": topic.replication_factor,
                "topicConfiguration": settings,
                "bindingVersion": BINDING,
            }
        },
    }


def _operation(channel: Channel, action: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel.topic}"},
        "messages": [{"$ref": f"#/channels/{channel.topic}/messages/{name}"} for name in channel.messages],
    }


def _message(record: type[Record]) -> dict[str, Any]:
    name, kind = record.__name__, kind_of(record)
    attributes = ("specversion", "id", "source", "type", "time", "subject")
    return {
        "name": kind.ce_type,
        "title": name,
        "summary": (record.__doc__ or name).strip().splitlines()[0],
        "contentType": JSON_TYPE,
        "headers": _headers(JSON_TYPE, kind, attributes),
        "payload": {"$ref": SCHEMAS + name},
        "bindings": _key(" ".join(f"{c.topic}: {c.key}" for c in CHANNELS if name in c.messages)),
        "traits": [{"$ref": "#/components/messageTraits/traced"}],
    }


def _event_with_picture() -> dict[str, Any]:
    kind = kind_of(AtmEvent)
    names = ("specversion", "id", "source", "type", "time", "subject", *EXTENSIONS.values(), "lat", "lon")
    return {
        "name": kind.ce_type,
        "title": "Event with its picture",
        "summary": "Binary mode: the picture is the body, the event is in the headers.",
        "contentType": "image/jpeg",
        "headers": _headers(None, kind, names, required=(*_REQUIRED, "time")),
        "payload": {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP; BMP, TIFF, GIF."},
        "bindings": _key(CHANNELS[0].key),
        "traits": [{"$ref": "#/components/messageTraits/traced"}],
    }


def _event_with_reference() -> dict[str, Any]:
    kind = kind_of(AtmEvent)
    text = {"type": "string"}
    data = {"allOf": [{"$ref": SCHEMAS + "AtmEvent"}, {"type": "object", "required": ["image_uri", "sha256"]}]}
    properties = {
        "specversion": {"const": SPECVERSION},
        "id": text,
        "source": text,
        "type": {"const": kind.ce_type},
        "time": {"type": "string", "format": "date-time"},
        "subject": text,
        "datacontenttype": {"const": JSON_TYPE},
        "data": data,
    }
    return {
        "name": kind.ce_type,
        "title": "Event that names its picture",
        "summary": "Structured mode: the event as JSON, its picture by image_uri and sha256.",
        "contentType": STRUCTURED_TYPE,
        "headers": {
            "type": "object",
            "properties": {"content-type": {"const": STRUCTURED_TYPE}},
            "required": ["content-type"],
        },
        "payload": {"type": "object", "properties": properties, "required": [*_REQUIRED, "data"]},
        "bindings": _key(CHANNELS[0].key),
        "traits": [{"$ref": "#/components/messageTraits/traced"}],
    }


def _headers(
    content_type: str | None, kind: Kind, names: tuple[str, ...], required: tuple[str, ...] = _REQUIRED
) -> dict[str, Any]:
    """Headers of binary mode; a picture's content type is one of several."""
    known: dict[str, Any] = {
        "specversion": {"const": SPECVERSION},
        "type": {"const": kind.ce_type},
        "time": {"type": "string", "format": "date-time"},
    }
    content = {"const": content_type} if content_type else {"type": "string", "examples": ["image/jpeg"]}
    properties = {PREFIX + name: known.get(name, {"type": "string"}) for name in names}
    return {
        "type": "object",
        "properties": {"content-type": content, **properties},
        "required": ["content-type", *(PREFIX + name for name in required)],
    }


def _key(about: str) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": about}, "bindingVersion": BINDING}}


def _traced() -> dict[str, Any]:
    """W3C trace context, carried from inputs to outputs."""
    text = {"type": "string"}
    return {"headers": {"type": "object", "properties": {"traceparent": text, "tracestate": text}}}


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for record in RECORDS:
        schema = record.model_json_schema(mode="serialization", ref_template=SCHEMAS + "{model}")
        schemas |= schema.pop("$defs", {}) | {record.__name__: schema}
    return dict(sorted(schemas.items()))
