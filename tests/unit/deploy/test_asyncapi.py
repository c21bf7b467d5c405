"""The AsyncAPI document holds for what the codec really writes, and for what the topics file really says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from command import run
from jsonschema import Draft202012Validator, FormatChecker
from templates import face, sighting

from deploy.asyncapi import CHANNELS, RECORDS, asyncapi
from deploy.cli.schema import Subject, schema_of
from deploy.topics import load_topics
from ingest.codec import encode
from ingest.kafka_bus.config import KafkaConfig
from ingest.reasons import Reason
from ingest.records import AtmEvent, Record, Rejection

TRACE = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi()


def at(document: dict[str, Any], reference: str) -> Any:
    """What a reference within the document leads to."""
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    return []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = references(document)
    assert len(found) > 50
    for reference in found:
        assert at(document, reference)


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for message in document["components"]["messages"].values():
        Draft202012Validator.check_schema(message["headers"])
        Draft202012Validator.check_schema(message["payload"])


def test_channels_are_the_topics_of_the_topics_file(document: dict[str, Any]) -> None:
    topics = {topic.name: topic for topic in load_topics(None, KafkaConfig())}
    assert set(document["channels"]) == set(topics)
    for name, channel in document["channels"].items():
        kafka = channel["bindings"]["kafka"]
        assert (kafka["topic"], kafka["partitions"]) == (name, topics[name].partitions)
        assert str(kafka["topicConfiguration"]["max.message.bytes"]) == topics[name].config["max.message.bytes"]


def test_every_channel_is_written_and_read(document: dict[str, Any]) -> None:
    for channel in CHANNELS:
        actions = {
            operation["action"]
            for operation in document["operations"].values()
            if operation["channel"]["$ref"] == f"#/channels/{channel.topic}"
        }
        assert actions == {"send", "receive"}


FACE = face("e1", [1.0] + [0.0] * 7)
SIGHTING = sighting(FACE)
CLAIM = {"image": None, "image_uri": "https://x.example/1.jpg", "sha256": "a" * 64}
EVENT = SIGHTING.event
REJECTION = Rejection(
    reason=Reason.NO_FACE, source="e1", detail="No face.", stage="embedder", atm_id="A", captured_at=EVENT.captured_at
)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("EventWithPicture", EVENT.model_copy(update={"image": b"\xff\xd8\xff", "amount": 5, "camera": "front"})),
        ("EventWithReference", EVENT.model_copy(update=CLAIM)),
        ("FaceEmbedding", FACE),
        ("Sighting", SIGHTING),
        ("Rejection", REJECTION),
    ],
)
def test_what_the_codec_writes_fits(document: dict[str, Any], name: str, record: Record) -> None:
    written = encode(record, trace=TRACE)
    message = document["components"]["messages"][name]
    headers = {key: value.decode() for key, value in written.headers}

    def fits(schema: Any, value: Any) -> None:
        whole = {**schema, "components": document["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)

    fits(message["headers"], headers)
    assert set(headers) <= {*message["headers"]["properties"], "traceparent"}
    assert headers["content-type"] == message["contentType"]
    if name == "EventWithPicture":
        return
    fits(message["payload"], json.loads(written.value or b""))


def test_every_record_of_the_stream_is_in_it(document: dict[str, Any]) -> None:
    named = {name for channel in CHANNELS for name in channel.messages}
    assert named == set(document["components"]["messages"])
    assert {record.__name__ for record in RECORDS if record is not AtmEvent} <= named


@pytest.mark.parametrize("subject", [Subject.ASYNCAPI, Subject.OPENAPI])
def test_the_command_prints_the_documents(subject: Subject) -> None:
    done = run("schema", subject.value)
    assert done.code == 0
    assert json.loads(done.out) == schema_of(subject)
