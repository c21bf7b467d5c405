"""Messages from anybody: CloudEvents both ways, and one reason with one sentence for whatever is wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from toys import Counted, Punch

from alerts.records import Alert, Severity
from embedder.records import Box, FaceEmbedding, Quality, pack
from ingest.cloudevents import EXTENSIONS, message_key
from ingest.codec import Message, MessageLimits, check_clock, decode, encode, trace_headers
from ingest.errors import BadRecord
from ingest.reasons import Reason
from ingest.records import AtmEvent, GeoPoint, Position, Record, Rejection

JPEG = b"\xff\xd8\xff\xe0 pixels"
AT = datetime(2024, 5, 1, 12, 30, 5, 250_000, tzinfo=UTC)
CARD = "4111111111111111"
PARENT = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

EVENT = AtmEvent(
    event_id="ü/1",
    atm_id="ATM 17/ü",
    captured_at=AT,
    received_at=AT + timedelta(seconds=3),
    clock_offset_s=-1.5,
    zone="Europe/Oslo",
    scope="nord",
    camera="portrait",
    session_id="S-1",
    card_token="tok-1",  # noqa: S106
    amount=Decimal("120.50"),
    currency="NOK",
    transaction_type="withdrawal",
    atm_location=GeoPoint(lat=59.9, lon=10.7),
    image_uri="s3://pictures/ü.jpg",
    sha256="ab" * 32,
)
WITH_PICTURE = EVENT.model_copy(update={"image": JPEG})
BOX = Box(x=1, y=2, width=3, height=4)
VECTOR = np.array([0.6, 0.8], np.float32)
FACE = FaceEmbedding(
    face_id="ü/1#0",
    event=EVENT,
    model_id="sface",
    vector=pack(VECTOR),
    box=BOX,
    landmarks=((1, 2),) * 5,
    quality=Quality(eye_distance_px=60, sharpness=9, brightness=100, contrast=30, yaw=0, detection=0.9, score=0.8),
)
ALERT = Alert(
    alert_id="al-1",
    rule_id="COUNT_ONLY",
    title="often",
    severity=Severity.HIGH,
    subject="id-1@ATM 17",
    episode=1,
    identity_id="id-1",
    raised_at=AT,
    window_start=AT,
    measured={"visits": 6},
    limits={"visits": 6},
    confidence=0.9,
    evidence=(),
    position=Position(offset=1),
)


def refusal(reason: Reason = Reason.NO_FACE, **fields: Any) -> Rejection:
    return Rejection(**{"reason": reason, "source": "s", "detail": "d", "stage": "embedder", **fields})


def headers(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers}


def changed(message: Message, value: bytes | None = None, **attributes: str | None) -> Message:
    """``message`` with another body or other headers; None takes one away."""
    named = {name.replace("content_type", "content-type"): text for name, text in attributes.items()}
    kept = [(name, text) for name, text in message.headers if name not in named]
    new = [(name, text.encode()) for name, text in named.items() if text is not None]
    return Message(message.key, message.value if value is None else value, (*kept, *new))


def structured(data: object = None, **envelope: object) -> Message:
    given = {"specversion": "1.0", "id": "1", "source": "/cam", "type": "com.atmwatch.event.v1", "data": data}
    content = {name: value for name, value in {**given, **envelope}.items() if value is not None}
    return Message(None, json.dumps(content).encode(), (("content-type", b"application/cloudevents+json"),))


def event_json(**fields: object) -> dict[str, object]:
    given = {"event_id": "e", "atm_id": "a", "captured_at": "2024-05-01T12:00:00Z", "image_uri": "s3://b/1.jpg"}
    return {name: value for name, value in {**given, "sha256": "ab" * 32, **fields}.items() if value is not None}


def face_json(**fields: object) -> bytes:
    return json.dumps({**json.loads(FACE.to_json()), **fields}).encode()


def refused(message: Message, *expected: type[Record], **options: Any) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        decode(message, *(expected or (AtmEvent,)), **options)
    assert CARD not in str(caught.value)
    assert caught.value.detail.endswith(".")
    assert len(caught.value.detail) < 600
    return caught.value


def bad(message: Message, text: str, *expected: type[Record]) -> None:
    error = refused(message, *expected)
    assert error.reason is Reason.BAD_RECORD
    assert text in error.detail


def test_an_event_with_its_picture_is_in_binary_mode() -> None:
    message = encode(WITH_PICTURE, trace=(PARENT, ("x", b"y")))
    assert message.key == "ATM 17/ü".encode()
    assert message.value == JPEG
    assert headers(message) == {
        "content-type": "image/jpeg",
        "ce_specversion": "1.0",
        "ce_id": "ü/1",
        "ce_source": "/atms/ATM%2017%2F%C3%BC",
        "ce_type": "com.atmwatch.event.v1",
        "ce_time": "2024-05-01T12:30:05.250000Z",
        "ce_subject": "ATM 17/ü",
        "ce_receivedat": "2024-05-01T12:30:08.250000Z",
        "ce_clocksource": "camera",
        "ce_clockoffset": "-1.5",
        "ce_zone": "Europe/Oslo",
        "ce_scope": "nord",
        "ce_camera": "portrait",
        "ce_sessionid": "S-1",
        "ce_cardtoken": "tok-1",
        "ce_amount": "120.50",
        "ce_currency": "NOK",
        "ce_transactiontype": "withdrawal",
        "ce_imageuri": "s3://pictures/ü.jpg",
        "ce_imagesha256": "ab" * 32,
        "ce_lat": "59.9",
        "ce_lon": "10.7",
        "traceparent": PARENT[1].decode(),
    }
    assert decode(message, AtmEvent) == WITH_PICTURE


def test_every_field_of_an_event_has_a_legal_attribute() -> None:
    others = {"schema_version", "event_id", "atm_id", "captured_at", "atm_location", "image"}
    assert EXTENSIONS.keys() | others == AtmEvent.model_fields.keys()
    names = [*EXTENSIONS.values(), "lat", "lon"]
    assert len(set(names)) == len(names)
    assert all(name.isalnum() and name == name.lower() and len(name) <= 20 for name in names)


@pytest.mark.parametrize(
    ("start", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"text", "application/octet-stream"),
    ],
)
def test_a_body_is_called_what_its_first_bytes_say(start: bytes, content_type: str) -> None:
    event = EVENT.model_copy(update={"image": start})
    message = encode(event)
    assert headers(message)["content-type"] == content_type
    assert decode(message, AtmEvent) == event


def test_an_event_with_a_claim_check_is_in_structured_mode() -> None:
    message = encode(EVENT, trace=(PARENT,))
    assert message.headers == (("content-type", b"application/cloudevents+json"), PARENT)
    assert message.value is not None
    content = json.loads(message.value)
    assert content.pop("data") == json.loads(EVENT.to_json())
    assert content == {
        "specversion": "1.0",
        "id": "ü/1",
        "source": "/atms/ATM%2017%2F%C3%BC",
        "type": "com.atmwatch.event.v1",
        "time": "2024-05-01T12:30:05.250000Z",
        "subject": "ATM 17/ü",
        "datacontenttype": "application/json",
    }
    assert decode(message, AtmEvent) == EVENT


def test_other_records_are_json_with_headers() -> None:
    message = encode(FACE)
    assert message.key == b"nord"
    assert headers(message) == {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": "ü/1#0",
        "ce_source": "/atmwatch/face",
        "ce_type": "com.atmwatch.face.v1",
        "ce_time": "2024-05-01T12:30:05.250000Z",
        "ce_subject": "ATM 17/ü",
    }
    assert message.value == FACE.to_json().encode()
    assert decode(message, FaceEmbedding, Rejection) == FACE
    alert = headers(encode(ALERT))
    assert alert["ce_id"] == "al-1"
    assert alert["ce_subject"] == "id-1@ATM 17"
    assert alert["ce_time"] == "2024-05-01T12:30:05.250000Z"


def test_a_record_without_an_id_is_known_by_its_content() -> None:
    first, again, other = (headers(encode(refusal(source=source))) for source in "aab")
    assert first["ce_id"] == again["ce_id"] != other["ce_id"]


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (EVENT, "ATM 17/ü"),
        (FACE, "nord"),
        (ALERT, "id-1"),
        (ALERT.model_copy(update={"identity_id": None}), "id-1@ATM 17"),
        (refusal(scope="nord", atm_id="A"), "nord"),
        (refusal(), "default"),
        (refusal(Reason.BAD_RECORD, atm_id="A", scope="nord"), "A"),
        (refusal(Reason.BAD_RECORD, source="x" * 500), "x" * 200),
        (refusal(Reason.BAD_RECORD, source=""), None),
        (Punch(key="k", badge="b"), None),
    ],
)
def test_keys_keep_together_what_belongs_in_order(record: Record, key: str | None) -> None:
    assert message_key(record) == key
    assert encode(record).key == (None if key is None else key.encode())


def test_a_message_does_not_show_what_it_carries() -> None:
    assert repr(encode(WITH_PICTURE)) == "Message(11 bytes, 22 headers)"
    assert str(Message(b"k", None)) == "Message(0 bytes, 0 headers)"


def test_an_event_that_cannot_travel_is_refused() -> None:
    for event, reason in (
        (EVENT.model_copy(update={"image": b""}), Reason.EMPTY_FILE),
        (EVENT.model_copy(update={"sha256": None}), Reason.BAD_RECORD),
        (EVENT.model_copy(update={"image": JPEG * 10}), Reason.TOO_MANY_BYTES),
    ):
        with pytest.raises(BadRecord) as caught:
            encode(event, limits=MessageLimits(max_value_bytes=100))
        assert caught.value.reason is reason


def test_a_foreign_producer_needs_little() -> None:
    given = (
        ("Content-Type", b"image/jpeg; q=1"),
        ("ce_specversion", b"1.0"),
        ("ce_type", b"com.atmwatch.event.v1"),
        ("ce_source", b"/atms/A%201"),
        ("ce_id", b"e1"),
        ("ce_time", b"2024-05-01t14:00:00.1234567+02:00"),
        ("ce_theirs", b"ignored"),
        ("ce_partitionkey", CARD.encode()),
        ("other", b"\xff"),
    )
    event = decode(Message(None, JPEG, given), AtmEvent)
    at = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert event == AtmEvent(event_id="e1", atm_id="A 1", captured_at=at, image=JPEG)


def test_structured_events_may_hold_the_picture() -> None:
    message = structured(
        data_base64=base64.b64encode(JPEG).decode(),
        datacontenttype="image/jpeg",
        subject="A",
        time="2024-05-01T12:00:00Z",
        clockoffset=2,
        traced=True,
        theirs=2**80,
    )
    event = decode(message, AtmEvent)
    assert (event.image, event.atm_id, event.clock_offset_s) == (JPEG, "A", 2)


def test_events_may_be_json_with_headers() -> None:
    message = Message(None, json.dumps(event_json()).encode(), encode(ALERT).headers)
    assert decode(changed(message, ce_type="com.atmwatch.event.v1"), AtmEvent).event_id == "e"


def test_the_embedders_topic_may_hold_several_types() -> None:
    for record in (FACE, refusal(captured_at=AT, atm_id="A")):
        assert decode(encode(record), FaceEmbedding, Rejection) == record
    assert decode(encode(Punch(key="k", badge="b")), Counted, Punch) == Punch(key="k", badge="b")


PICTURE = encode(WITH_PICTURE)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message(None, None), "content-type header is missing"),
        (Message(b"k", b"\x00\x01"), "content-type header is missing"),
        (changed(PICTURE, content_type=None), "content-type header is missing"),
        (changed(PICTURE, content_type="text/html"), "content type is none of"),
        (changed(PICTURE, content_type="application/cloudevents-batch+json"), "each event on its own"),
        (changed(PICTURE, ce_specversion=None), "no CloudEvent"),
        (changed(PICTURE, ce_specversion="0.3"), "specversion is not 1.0"),
        (changed(PICTURE, ce_type=None, ce_id=None), "lacks id, type"),
        (changed(PICTURE, ce_id=""), "lacks id"),
        (changed(PICTURE, ce_type="com.example." + CARD), "none of those read here: com.atmwatch.event.v1"),
        (changed(PICTURE, ce_type="com.atmwatch.face.v1"), "none of those"),
        (changed(PICTURE, ce_type="com.atmwatch.event.v0"), "none of those"),
        (changed(PICTURE, ce_type="com.atmwatch.event.v2"), "schema version 2, newer than 1: update"),
        (changed(PICTURE, ce_source="/atms/other"), "different ATMs"),
        (changed(PICTURE, ce_source="/cam", ce_subject=None), "does not name its ATM"),
        (changed(PICTURE, ce_time="1714561200"), "RFC 3339"),
        (changed(PICTURE, ce_time="2024-05-01"), "RFC 3339"),
        (changed(PICTURE, ce_time="2024-13-01T00:00:00Z"), "captured_at: "),
        (changed(PICTURE, ce_time="0001-01-01T00:00:00+14:00"), "outside of the years 1 to 9999"),
        (changed(PICTURE, ce_time="1969-12-31T00:00:00Z"), "outside of the years 1970"),
        (changed(PICTURE, ce_receivedat="9999-12-31T00:00:00Z"), "outside of the years 1970"),
        (changed(PICTURE, ce_receivedat="2024-05-01T00:00:00"), "receivedat has no zone"),
        (changed(PICTURE, ce_lat=None), "lat and lon go together"),
        (changed(PICTURE, ce_lat="91"), "atm_location.lat"),
        (changed(PICTURE, ce_lat="nan"), "atm_location.lat"),
        (changed(PICTURE, ce_amount="-1"), "amount"),
        (changed(PICTURE, ce_zone="Oslo"), "IANA"),
        (changed(PICTURE, ce_clocksource="sun"), "clock: "),
        (changed(PICTURE, ce_sessionid=""), "session_id: "),
        (Message(None, JPEG, (*PICTURE.headers, ("CE_ID", b"x"))), "header ce_id comes twice"),
        (Message(None, JPEG, (*PICTURE.headers, ("Content-type", b"image/png"))), "header content-type comes twice"),
        (Message(None, JPEG, (*PICTURE.headers, ("ce_x", b"\xff"))), "header ce_x is not UTF-8"),
        (Message(None, JPEG, (*PICTURE.headers, ("ce_" + CARD, b"\xff"))), "header (a name) is not UTF-8"),
        (Message(None, JPEG, (*PICTURE.headers, ("ce_x", None))), "header ce_x has no value"),  # type: ignore[arg-type]
        (Message(None, JPEG, PICTURE.headers * 4), "more than 64 headers"),
    ],
)
def test_a_wrong_picture_message(message: Message, text: str) -> None:
    bad(message, text)


def test_pictures_without_bytes_or_time() -> None:
    for empty in (Message(None, b"", PICTURE.headers), Message(None, None, PICTURE.headers)):
        assert refused(empty).reason is Reason.EMPTY_FILE
    assert refused(structured(data_base64="", time="2024-05-01T12:00:00Z")).reason is Reason.EMPTY_FILE
    assert refused(changed(PICTURE, ce_time=None)).reason is Reason.CAPTURED_AT_MISSING
    assert refused(changed(PICTURE, ce_time="2024-05-01T12:00:00")).reason is Reason.CAPTURED_AT_NAIVE
    assert refused(structured({})).reason is Reason.CAPTURED_AT_MISSING
    assert refused(structured(event_json(captured_at=None))).reason is Reason.CAPTURED_AT_MISSING
    assert refused(structured(event_json(captured_at="2024-05-01T12:00:00"))).reason is Reason.CAPTURED_AT_NAIVE


@pytest.mark.parametrize("field", ["ce_id", "ce_cardtoken", "ce_sessionid", "ce_camera", "ce_imageuri"])
def test_card_numbers_are_refused_wherever_they_stand(field: str) -> None:
    assert refused(changed(PICTURE, **{field: f"x {CARD}"})).reason is Reason.RAW_CARD_NUMBER
    with_card = structured(event_json(card_token=CARD, unknown="x", camera=""))
    assert refused(with_card).reason is Reason.RAW_CARD_NUMBER
    atm = changed(PICTURE, ce_subject=CARD, ce_source="/cam")
    assert refused(atm).reason is Reason.RAW_CARD_NUMBER


@pytest.mark.parametrize("camera", ["exitSlot", "cash-slot", "Dispenser"])
def test_cameras_that_see_no_person_are_refused(camera: str) -> None:
    assert refused(changed(PICTURE, ce_camera=camera)).reason is Reason.CASH_SLOT_CAMERA
    assert refused(structured(event_json(camera=camera))).reason is Reason.CASH_SLOT_CAMERA


def body(value: bytes | None, content_type: bytes = b"application/cloudevents+json") -> Message:
    return Message(None, value, (("content-type", content_type),))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (body(None), "no body"),
        (body(b""), "no body"),
        (body(b"{"), "not JSON"),
        (body(b"\xff\xfe{}"), "not JSON"),
        (body(b"[" * 5000), "not JSON"),
        (body(b'{"a":NaN}'), "not JSON"),
        (body(b"[1]"), "not a JSON object"),
        (body(b"{}"), "specversion is missing"),
        (body(b"[" + b"1," * 200_000 + b"1]"), "more values than any event"),
        (structured(event_json(), specversion="2.0"), "specversion"),
        (structured(event_json(), id=None), "lacks id"),
        (structured(event_json(), id=7.5), "lacks id"),
        (structured(event_json(), type="com.atmwatch.event.v9"), "newer"),
        (structured(), "neither data nor data_base64"),
        (structured(event_json(), data_base64="AAAA"), "or both"),
        (structured("text"), "data is not a JSON object"),
        (structured(data_base64=7), "data_base64 is not text"),
        (structured(data_base64="!!"), "data_base64 is not base64"),
        (structured(data_base64="\u00fc"), "data_base64 is not base64"),
        (structured(event_json(schema_version=2)), "not of schema version 1: a newer atmwatch"),
        (structured(event_json(sha256=None)), "lacks sha256"),
        (structured(event_json(image_uri=None, sha256=None)), "lacks image_uri and sha256"),
        (structured(event_json(sha256="AB")), "sha256: "),
        (structured(event_json(image="AAAA")), "image: a picture is the message's body"),
        (structured(event_json(colour="red")), "colour: extra inputs are not permitted"),
        (structured(event_json(**{CARD: 1})), "(a name): extra inputs"),
        (structured(event_json(**{"x" * 5000: 1, "ü\n": 1})), "(a name): extra inputs"),
        (structured(event_json(**{f"x{i}": 1 for i in range(500)})), "more than 100 faults"),
        (structured(event_json(captured_at="0001-01-01T00:00:00+14:00")), "outside of the years"),
        (structured(event_json(event_id="a\nb")), "event_id: "),
        (structured(event_json(received_at="2024-05-01T12:00:00")), "received_at: "),
    ],
)
def test_a_wrong_structured_event(message: Message, text: str) -> None:
    bad(message, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", "no body"),
        (b"{", "JSON"),
        (b"\x00" * 50, "JSON"),
        (b"[]", "object"),
        (face_json(vector=""), "vector: not a row of finite"),
        (face_json(vector="AAAA"), "vector: not a row of finite"),
        (face_json(vector="!"), "vector: "),
        (face_json(vector=base64.b64encode(np.array([np.nan, 1], "<f4").tobytes()).decode()), "vector: not a row"),
        (face_json(vector=base64.b64encode(np.array([np.inf, 1], "<f4").tobytes()).decode()), "vector: not a row"),
        (face_json(extra=1), "extra: "),
        (face_json(schema_version=2), "schema version"),
        (face_json(event=event_json(image="AAAA")), "event.image"),
        (face_json(event=event_json(schema_version=2)), "event.schema_version"),
        (face_json(event=event_json(captured_at="0001-01-01T00:00:00Z")), "outside of the years"),
    ],
)
def test_a_wrong_face(value: bytes, text: str) -> None:
    bad(Message(None, value, encode(FACE).headers), text, FaceEmbedding)


def test_a_face_is_no_picture() -> None:
    bad(changed(encode(FACE), content_type="image/jpeg"), "body of application/json", FaceEmbedding)
    card = Message(None, face_json(event=event_json(session_id=CARD)), encode(FACE).headers)
    assert refused(card, FaceEmbedding).reason is Reason.RAW_CARD_NUMBER


def test_sizes_are_bounded_before_anything_is_read() -> None:
    assert refused(changed(PICTURE, value=b"x" * 30_000_000)).reason is Reason.TOO_MANY_BYTES
    assert refused(body(b"x" * 30_000_000)).reason is Reason.TOO_MANY_BYTES
    assert refused(Message(None, b"x" * 2_000_000, encode(FACE).headers), FaceEmbedding).reason is Reason.TOO_MANY_BYTES
    assert refused(structured(event_json(camera="x" * 2_000_000))).reason is Reason.TOO_MANY_BYTES
    long = (*PICTURE.headers, ("x", b"y" * 70_000))
    assert refused(Message(None, JPEG, long)).reason is Reason.TOO_MANY_BYTES
    assert refused(PICTURE, limits=MessageLimits(max_value_bytes=10)).reason is Reason.TOO_MANY_BYTES
    many: Mapping[str, str] = {f"h{i}": "" for i in range(40)}
    assert decode(changed(PICTURE, **many), AtmEvent) == WITH_PICTURE


def test_clocks_may_run_ahead_a_little() -> None:
    tolerance = timedelta(minutes=5)
    for zone in (UTC, timezone(timedelta(hours=5))):
        check_clock(EVENT, (AT - tolerance).astimezone(zone), tolerance)
        with pytest.raises(BadRecord) as caught:
            check_clock(EVENT, (AT - tolerance - timedelta(microseconds=1)).astimezone(zone), tolerance)
        assert caught.value.reason is Reason.CAPTURED_AT_IN_FUTURE


TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        (b"00-" + TRACE + b"-" + SPAN + b"-01", b"00-" + TRACE + b"-" + SPAN + b"-01"),
        (b" 00-" + TRACE + b"-" + SPAN + b"-ff\t", b"00-" + TRACE + b"-" + SPAN + b"-ff"),
        (b"cc-" + TRACE + b"-" + SPAN + b"-03-what-follows", b"00-" + TRACE + b"-" + SPAN + b"-01"),
        (b"cc-" + TRACE + b"-" + SPAN + b"-02", b"00-" + TRACE + b"-" + SPAN + b"-00"),
        (b"cc-" + TRACE + b"-" + SPAN + b"-03.what", None),
        (b"00-" + TRACE + b"-" + SPAN + b"-01-more", None),
        (b"ff-" + TRACE + b"-" + SPAN + b"-01", None),
        (b"00-" + b"0" * 32 + b"-" + SPAN + b"-01", None),
        (b"00-" + TRACE + b"-" + b"0" * 16 + b"-01", None),
        (b"00-" + TRACE.upper() + b"-" + SPAN + b"-01", None),
        (b"00-" + TRACE + b"-" + SPAN, None),
        (b"\xff", None),
        (b"", None),
        (b"x" * 10_000, None),
    ],
)
def test_trace_parents(given: bytes, carried: bytes | None) -> None:
    found = trace_headers((("x", b"y"), ("TraceParent", given)))
    assert found == (() if carried is None else (("traceparent", carried),))


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        ([b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ([b"a=1 , ,b=2", b"c@d=3"], b"a=1,b=2,c@d=3"),
        ([b"a=1,a=2"], None),
        ([b"A=1"], None),
        ([b"a=\xff"], None),
        ([b"a"], None),
        ([b""], None),
        ([b",".join(b"k%d=v" % i for i in range(33))], None),
        ([b",".join(b"k%d=%s" % (i, b"v" * 100) for i in range(12))], None),
    ],
)
def test_trace_states(given: list[bytes], carried: bytes | None) -> None:
    states = [("tracestate", value) for value in given]
    assert trace_headers([PARENT, *states]) == (PARENT, *([("tracestate", carried)] if carried else []))
    assert trace_headers(states) == ()
    assert trace_headers([PARENT, PARENT, *states]) == ()
    carrying = encode(FACE, trace=(PARENT, *states))
    assert trace_headers(carrying.headers) == trace_headers([PARENT, *states])
    assert decode(carrying, FaceEmbedding) == FACE
