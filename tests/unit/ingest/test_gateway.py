"""The gateway from request to answer, with a broker of the test's own making."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Thread
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ingest.cloudevents import event_attributes
from ingest.codec import decode, encode
from ingest.errors import AtmwatchError, BadRecord, Superseded, Unavailable
from ingest.gateway.app import Parts, create_app, document, framed
from ingest.gateway.config import GatewayConfig
from ingest.gateway.intake import Done
from ingest.gateway.keys import Client, Keys
from ingest.gateway.openapi import REFUSED
from ingest.gateway.receive import Submission
from ingest.limits import ImageLimits
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource
from ingest.trace_context import Headers

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
AT = "2026-03-01T10:00:00+01:00"
NOW = datetime(2026, 3, 2, tzinfo=UTC)
KEY, OTHER_KEY = "k" * 43, "o" * 43
BEARER = {"Authorization": f"Bearer {KEY}"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
URL = "/v1/events"
CARD = "4111111111111111"
TOKEN = {"card_token": "tok-secret"}

Call = Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]


class Broker:
    """Acknowledges from a thread of its own, as the real client does, or does what a test wants."""

    def __init__(self, answer: AtmwatchError | None = None, *, silent: bool = False) -> None:
        self.sent: list[tuple[AtmEvent, Headers]] = []
        self.answer = answer
        self.silent = silent
        self.refuse: AtmwatchError | None = None
        self.waiting: list[Done] = []

    def send(self, record: AtmEvent, done: Done, trace: Headers = ()) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.sent.append((record, trace))
        if self.silent:
            self.waiting.append(done)
        else:
            Thread(target=done, args=(self.answer,)).start()

    @property
    def events(self) -> list[AtmEvent]:
        return [event for event, _ in self.sent]


def keys() -> Keys:
    return Keys(
        {
            sha256(KEY.encode()).digest(): Client("branch-7"),
            sha256(OTHER_KEY.encode()).digest(): Client("branch-8", ("ATM-8", "ATM-9")),
        }
    )


def ask(call: Call, broker: Broker | None = None, **changed: Any) -> Any:
    """What ``call`` gives of a client of a gateway with these settings; ``parts`` are those of its Parts."""
    more = changed.pop("parts", {})
    config = GatewayConfig.model_validate({"ack_timeout_s": 2, "burst": 1000, **changed})
    parts = Parts(**{"keys": keys(), "sender": broker or Broker(), "now": lambda: NOW, **more})

    async def run() -> Any:
        transport = httpx.ASGITransport(framed(create_app(config, parts), parts), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=BEARER) as client:
            return await call(client)

    return asyncio.run(run())


def post(broker: Broker | None = None, settings: dict[str, Any] | None = None, **request: Any) -> httpx.Response:
    async def call(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(URL, **request)

    answer: httpx.Response = ask(call, broker, **(settings or {}))
    return answer


def form(image: bytes = JPEG, **event: Any) -> dict[str, Any]:
    fields = {"event_id": "e1", "atm_id": "ATM-1", "captured_at": AT, **event}
    text = json.dumps({name: value for name, value in fields.items() if value is not None})
    return {"files": {"event": (None, text, "application/json"), "image": ("face.jpg", image, "image/jpeg")}}


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """The detail of a problem, which must be in order."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == code
    assert body["type"] == f"urn:atmwatch:problem:{code}"
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert set(body) == {"type", "title", "status", "code", "detail", "request_id"}
    detail: str = body["detail"]
    return detail


def test_a_picture_and_its_event_are_accepted() -> None:
    broker = Broker()
    answer = post(broker, **form(**TOKEN, session_id="s1"), headers={"traceparent": TRACE})
    assert answer.status_code == 202
    assert answer.json() == {"event_id": "e1", "status": "accepted"}
    ((event, trace),) = broker.sent
    assert event.image == JPEG
    assert (event.atm_id, event.session_id, event.card_token) == ("ATM-1", "s1", TOKEN["card_token"])
    assert event.captured_at == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert event.received_at == NOW
    assert trace == (("traceparent", TRACE.encode()),)
    assert decode(encode(event), AtmEvent) == event


