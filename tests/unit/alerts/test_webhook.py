"""Alerts by HTTP: what is sent, what a receiver can check, and what becomes of each kind of answer."""

from __future__ import annotations

import hmac
import json
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.records import Alert, Severity
from alerts.signature import ID, SIGNATURE, TIMESTAMP, NotAuthentic, Secret, signed, verify
from alerts.webhook import Outcome, WebhookOptions, WebhookSink, cloud_event
from ingest.errors import Unavailable, UsageError
from ingest.records import Position

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
KEY = bytes(range(32))
TEXT = "whsec_" + b64encode(KEY).decode()
SECRET, NEXT = Secret(TEXT), Secret("whsec_" + b64encode(KEY[::-1]).decode())
URL = "https://bank.example/hooks/atm"


def an_alert() -> Alert:
    return Alert(
        alert_id="alert-1",
        rule_id="R1",
        title="Often seen",
        severity=Severity.HIGH,
        subject="pü",
        episode=1,
        raised_at=NOON,
        window_start=NOON,
        measured={"visits_24h": 3},
        limits={"visits_24h": 3},
        confidence=0.9,
        evidence=(),
        position=Position(offset=0),
    )


def answering(status: int, *pieces: bytes, **headers: str) -> httpx.Response:
    """An answer that is yet to be read, as from a server."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, content=iter(pieces))


def breaking_off() -> Iterator[bytes]:
    yield b"o"
    message = "gone"
    raise httpx.ReadError(message)


class Receiver:
    """Answers as told, and keeps what came."""

    def __init__(self, *answers: int | httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answering(answer) if isinstance(answer, int) else answer


class Kept:
    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def deliver(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def close(self) -> None:
        """Nothing to let go of."""


class Bench:
    """A sink, and all that it does."""

    def __init__(self, *answers: int | httpx.Response | Exception, secrets: tuple[Secret, ...] = (SECRET,)) -> None:
        self.receiver = Receiver(*answers)
        self.refused = Kept()
        self.outcomes: list[str] = []
        self.waits: list[float] = []
        self.sink = WebhookSink(
            WebhookOptions(URL),
            secrets,
            refused=self.refused,
            on_outcome=self.outcomes.append,
            wait=self.waits.append,
            transport=httpx.MockTransport(self.receiver),
        )

    def deliver(self) -> None:
        self.sink.deliver(an_alert())


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*answers: int | httpx.Response | Exception, **more: tuple[Secret, ...]) -> Bench:
        made.append(Bench(*answers, **more))
        return made[-1]

    yield make
    for one in made:
        one.sink.close()


def test_an_alert_is_a_signed_cloud_event(bench: Callable[..., Bench]) -> None:
    one = bench(204)
    one.deliver()
    (request,) = one.receiver.requests
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["content-type"].startswith("application/cloudevents+json")
    event = json.loads(request.content)
    assert Alert.model_validate(event.pop("data")) == an_alert()
    assert event == {
        "specversion": "1.0",
        "id": "alert-1",
        "source": "/atmwatch/alert",
        "type": "com.atmwatch.alert.v1",
        "time": "2024-03-04T12:00:00Z",
        "subject": "pü",
        "datacontenttype": "application/json",
    }
    assert request.content == cloud_event(an_alert())
    assert verify(request.headers, request.content, [SECRET], now=time.time()) == "alert-1"
    assert one.outcomes == ["delivered"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_may_pass_is_tried_again_with_the_same_id(bench: Callable[..., Bench], status: int) -> None:
    one = bench(status, httpx.ConnectError("no"), httpx.ReadTimeout("slow"), 200)
    one.deliver()
    assert {request.headers[ID] for request in one.receiver.requests} == {"alert-1"}
    assert len({request.content for request in one.receiver.requests}) == 1
    assert one.outcomes == ["retried", "retried", "retried", "delivered"]
    assert all(0.5 * most <= wait <= most for wait, most in zip(one.waits, [0.2, 0.4, 0.8], strict=True))


def test_an_outage_is_the_callers_to_wait_for(bench: Callable[..., Bench]) -> None:
    one = bench(*[503] * 4, 200)
    with pytest.raises(Unavailable, match="receiver"):
        one.deliver()
    assert one.outcomes == ["retried", "retried", "retried", "unavailable"]
    one.deliver()
    assert one.outcomes[-1] == "delivered"


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_kept_and_does_not_stand_in_the_way(
    bench: Callable[..., Bench], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(answering(status, location="https://elsewhere.example/"), 200)
    with caplog.at_level(logging.WARNING):
        one.deliver()
    assert one.refused.alerts == [an_alert()]
    assert one.outcomes == ["refused"]
    assert caplog.messages == [f"alert alert-1: the webhook's receiver refuses it with {status}"]
    one.deliver()
    assert one.outcomes == ["refused", "delivered"]
    assert {str(request.url) for request in one.receiver.requests} == {URL}


def test_a_receivers_wish_to_wait_is_kept(bench: Callable[..., Bench]) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)
    past = format_datetime((datetime.now(UTC) - timedelta(hours=1)).replace(tzinfo=None))
    answers = [answering(429, retry_after=wish) for wish in ("3", soon, past)]
    one = bench(*answers, 200)
    one.deliver()
    assert one.waits[0] == 3
    assert 2 < one.waits[1] <= 4
    assert one.waits[2] < 1


@pytest.mark.parametrize(("wish", "expected"), [("120", 120), ("99999999", 3600)])
def test_a_long_wish_to_wait_is_the_callers(bench: Callable[..., Bench], wish: str, expected: float) -> None:
    one = bench(answering(503, retry_after=wish))
    with pytest.raises(Unavailable) as caught:
        one.deliver()
    assert caught.value.retry_after == expected
    assert one.waits == []


@pytest.mark.parametrize("wish", ["soon", "-5", "x" * 100, "٣"])
def test_a_wish_that_says_nothing_is_none(bench: Callable[..., Bench], wish: str) -> None:
    one = bench(httpx.Response(503, headers=[(b"retry-after", wish.encode())], content=iter([b"x"])), 200)
    one.deliver()
    assert one.waits[0] <= 0.2


def test_an_endless_answer_is_not_read(bench: Callable[..., Bench]) -> None:
    pieces: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            pieces.append(1)
            yield b"x" * 8192

    one = bench(httpx.Response(200, content=endless()))
    one.deliver()
    assert len(pieces) < 20
    assert one.outcomes == ["delivered"]


def test_an_answer_that_breaks_off_is_an_answer(bench: Callable[..., Bench]) -> None:
    one = bench(httpx.Response(200, content=breaking_off()))
    one.deliver()
    assert one.outcomes == ["delivered"]


def test_secrets_can_be_changed_without_a_break(bench: Callable[..., Bench]) -> None:
    one = bench(200, secrets=(NEXT, SECRET))
    one.deliver()
    (request,) = one.receiver.requests
    for secrets in ([SECRET], [NEXT], [SECRET, NEXT]):
        assert verify(request.headers, request.content, secrets, now=time.time()) == "alert-1"
    with pytest.raises(NotAuthentic):
        verify(request.headers, request.content, [Secret(b64encode(b"x" * 32).decode())], now=time.time())


def test_the_signature_is_that_of_standard_webhooks() -> None:
    headers = signed("msg_1", 1614265330, b'{"test": 2432232314}', [SECRET])
    expected = hmac.new(KEY, b'msg_1.1614265330.{"test": 2432232314}', "sha256").digest()
    assert headers == {ID: "msg_1", TIMESTAMP: "1614265330", SIGNATURE: f"v1,{b64encode(expected).decode()}"}
    # The vector that the standard's own libraries test with.
    known = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert known.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@given(st.data())
def test_whatever_is_changed_is_not_authentic(data: st.DataObject) -> None:
    body = data.draw(st.binary(min_size=1, max_size=50))
    headers = signed("m", 1000, body, [SECRET])
    assert verify({name.upper(): value for name, value in headers.items()}, body, [SECRET], now=1000) == "m"
    at = data.draw(st.integers(0, len(body) - 1))
    changed = bytes([*body[:at], body[at] ^ data.draw(st.integers(1, 255)), *body[at + 1 :]])
    other = {ID: "n", TIMESTAMP: "1001", SIGNATURE: "v1," + headers[SIGNATURE][4:]}
    name = data.draw(st.sampled_from(list(other)))
    for forged, content in (
        (headers, changed),
        (headers | {name: other[name]}, body),
        ({n: v for n, v in headers.items() if n != name}, body),
    ):
        with pytest.raises(NotAuthentic) as caught:
            verify(forged, content, [SECRET], now=1000)
        assert headers[SIGNATURE] not in str(caught.value)


@pytest.mark.parametrize("timestamp", ["", "x", "-1", "1e3", "9" * 20, "1000.0", "٣"])
def test_a_timestamp_must_be_one(timestamp: str) -> None:
    headers = signed("m", 1000, b"", [SECRET]) | {TIMESTAMP: timestamp}
    with pytest.raises(NotAuthentic, match="number of seconds"):
        verify(headers, b"", [SECRET], now=1000)


@pytest.mark.parametrize(("now", "good"), [(1300, True), (700, True), (1301, False), (699, False)])
def test_a_message_of_long_ago_is_not_taken(now: int, good: bool) -> None:
    headers = signed("m", 1000, b"", [SECRET])
    if good:
        verify(headers, b"", [SECRET], now=now)
    else:
        with pytest.raises(NotAuthentic, match="300 s"):
            verify(headers, b"", [SECRET], now=now)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!", "whsec_AAAA", b64encode(b"x" * 65).decode(), "ünd"])
def test_a_secret_must_be_one(text: str) -> None:
    with pytest.raises(UsageError, match="webhook secret") as caught:
        Secret(text)
    assert not text or text not in str(caught.value).replace("whsec_ ", "")


def test_secrets_come_from_a_file_and_are_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text(f"{TEXT}\n{TEXT}\n")
    secrets = Secret.read(path)
    assert len(secrets) == 2
    assert secrets[0].sign("m", 1, b"") == SECRET.sign("m", 1, b"")
    assert repr(secrets) == "(Secret(…), Secret(…))"
    for content in (b"", b"\xff", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(UsageError):
            Secret.read(path)
    with pytest.raises(UsageError, match="can't be read"):
        Secret.read(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://bank.example/",
        "https://user:pw@bank.example/",
        "ftp://bank.example/",
        "bank.example",
        "https:///x",
        "h:[:",
    ],
)
def test_a_url_must_keep_the_alert_secret(url: str) -> None:
    with pytest.raises(UsageError, match="https://") as caught:
        WebhookSink(WebhookOptions(url), [SECRET])
    assert "pw" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]:2/x", "https://bank.example"]
)
def test_loopback_needs_no_tls(url: str) -> None:
    WebhookSink(WebhookOptions(url), [SECRET]).close()


def test_options_that_cannot_work_are_errors_of_use(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    wrong = [
        WebhookOptions(URL, ca_file=tmp_path / "ca.pem"),
        WebhookOptions(URL, ca_file=tmp_path / "none"),
        WebhookOptions(URL, proxy="ftp://user:pw@proxy"),
    ]
    for options in wrong:
        with pytest.raises(UsageError) as caught:
            WebhookSink(options, [SECRET])
        assert "pw" not in str(caught.value)
    with pytest.raises(UsageError, match="secret"):
        WebhookSink(WebhookOptions(URL), [])


def test_over_a_real_connection() -> None:
    came: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append((dict(self.headers.items()), body))
            self.send_response(503 if len(came) == 1 else 200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    waits: list[float] = []
    outcomes: list[Outcome] = []
    options = WebhookOptions(f"http://127.0.0.1:{server.server_port}/hook", timeout_s=2, attempts=2)
    sink = WebhookSink(options, [SECRET], on_outcome=outcomes.append, wait=waits.append)
    sink.deliver(an_alert())
    sink.close()
    server.shutdown()
    server.server_close()
    thread.join(5)
    sink = WebhookSink(options, [SECRET], on_outcome=outcomes.append, wait=waits.append)
    with pytest.raises(Unavailable):
        sink.deliver(an_alert())
    sink.close()
    assert [verify(headers, body, [SECRET], now=time.time()) for headers, body in came] == ["alert-1", "alert-1"]
    assert outcomes == [Outcome.RETRIED, Outcome.DELIVERED, Outcome.RETRIED, Outcome.UNAVAILABLE]
