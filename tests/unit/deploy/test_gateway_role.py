"""The gateway's role without a broker: the server that listens, and what it does while Kafka is away."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from servers.children import free_port

from deploy import gateway as module
from deploy.gateway import HttpServer, Relay, run_gateway
from deploy.metrics import Dependency
from deploy.settings import Settings, load_settings
from deploy.watch import Watch
from ingest.errors import Superseded, Unavailable, UsageError
from ingest.gateway.config import GatewayConfig
from ingest.records import AtmEvent

KEY = "k" * 43
EVENT = {
    "event_id": "e1",
    "atm_id": "ATM-1",
    "captured_at": "2026-03-01T10:00:00Z",
    "image_uri": "https://pictures.example/1.jpg",
    "sha256": "a" * 64,
}


class Publisher:
    """Acknowledges at once; ``ends`` is raised by ``check`` once it is set."""

    made: list[Publisher]
    ends: Exception | None

    def __init__(self, *_: Any) -> None:
        self.events: list[AtmEvent] = []
        self.failing = False
        self.closed = False
        self.ends = None
        Publisher.made.append(self)

    def send(self, record: AtmEvent, done: Callable[[None], None], _trace: Any = ()) -> None:
        self.events.append(record)
        done(None)

    def check(self) -> None:
        if self.ends is not None:
            raise self.ends

    def close(self, _timeout: float) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    Publisher.made = []
    monkeypatch.setattr(module, "Publisher", Publisher)
    monkeypatch.setattr(module, "check_topics", lambda *_: None)
    monkeypatch.setattr(module, "TURN_S", 0.01)


def settings(tmp_path: Path, **more: Any) -> Settings:
    (tmp_path / "keys").write_text(f"branch-7:{sha256(KEY.encode()).hexdigest()}\n")
    config = {"port": free_port(), "keys_file": tmp_path / "keys", **more}
    return load_settings(gateway=GatewayConfig.model_validate(config))


class Heard:
    """What the role told."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.up: list[bool] = []
        self.reasons: list[str] = []
        self.is_ready = Event()
        self.watch = Watch(
            ready=self.is_ready.set,
            not_ready=self.reasons.append,
            depends=lambda dependency, up: self.up.append(up and dependency is Dependency.KAFKA),
            answered=lambda status, _seconds: self.statuses.append(status),
        )


@contextmanager
def running(chosen: Settings) -> Iterator[tuple[Heard, str]]:
    heard, stop, errors = Heard(), Event(), []

    def run() -> None:
        try:
            run_gateway(chosen, heard.watch, stop)
        except UsageError as error:
            errors.append(error)

    thread = Thread(target=run)
    thread.start()
    try:
        yield heard, f"http://127.0.0.1:{chosen.gateway.port}/v1/events"
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def until(holds: Callable[[], object]) -> None:
    limit = monotonic() + 10
    while not holds():
        assert monotonic() < limit
        sleep(0.01)


def post(url: str, **more: Any) -> httpx.Response:
    return httpx.post(url, json=EVENT, headers={"Authorization": f"Bearer {KEY}"}, **more)


def test_events_go_to_the_publisher_and_answers_are_told(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as (heard, url):
        assert heard.is_ready.wait(10)
        answer = post(url)
        assert httpx.post(url, json=EVENT).status_code == 401
        (publisher,) = Publisher.made
        assert (answer.status_code, answer.json()["event_id"]) == (202, "e1")
        assert "server" not in answer.headers
        assert [event.event_id for event in publisher.events] == ["e1"]
        publisher.failing = True
        until(lambda: heard.up == [False])
        publisher.failing = False
        until(lambda: heard.up == [False, True])
    assert heard.statuses == [202, 401]
    assert publisher.closed
    with pytest.raises(httpx.ConnectError):
        post(url)


def test_while_kafka_is_away_it_answers_503_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Event()
    away.set()

    def check(*_: object) -> None:
        if away.is_set():
            what = "Kafka"
            raise Unavailable(what)

    monkeypatch.setattr(module, "check_topics", check)
    with running(settings(tmp_path)) as (heard, url):
        until(lambda: heard.reasons)
        answer = post(url)
        assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
        away.clear()
        assert heard.is_ready.wait(10)
        until(lambda: post(url).status_code == 202)


def test_a_publisher_that_can_not_go_on_is_replaced(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as (heard, url):
        assert heard.is_ready.wait(10)
        Publisher.made[0].ends = Superseded("gone")
        until(lambda: len(Publisher.made) == 2)
        assert Publisher.made[0].closed
        until(lambda: post(url).status_code == 202)
        assert Publisher.made[1].events


def test_what_kafka_refuses_for_good_ends_it(tmp_path: Path) -> None:
    def loses_its_rights() -> None:
        with running(settings(tmp_path)) as (heard, _):
            assert heard.is_ready.wait(10)
            Publisher.made[0].ends = UsageError("no rights")
            until(lambda: Publisher.made[0].closed)

    with pytest.raises(UsageError, match="no rights"):
        loses_its_rights()


def test_without_keys_it_does_not_start() -> None:
    with pytest.raises(UsageError, match="no keys"):
        run_gateway(load_settings(), Watch(), Event())


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = settings(tmp_path, port=other.getsockname()[1])
        with pytest.raises(UsageError, match="can't listen on"):
            run_gateway(taken, Watch(), Event())


@pytest.mark.parametrize("there", [True, False])
def test_tls_files_that_can_not_be_used_are_told(tmp_path: Path, there: bool) -> None:
    files = {name: tmp_path / name for name in ("tls_certfile", "tls_keyfile")}
    if there:
        for path in files.values():
            path.write_text("not a certificate")
    with pytest.raises(UsageError, match="TLS"):
        run_gateway(settings(tmp_path, **files), Watch(), Event())
    assert issubclass(ssl.SSLError, OSError)


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    return


def test_a_server_that_ended_is_noticed() -> None:
    server = HttpServer(_nothing, GatewayConfig(host="::1", port=0))
    assert server.port > 0
    server.check()
    server.close()
    server.close()
    with pytest.raises(RuntimeError, match="has ended"):
        server.check()


def test_a_relay_without_a_publisher_is_unavailable() -> None:
    relay = Relay()
    event = AtmEvent(event_id="e", atm_id="a", captured_at=datetime(2026, 3, 1, tzinfo=UTC))
    with pytest.raises(Unavailable):
        relay.send(event, lambda _: None)
    publisher = Publisher()
    relay.open(publisher)
    relay.send(event, lambda _: None)
    assert publisher.events == [event]