def test_a_claim_check_is_accepted() -> None:
    broker = Broker()
    claim = {"image_uri": "https://pictures.example/1.jpg", "sha256": "a" * 64}
    event = {"event_id": "e1", "atm_id": "ATM-1", "captured_at": AT, "received_at": AT, **claim}
    assert post(broker, json=event).status_code == 202
    assert broker.events[0].image is None
    assert broker.events[0].image_uri == claim["image_uri"]
    assert broker.events[0].received_at == datetime(2026, 3, 1, 9, tzinfo=UTC)


def headers_of(event: AtmEvent) -> dict[str, str]:
    return {f"ce-{name}": text for name, text in event_attributes(event).items()}


def test_cloudevents_of_binary_mode_are_accepted() -> None:
    broker = Broker()
    wanted = AtmEvent(
        event_id="e 1",
        atm_id="ATM-1",
        captured_at=datetime(2026, 3, 1, tzinfo=UTC),
        received_at=NOW,
        clock=ClockSource.CAMERA,
        amount="12.50",  # type: ignore[arg-type]
        currency="EUR",
        image=PNG,
    )
    headers = {
        **headers_of(wanted),
        "ce-id": '"e\\ 1"',
        "ce-transactiontype": "d%C3%A9p%25",
        "content-type": "image/png",
    }
    answer = post(broker, content=PNG, headers=headers)
    assert answer.json() == {"event_id": "e 1", "status": "accepted"}
    assert broker.events == [wanted.model_copy(update={"transaction_type": "dép%"})]


def test_cloudevents_of_structured_mode_are_accepted() -> None:
    broker = Broker()
    event = AtmEvent(
        event_id="e1",
        atm_id="ATM-1",
        captured_at=NOW,
        received_at=NOW,
        image_uri="https://x.example/a",
        sha256="b" * 64,
    )
    message = encode(event)
    answer = post(broker, content=message.value, headers={"content-type": "application/cloudevents+json"})
    assert answer.status_code == 202
    assert broker.events == [event]


def test_cloudevents_with_json_data_are_accepted() -> None:
    broker = Broker()
    event = AtmEvent(
        event_id="e1",
        atm_id="ATM-1",
        captured_at=NOW,
        received_at=NOW,
        image_uri="https://x.example/a",
        sha256="b" * 64,
    )
    headers = {**headers_of(event), "content-type": "application/json"}
    assert post(broker, content=event.to_json(), headers=headers).status_code == 202
    assert broker.events == [event]


def test_the_id_is_derived_from_atm_time_and_picture() -> None:
    def derived(image: bytes = JPEG, **event: Any) -> str:
        event_id: str = post(**form(image, event_id=None, **event)).json()["event_id"]
        return event_id

    first = derived()
    assert first == derived(captured_at="2026-03-01T09:00:00Z", session_id="another")
    others = [derived(PNG), derived(atm_id="ATM-2"), derived(captured_at="2026-03-01T09:00:01Z")]
    assert len({first, *others}) == 4

    claim = {
        "atm_id": "ATM-1",
        "captured_at": AT,
        "image_uri": "https://x.example/1",
        "sha256": sha256(JPEG).hexdigest(),
    }
    assert post(json=claim).json()["event_id"] == first


def test_the_same_event_again_is_a_duplicate_and_not_sent() -> None:
    broker = Broker()

    async def call(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post(URL, **form()) for _ in range(3)]

    answers = ask(call, broker)
    assert [answer.status_code for answer in answers] == [202] * 3
    assert [answer.json()["status"] for answer in answers] == ["accepted", "duplicate", "duplicate"]
    assert len(broker.sent) == 1


@pytest.mark.parametrize("other", [form(PNG), form(session_id="s2"), form(captured_at="2026-03-01T09:00:01Z")])
def test_another_event_of_the_same_id_is_a_conflict(other: dict[str, Any]) -> None:
    async def call(client: httpx.AsyncClient) -> httpx.Response:
        await client.post(URL, **form())
        return await client.post(URL, **other)

    refused(ask(call), 409, "event_id_conflict")


def test_only_the_last_ids_are_remembered() -> None:
    broker = Broker()

    async def call(client: httpx.AsyncClient) -> list[str]:
        order = ["a", "b", "a", "c", "a", "b"]  # c pushes out b, which was seen longest ago
        return [(await client.post(URL, **form(event_id=name))).json()["status"] for name in order]

    told = ask(call, broker, remembered=2)
    assert told == ["accepted", "accepted", "duplicate", "accepted", "duplicate", "accepted"]


