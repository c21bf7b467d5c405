"""Probes are answered truthfully, whatever the main loop and other clients do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from deploy.health import MAX_REASON, MAX_REASONS, Health, HealthOptions, HealthServer
from ingest.errors import UsageError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


Get = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(30.0, clock)


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("atmwatch_tests", "Tests.", registry=registry).inc(3)
    return registry


@pytest.fixture
def server(health: Health, registry: CollectorRegistry) -> Iterator[HealthServer]:
    server = HealthServer(health, registry, HealthOptions(most=3, timeout_s=2.0))
    yield server
    server.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        response: HTTPResponse = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest.fixture
def get(server: HealthServer) -> Get:
    return lambda path, method="GET", **headers: ask(server.port, path, method, **headers)


def verdict(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, list[str]]:
    status, headers, body = answer
    assert headers["content-type"] == "application/json"
    return status, json.loads(body)["reasons"]


def test_a_new_process_lives_and_is_not_ready(get: Get) -> None:
    assert verdict(get("/livez")) == (200, [])
    assert verdict(get("/readyz")) == (503, ["starting"])


def test_it_lives_while_its_heart_beats(get: Get, health: Health, clock: Clock) -> None:
    health.ready()
    clock.now += 30
    assert verdict(get("/livez")) == (200, [])
    clock.now += 1
    assert verdict(get("/livez")) == (503, ["no heartbeat for 31 s"])
    assert verdict(get("/readyz")) == (503, ["no heartbeat"])
    health.heartbeat()
    assert verdict(get("/livez")) == (200, [])
    assert verdict(get("/readyz")) == (200, [])


def test_it_is_ready_when_nothing_stands_in_the_way(get: Get, health: Health) -> None:
    health.not_ready("restoring")
    health.not_ready("redis is unavailable")
    health.not_ready("redis is unavailable")
    assert verdict(get("/readyz")) == (503, ["starting", "restoring", "redis is unavailable"])
    health.ready("restoring")
    health.ready("something else")
    assert verdict(get("/readyz")) == (503, ["starting", "redis is unavailable"])
    health.ready()
    assert verdict(get("/readyz")) == (200, [])
    health.not_ready("kafka")
    assert verdict(get("/readyz?verbose")) == (503, ["kafka"])


def test_reasons_are_bounded(health: Health) -> None:
    for number in range(100):
        health.not_ready(f"{number} " + "x" * 1000)
    assert len(health.reasons) == MAX_REASONS
    assert max(map(len, health.reasons)) == MAX_REASON
    health.ready("0 " + "x" * 1000)
    assert len(health.reasons) == MAX_REASONS - 1


def test_metrics_come_in_the_form_that_is_accepted(get: Get) -> None:
    status, headers, body = get("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    (family, *_) = text_string_to_metric_families(body.decode())
    assert (family.name, family.samples[0].value) == ("atmwatch_tests", 3)
    status, headers, body = get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert [family.name for family in openmetrics.text_string_to_metric_families(body.decode())] == ["atmwatch_tests"]


def test_there_is_nothing_else(get: Get) -> None:
    for path in ("/", "/livez/", "/../etc/passwd", "/metricsx"):
        assert get(path)[0] == 404
    assert get("/livez", "POST")[0] == 501
    status, headers, body = get("/readyz", "HEAD")
    assert (status, body) == (503, b"")
    assert int(headers["content-length"]) > 0
    assert "python" not in headers["server"].lower()


def test_clients_that_dawdle_do_not_keep_a_probe_waiting(server: HealthServer, get: Get) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(10)]
    idle[-1].sendall(b"GET /livez HTT")
    begun = time.monotonic()
    assert get("/livez")[0] == 200
    assert time.monotonic() - begun < 1
    assert sum(thread.name == "health-request" for thread in threading.enumerate()) <= 4
    for connection in idle:
        connection.close()


def test_a_client_that_never_asks_is_sent_away(health: Health, registry: CollectorRegistry) -> None:
    server = HealthServer(health, registry, HealthOptions(timeout_s=0.1))
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        assert connection.recv(100) == b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"\x00\xff nonsense\r\n\r\n" + b"x" * 100_000)
        assert b"400" in connection.recv(1000)
    server.close()


def test_many_may_ask_at_once(server: HealthServer, health: Health) -> None:
    health.ready()
    answers: list[int] = []

    def probe() -> None:
        for _ in range(10):
            health.heartbeat()
            answers.append(ask(server.port, "/readyz")[0])

    threads = [threading.Thread(target=probe) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == [200] * 30


def test_closing_ends_its_threads_and_frees_its_port(health: Health, registry: CollectorRegistry) -> None:
    before = threading.active_count()
    server = HealthServer(health, registry, HealthOptions(timeout_s=5))
    port = server.port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        assert ask(port, "/livez")[0] == 200
        begun = time.monotonic()
        server.close()
        server.close()
        assert time.monotonic() - begun < 1
        assert connection.recv(1) == b""
    assert threading.active_count() == before
    again = HealthServer(health, registry, HealthOptions(port=port))
    assert ask(port, "/livez")[0] == 200
    again.close()


def test_a_place_where_it_cannot_listen_is_an_error_of_use(server: HealthServer, health: Health) -> None:
    for options in (HealthOptions(port=server.port), HealthOptions(port=70_000), HealthOptions(host="203.0.113.1")):
        with pytest.raises(UsageError, match="can't listen"):
            HealthServer(health, CollectorRegistry(), options)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_it_listens_on_ipv6_where_there_is_any(health: Health, registry: CollectorRegistry) -> None:
    if not has_ipv6():
        with pytest.raises(UsageError, match="can't listen"):
            HealthServer(health, registry, HealthOptions(host="::1"))
        return
    server = HealthServer(health, registry, HealthOptions(host="::1"))
    with socket.create_connection(("::1", server.port), timeout=5) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.0 200")
    server.close()
