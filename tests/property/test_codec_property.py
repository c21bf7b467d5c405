"""Whatever records hold comes back from the wire, and whatever comes over the wire is a record or a BadRecord."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from alerts.records import Alert, Evidence, Queue, Severity
from clustering.records import Decision, Sighting
from embedder.records import Box, FaceEmbedding, Quality, pack
from ingest.codec import Message, decode, encode
from ingest.errors import BadRecord
from ingest.manifest import looks_at_cash_slot
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource, GeoPoint, Name, Position, Record, Rejection

KINDS: tuple[type[Record], ...] = (AtmEvent, FaceEmbedding, Sighting, Alert, Rejection)
_NAME = TypeAdapter(Name)


def is_name(text: str) -> bool:
    try:
        return bool(_NAME.validate_python(text) == text)
    except ValidationError:
        return False


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(is_name) | st.sampled_from(
    ["ATM-017", "자동화기기", "a/b%2F c", "é" * 200, "😀", "\u0085x", "x\u2028y", '"quoted"']
)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
FINITE = st.floats(allow_nan=False, allow_infinity=False)
UNIT = st.floats(0, 1)
PLACES = st.builds(GeoPoint, lat=st.floats(-90, 90), lon=st.floats(-180, 180))
AMOUNTS = st.decimals(0, 10**12, places=4) | st.decimals(0, 1000, places=0)
CAMERAS = NAMES.filter(lambda name: not looks_at_cash_slot(name))
POSITIONS = st.builds(Position, partition=TEXT, offset=st.integers(0, 2**63))
BOXES = st.builds(Box, x=FINITE, y=FINITE, width=st.floats(0.1, 1e6), height=st.floats(0.1, 1e6))
QUALITIES = st.builds(
    Quality,
    **dict.fromkeys(("eye_distance_px", "sharpness", "brightness", "contrast", "yaw"), FINITE),
    detection=UNIT,
    score=UNIT,
)
VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=16).map(
    lambda numbers: pack(np.array(numbers, np.float32))
)


def events(picture: st.SearchStrategy[bytes | None]) -> st.SearchStrategy[AtmEvent]:
    digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
    claims = st.tuples(st.text("abc/:ü %", min_size=1, max_size=20), digests)
    return st.builds(
        lambda claim, **fields: AtmEvent(image_uri=claim[0], sha256=claim[1], **fields),
        claim=claims,
        event_id=NAMES,
        atm_id=NAMES,
        captured_at=TIMES,
        received_at=maybe(TIMES),
        clock=st.sampled_from(ClockSource),
        clock_offset_s=FINITE,
        zone=maybe(st.sampled_from(["Europe/Oslo", "UTC", "America/Argentina/Buenos_Aires"])),
        scope=NAMES,
        camera=maybe(CAMERAS),
        session_id=maybe(NAMES),
        card_token=maybe(NAMES),
        amount=maybe(AMOUNTS),
        currency=maybe(st.just("NOK")),
        transaction_type=maybe(NAMES),
        atm_location=maybe(PLACES),
        image=picture,
    )


CLAIMS = events(st.none())
PICTURES = events(st.binary(min_size=1, max_size=40))
FACE_IDS = st.builds("{}#{}".format, NAMES, st.integers(0, 99))
FACES = st.builds(
    FaceEmbedding,
    face_id=FACE_IDS,
    event=CLAIMS,
    model_id=NAMES,
    vector=VECTORS,
    box=BOXES,
    landmarks=st.lists(st.tuples(FINITE, FINITE), max_size=5).map(tuple),
    quality=QUALITIES,
    bystanders=st.lists(BOXES, max_size=2).map(tuple),
)
SIGHTINGS = st.builds(
    Sighting,
    face_id=FACE_IDS,
    identity_id=NAMES,
    number=st.integers(1, 2**40),
    decision=st.sampled_from(Decision),
    similarity=maybe(FINITE),
    runner_up=maybe(FINITE),
    confidence=UNIT,
    slot=maybe(st.integers(0, 9)),
    visits=st.integers(1, 2**40),
    event=CLAIMS,
    model_id=NAMES,
    vector=VECTORS,
    box=BOXES,
    quality=QUALITIES,
    bystanders=st.lists(BOXES, max_size=2).map(tuple),
    position=POSITIONS,
)
EVIDENCE = st.builds(
    Evidence,
    event_id=NAMES,
    atm_id=NAMES,
    captured_at=TIMES,
    source=TEXT,
    identity_id=maybe(NAMES),
    similarity=maybe(FINITE),
    confidence=UNIT,
)
ALERTS = st.builds(
    Alert,
    alert_id=NAMES,
    rule_id=NAMES,
    title=TEXT,
    severity=st.sampled_from(Severity),
    queue=st.sampled_from(Queue),
    subject=NAMES,
    episode=st.integers(1, 99),
    identity_id=maybe(NAMES),
    number=maybe(st.integers(1, 99)),
    atm_id=maybe(NAMES),
    scope=NAMES,
    raised_at=TIMES,
    window_start=TIMES,
    measured=st.dictionaries(TEXT, FINITE, max_size=3),
    limits=st.dictionaries(TEXT, FINITE, max_size=3),
    confidence=UNIT,
    held=maybe(TEXT),
    advice=TEXT,
    evidence=st.lists(EVIDENCE, max_size=2).map(tuple),
    position=POSITIONS,
)
REJECTIONS = st.builds(
    Rejection,
    reason=st.sampled_from(Reason),
    source=TEXT,
    detail=TEXT,
    stage=TEXT,
    event_id=maybe(TEXT),
    atm_id=maybe(TEXT),
    scope=maybe(TEXT),
    captured_at=maybe(TIMES),
    position=maybe(POSITIONS),
)
RECORDS = st.one_of(CLAIMS, PICTURES, FACES, SIGHTINGS, ALERTS, REJECTIONS)


@settings(max_examples=150, deadline=None)
@given(RECORDS)
def test_records_come_back_from_the_wire(record: Record) -> None:
    message = encode(record)
    assert decode(message, *KINDS) == record
    assert encode(decode(message, *KINDS)) == message
    assert all(name == name.lower() and name.isascii() for name, _ in message.headers)


def judged(message: Message) -> None:
    """The message is a record, or a BadRecord: anything else would end the process."""
    with suppress(BadRecord):
        assert isinstance(decode(message, *KINDS), KINDS)


HEADERS = st.tuples(
    st.sampled_from(["content-type", "ce_type", "ce_time", "ce_specversion", "ce_lat", "ce_zone", "ce_x", "tracestate"])
    | TEXT,
    st.sampled_from([b"application/json", b"application/cloudevents+json", b"image/png", b"1.0"])
    | st.sampled_from([b"com.atmwatch.face.v1", b"com.atmwatch.event.v1", b"0001-01-01T00:00:00+23:59", b"1e999"])
    | st.binary(max_size=30),
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.none(), st.lists(HEADERS, max_size=8).map(tuple))
def test_noise_is_refused(value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> None:
    judged(Message(None, value, headers))


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.data())
def test_damaged_messages_are_records_or_refused(record: Record, data: st.DataObject) -> None:
    message = encode(record)
    value, headers = bytearray(message.value or b""), list(message.headers)
    at = data.draw(st.integers(0, len(value) - 1), label="at")
    match data.draw(st.sampled_from(["cut", "overwrite", "header", "drop"]), label="damage"):
        case "cut":
            del value[at:]
        case "overwrite":
            piece = data.draw(
                st.binary(max_size=4) | st.sampled_from([b"NaN", b"1e999", b"null", b'"', b"-", b"9" * 30])
            )
            value[at : at + len(piece)] = piece
        case "header":
            place = data.draw(st.integers(0, len(headers) - 1))
            headers[place] = (headers[place][0], data.draw(HEADERS)[1])
        case "drop":
            del headers[data.draw(st.integers(0, len(headers) - 1))]
    judged(Message(message.key, bytes(value), tuple(headers)))


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | FINITE | TEXT, lambda inner: st.lists(inner, max_size=3))
)
def test_any_json_in_any_field_is_a_record_or_refused(value: object) -> None:
    for name in AtmEvent.model_fields:
        data = {
            "event_id": "e",
            "atm_id": "a",
            "captured_at": "2024-05-01T00:00:00Z",
            "image_uri": "u",
            "sha256": "ab" * 32,
        }
        envelope = {"specversion": "1.0", "id": "1", "source": "s", "type": "com.atmwatch.event.v1"}
        content = json.dumps({**envelope, "data": {**data, name: value}}).encode()
        judged(Message(None, content, (("content-type", b"application/cloudevents+json"),)))