def test_requests_for_one_event_wait_for_one_acknowledgement() -> None:
    broker = Broker(silent=True)

    async def call(client: httpx.AsyncClient) -> list[httpx.Response]:
        requests = [asyncio.create_task(client.post(URL, **form())) for _ in range(3)]
        requests.append(asyncio.create_task(client.post(URL, **form(PNG))))
        while not broker.waiting:
            await asyncio.sleep(0.005)
        await asyncio.wait(requests[-1:])
        assert not any(request.done() for request in requests[:-1])
        broker.waiting[0](None)
        return await asyncio.gather(*requests)

    answers = ask(call, broker)
    refused(answers.pop(), 409, "event_id_conflict")
    assert sorted(answer.json()["status"] for answer in answers) == ["accepted", "duplicate", "duplicate"]
    assert len(broker.sent) == 1


@pytest.mark.parametrize("error", [Unavailable("Kafka", 3.2), Superseded("gone")])
def test_what_the_broker_does_not_take_is_a_503_and_can_be_sent_again(error: AtmwatchError) -> None:
    broker = Broker(error)

    async def call(client: httpx.AsyncClient) -> list[httpx.Response]:
        first = await client.post(URL, **form())
        broker.answer = None
        return [first, await client.post(URL, **form())]

    first, second = ask(call, broker)
    refused(first, 503, "broker_unavailable")
    assert first.headers["retry-after"] == ("4" if isinstance(error, Unavailable) else "1")
    assert second.json()["status"] == "accepted"


def test_without_a_broker_nothing_is_accepted() -> None:
    broker = Broker()
    broker.refuse = Unavailable("Kafka")
    answer = post(broker, **form())
    refused(answer, 503, "broker_unavailable")
    assert "retry-after" in answer.headers


def test_a_broker_that_finds_an_event_too_large_is_a_413() -> None:
    refused(post(Broker(BadRecord(Reason.TOO_MANY_BYTES, "Too large.")), **form()), 413, "too_many_bytes")


def test_a_late_acknowledgement_is_known_to_the_next_request() -> None:
    broker = Broker(silent=True)

    async def call(client: httpx.AsyncClient) -> list[httpx.Response]:
        first = await client.post(URL, **form())
        broker.waiting[0](None)
        return [first, await client.post(URL, **form())]

    first, second = ask(call, broker, ack_timeout_s=0.05)
    refused(first, 503, "broker_unavailable")
    assert second.json()["status"] == "duplicate"


def test_an_acknowledgement_after_the_loop_has_ended_disturbs_nobody() -> None:
    broker = Broker(silent=True)
    refused(post(broker, {"ack_timeout_s": 0.01}, **form()), 503, "broker_unavailable")
    broker.waiting[0](None)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", f"Bearer {'x' * 43}", f"Basic {KEY}", KEY, f"Bearer {KEY} {KEY}", "Bearer short"],
)
def test_strangers_are_sent_away(authorization: str | None) -> None:
    broker = Broker()
    headers = {} if authorization is None else {"Authorization": authorization}

    async def call(client: httpx.AsyncClient) -> httpx.Response:
        del client.headers["Authorization"]
        return await client.post(URL, **form(), headers=headers)

    answer = ask(call, broker)
    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not broker.sent


def test_a_key_may_be_for_some_atms_alone() -> None:
    headers = {"Authorization": f"bearer {OTHER_KEY}"}
    refused(post(**form(), headers=headers), 403, "forbidden_atm")
    assert post(**form(atm_id="ATM-92"), headers=headers).status_code == 202


def test_anonymous_clients_only_where_they_are_allowed() -> None:
    async def call(client: httpx.AsyncClient) -> list[httpx.Response]:
        with_wrong_key = await client.post(URL, **form(), headers={"Authorization": f"Bearer {'x' * 43}"})
        del client.headers["Authorization"]
        return [with_wrong_key, await client.post(URL, **form())]

    wrong, none = ask(call, parts={"keys": Keys({}, anonymous=Client("anonymous"))})
    refused(wrong, 401, "unauthenticated")
    assert none.status_code == 202


def test_each_client_has_its_rate() -> None:
    others = {"Authorization": f"Bearer {OTHER_KEY}"}

    async def call(client: httpx.AsyncClient) -> list[httpx.Response]:
        mine = [await client.post(URL, **form(event_id=f"e{number}")) for number in range(3)]
        return [*mine, await client.post(URL, **form(event_id="e8", atm_id="ATM-8"), headers=others)]

    first, second, third, other = ask(call, rate_per_s=0.25, burst=2)
    assert [first.status_code, second.status_code, other.status_code] == [202, 202, 202]
    refused(third, 429, "rate_limited")
    assert third.headers["retry-after"] == "4"


def test_what_is_in_flight_is_bounded_until_it_is_acknowledged() -> None:
    broker = Broker(silent=True)

    async def call(client: httpx.AsyncClient) -> list[httpx.Response]:
        late = await client.post(URL, **form())
        full = await client.post(URL, **form(event_id="e2"))
        broker.waiting[0](None)
        await asyncio.sleep(0)
        broker.silent = False
        return [late, full, await client.post(URL, **form(event_id="e3"))]

    late, full, room = ask(call, broker, ack_timeout_s=0.05, max_in_flight=1)
    refused(late, 503, "broker_unavailable")
    refused(full, 503, "overloaded")
    assert full.headers["retry-after"] == "1"
    assert room.status_code == 202


def test_bytes_in_flight_are_bounded() -> None:
    broker = Broker(silent=True)
    size = 64 * 1024

    async def call(client: httpx.AsyncClient) -> httpx.Response:
        large = JPEG + bytes(40_000)
        await client.post(URL, **form(large))
        return await client.post(URL, **form(large, event_id="e2"))

    answer = ask(call, broker, ack_timeout_s=0.05, max_body_bytes=size, max_in_flight_bytes=size)
    refused(answer, 503, "overloaded")


async def pieces(count: int, piece: bytes = bytes(65_536)) -> AsyncIterator[bytes]:
    yield JPEG
    for _ in range(count):
        yield piece


BINARY = {**headers_of(AtmEvent(event_id="e1", atm_id="ATM-1", captured_at=NOW)), "content-type": "image/jpeg"}


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_limit_is_refused_while_it_comes(announced: bool) -> None:
    broker = Broker()
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        async for piece in pieces(1000):
            read += 1
            yield piece

    content: Any = JPEG * 200 if announced else body()
    answer = post(broker, {"max_body_bytes": 128 * 1024}, content=content, headers=BINARY)
    refused(answer, 413, "body_too_large")
    assert (answer.headers.get("connection") == "close") is not announced
    assert read < 10
    assert not broker.sent


def test_a_picture_beyond_the_limit_is_refused_in_every_form() -> None:
    parts = {"parts": {"limits": ImageLimits(max_bytes=2000)}}
    large = JPEG * 2
    refused(post(None, parts, **form(large)), 413, "body_too_large")
    refused(post(None, parts, content=large, headers=BINARY), 413, "body_too_large")
    event = {"specversion": "1.0", "id": "1", "source": "/atms/A", "type": "com.atmwatch.event.v1", "time": AT}
    body = json.dumps({**event, "data_base64": b64encode(large).decode()})
    answer = post(None, parts, content=body, headers={"content-type": "application/cloudevents+json"})
    refused(answer, 413, "too_many_bytes")


def test_an_event_beyond_its_limit_is_refused_in_every_form() -> None:
    settings = {"max_event_bytes": 1024}
    refused(post(None, settings, **form(session_id="x" * 2000)), 413, "body_too_large")
    refused(post(None, settings, json={"session_id": "x" * 2000}), 413, "body_too_large")


def test_a_body_that_does_not_come_is_given_up() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield JPEG
        await asyncio.sleep(5)

    answer = post(None, {"body_timeout_s": 0.05}, content=slow(), headers=BINARY)
    refused(answer, 408, "slow_body")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"GIF is not this", 415, "not_an_image"),
        (b"%PDF-1.7" + bytes(99), 415, "not_an_image"),
    ],
)
def test_what_is_no_picture_is_refused(image: bytes, status: int, code: str) -> None:
    refused(post(**form(image)), status, code)
    refused(post(content=image, headers=BINARY), status, code)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"captured_at": None}, "captured_at_missing"),
        ({"captured_at": "2026-03-01T10:00:00"}, "captured_at_naive"),
        ({"captured_at": "2126-03-01T10:00:00Z"}, "captured_at_in_future"),
        ({"captured_at": "1912-03-01T10:00:00Z"}, "bad_record"),
        ({"captured_at": "9999-12-31T23:59:59-10:00"}, "bad_record"),
        ({"atm_id": None}, "bad_record"),
        ({"atm_id": CARD}, "raw_card_number"),
        ({"card_token": CARD}, "raw_card_number"),
        ({"scope": "nowhere"}, "unknown_scope"),
        ({"camera": "cash-slot"}, "cash_slot_camera"),
        ({"sha256": "0" * 64}, "checksum_mismatch"),
        ({"favourite_colour": "blue"}, "bad_record"),
        ({"schema_version": 2}, "bad_record"),
    ],
)
def test_a_faulty_event_is_refused_with_its_reason(event: dict[str, Any], code: str) -> None:
    broker = Broker()
    detail = refused(post(broker, **form(**event)), 422, code)
    for value in event.values():
        assert value is None or str(value) not in detail or value == 2
    assert not broker.sent


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff", b"{" * 900])
def test_what_is_no_event_is_refused(content: bytes) -> None:
    refused(post(content=content, headers={"content-type": "application/json"}), 422, "bad_record")


def test_a_picture_is_never_in_the_json() -> None:
    event = {"event_id": "e1", "atm_id": "ATM-1", "captured_at": AT, "image": b64encode(JPEG).decode()}
    detail = refused(post(json=event), 422, "bad_record")
    assert detail.startswith("image:")


def test_a_submission_shows_sizes_alone() -> None:
    assert repr(Submission(b"{}", JPEG)) == "Submission(2 bytes of JSON, 1,028 of picture)"


def test_an_event_without_a_picture_or_the_way_to_one_is_refused() -> None:
    refused(post(json={"atm_id": "ATM-1", "captured_at": AT}), 422, "bad_record")


def test_a_picture_without_attributes_is_refused() -> None:
    detail = refused(post(content=JPEG, headers={"content-type": "image/jpeg"}), 422, "bad_record")
    assert "specversion" in detail


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "video/mp4", "", "a" * 500]
)
def test_other_types_are_refused(content_type: str) -> None:
    refused(post(content=JPEG, headers={"content-type": content_type}), 415, "unsupported_media_type")


def test_encoded_bodies_are_refused() -> None:
    answer = post(content=b"x", headers={"content-type": "application/json", "content-encoding": "gzip"})
    refused(answer, 415, "unsupported_media_type")


B = "----b0"
MULTIPART = {"content-type": f"multipart/form-data; boundary={B}"}


def part(name: str | None, content: str = "x", end: str = "") -> str:
    disposition = "attachment" if name is None else f'form-data; name="{name}"'
    return f"--{B}\r\nContent-Disposition: {disposition}\r\nX-Other: 1\r\n\r\n{content}\r\n{end}"


END = f"--{B}--\r\n"
EVENT = part("event", json.dumps({"event_id": "e1", "atm_id": "ATM-1", "captured_at": AT}))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nonsense",
        EVENT + END,
        part("image") + END,
        EVENT + part("image"),
        EVENT + EVENT + part("image") + END,
        EVENT + part("image") + part("notes") + END,
        EVENT + part(None) + END,
        f"--{B}\r\nno header at all",
        f"--{B}\r\n" + "A: b\r\n" * 100 + "\r\n",
    ],
)
def test_a_malformed_form_is_refused(body: str) -> None:
    refused(post(content=body.encode(), headers=MULTIPART), 400, "malformed_request")


@pytest.mark.parametrize("content_type", ["multipart/form-data", f"multipart/form-data; boundary={'x' * 500}"])
def test_a_form_without_a_boundary_is_refused(content_type: str) -> None:
    refused(post(content=EVENT.encode(), headers={"content-type": content_type}), 400, "malformed_request")


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_a_form_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    body = (EVENT + part("image", "\xff\xd8\xff\r\n--pixels-\r\n" + B) + END).encode("latin-1")
    broker = Broker()

    async def stream() -> AsyncIterator[bytes]:
        rest, number = body, 0
        while rest:
            size = cuts[number % len(cuts)]
            yield rest[:size]
            rest, number = rest[size:], number + 1

    assert post(broker, content=stream(), headers=MULTIPART).status_code == 202
    assert broker.events[0].image == b"\xff\xd8\xff\r\n--pixels-\r\n" + B.encode()


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("GET", URL, 405, "method_not_allowed"),
    ("POST", "/v1/events/", 404, "not_found"),
    ("GET", "/docs", 404, "not_found"),
    ("GET", "/redoc", 404, "not_found"),
    ("GET", "/openapi.json", 404, "not_found"),
    ("GET", "/healthz", 404, "not_found"),
])  # fmt: skip
def test_nothing_else_is_here(method: str, path: str, status: int, code: str) -> None:
    async def call(client: httpx.AsyncClient) -> httpx.Response:
        return await client.request(method, path)

    answer = ask(call)
    refused(answer, status, code)
    assert status != 405 or answer.headers["allow"] == "POST"


def test_the_openapi_document_is_served_where_it_is_wanted() -> None:
    async def call(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("/openapi.json")

    assert ask(call, openapi=True).json() == document()


@pytest.mark.parametrize("path", [URL, "/elsewhere"])
def test_every_answer_has_safe_headers_and_an_id(path: str) -> None:
    async def call(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(path, **form())

    answer = ask(call)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("given_id", "kept"), [("abc-1.2_3", True), ("", False), ("a b", False), ("x" * 65, False), (CARD, False)]
)
def test_a_sane_request_id_is_kept(given_id: str, kept: bool) -> None:
    found = post(**form(), headers={"X-Request-ID": given_id}).headers["x-request-id"]
    assert (found == given_id) is kept
    assert found


def test_a_defect_is_a_500_without_its_text() -> None:
    broker = Broker()
    broker.refuse = RuntimeError("secret")  # type: ignore[assignment]
    answer = post(broker, **form())
    detail = refused(answer, 500, "internal_error")
    assert "secret" not in detail


def test_answers_are_measured_and_refusals_logged_without_content() -> None:
    seen: list[tuple[int, float]] = []
    parts = {"observe": lambda status, seconds: seen.append((status, seconds))}
    with capture_logs() as logs:
        post(None, {"parts": parts}, **form())
        answer = post(None, {"parts": parts}, **form(**TOKEN, scope="nowhere"))
    assert [status for status, _ in seen] == [202, 422]
    assert all(0 < seconds < 5 for _, seconds in seen)
    (line,) = logs
    assert (line["status"], line["code"]) == (422, "unknown_scope")
    assert "nowhere" not in str(logs) + answer.text
    assert TOKEN["card_token"] not in str(logs) + answer.text


def test_a_client_that_goes_away_leaves_no_trace() -> None:
    """The disconnection comes in the middle of the body."""
    broker = Broker()
    config = GatewayConfig(max_in_flight=1)
    parts = Parts(keys(), broker, now=lambda: NOW)
    app = framed(create_app(config, parts), parts)
    headers = [(b"authorization", BEARER["Authorization"].encode()), (b"content-type", b"image/jpeg")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": URL,
        "raw_path": URL.encode(),
        "query_string": b"",
        "headers": headers,
    }
    messages = [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def run() -> None:
        for _ in range(2):
            coming = iter(messages)

            async def receive(coming: Any = coming) -> Any:
                return next(coming)

            async def send(message: Any) -> None:
                sent.append(message)

            await app(dict(scope), receive, send)

    asyncio.run(run())
    assert [message["status"] for message in sent if "status" in message] == [400, 400]
    assert not broker.sent


def test_a_content_length_that_is_no_number_is_refused() -> None:
    refused(post(content=pieces(1), headers={**BINARY, "content-length": "-1"}), 400, "malformed_request")


def test_what_is_not_http_is_passed_on() -> None:
    seen: list[str] = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    parts = Parts(keys(), Broker())
    asyncio.run(framed(inner, parts)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_times_are_held_against_the_clock() -> None:
    soon = datetime.now(UTC) + timedelta(minutes=4)
    assert post(**form(captured_at=soon.isoformat())).status_code == 202


def test_the_document_tells_of_every_code() -> None:
    told = document()
    post_event = told["paths"][URL]["post"]
    assert post_event["security"] == [{"apiKey": []}]
    assert set(post_event["requestBody"]["content"]) >= {"multipart/form-data", "application/json", "image/jpeg"}
    assert set(post_event["responses"]) == {"202", *map(str, REFUSED)}
    assert "event_id" not in told["components"]["schemas"]["AtmEvent"]["required"]
    text = json.dumps(told)
    names = [reference.partition('"')[0] for reference in text.split('"#/components/schemas/')[1:]]
    assert set(names) <= set(told["components"]["schemas"])


def test_the_documents_gateway_sends_nowhere() -> None:
    from ingest.gateway.app import _Nowhere

    with pytest.raises(Unavailable):
        _Nowhere().send(AtmEvent(event_id="e", atm_id="a", captured_at=NOW), lambda _: None)
