"""The gateway and `atmwatch publish` against a real broker: what was acknowledged is there, whatever happens to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from command import run, spawn
from portraits import after, manifest
from servers import KafkaServer, kafka_server
from servers.children import free_port, wait_until
from stream import Stream, make_topics, messages, stream_config

from deploy.gateway import run_gateway
from deploy.settings import load_settings
from deploy.watch import Watch
from ingest.codec import decode
from ingest.errors import UsageError
from ingest.gateway.config import GatewayConfig
from ingest.kafka_bus.config import EVENTS, KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.records import AtmEvent

KEY = "k" * 43
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 100
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PARTITIONS = 3


def events(config: KafkaConfig) -> list[AtmEvent]:
    """All events of the topic, partition after partition."""
    found = [message for number in range(PARTITIONS) for message in messages(config, Place(EVENTS, number))]
    return [decode(message, AtmEvent) for message in found]


def keys_file(folder: Path) -> Path:
    path = folder / "keys"
    path.write_text(f"branch-7:{sha256(KEY.encode()).hexdigest()}\n")
    return path


def client_of(port: object) -> httpx.Client:
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)


@contextmanager
def gateway(config: KafkaConfig, folder: Path, **more: Any) -> Iterator[httpx.Client]:
    """A client of a gateway that runs in a thread, and serves once Kafka is there."""
    keys = keys_file(folder)
    settings = load_settings(
        kafka=config, gateway=GatewayConfig(port=free_port(), keys_file=keys, burst=10_000, rate_per_s=10_000, **more)
    )
    stop, ready = Event(), Event()
    errors: list[UsageError] = []

    def serve() -> None:
        try:
            run_gateway(settings, Watch(ready=ready.set), stop)
        except UsageError as error:
            errors.append(error)
            ready.set()

    thread = Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(30)
        if errors:
            raise errors[0]
        with client_of(settings.gateway.port) as client:
            yield client
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()


def send(client: httpx.Client, event_id: str, atm_id: str = "ATM-1", number: int = 0) -> httpx.Response:
    event = {"event_id": event_id, "atm_id": atm_id, "captured_at": after(number).isoformat()}
    files = {"event": (None, json.dumps(event), "application/json"), "image": ("a.jpg", JPEG, "image/jpeg")}
    return client.post("/v1/events", files=files, headers={"traceparent": TRACE})


def test_what_is_accepted_is_in_the_topic_once_and_in_order(kafka: str, tmp_path: Path) -> None:
    config = stream_config(kafka)
    make_topics(config, events=PARTITIONS)
    with gateway(config, tmp_path) as client:
        for number in range(40):
            answer = send(client, f"e{number}", f"ATM-{number % 4}", number)
            assert answer.json() == {"event_id": f"e{number}", "status": "accepted"}
        assert send(client, "e7", "ATM-3", 7).json()["status"] == "duplicate"
        assert send(client, "e7", "ATM-3", 8).status_code == 409
    found = events(config)
    assert sorted(event.event_id for event in found) == sorted(f"e{number}" for number in range(40))
    assert all(event.image == JPEG and event.received_at is not None for event in found)
    for atm in range(4):
        own = [event.event_id for event in found if event.atm_id == f"ATM-{atm}"]
        assert own == [f"e{number}" for number in range(atm, 40, 4)]
    headers = {
        name: value
        for number in range(PARTITIONS)
        for name, value in messages(config, Place(EVENTS, number))[0].headers
    }
    assert headers["traceparent"] == TRACE.encode()


def test_without_the_topic_it_does_not_serve(kafka: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="topics create"), gateway(stream_config(kafka), tmp_path):
        pytest.fail("it serves")


@pytest.fixture
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = kafka_server(tmp_path_factory.mktemp("gateway_kafka"))
    yield server
    server.stop()


def test_no_accepted_event_is_lost_while_the_broker_dies_and_comes_back(own_kafka: KafkaServer, tmp_path: Path) -> None:
    """The gateway is a process of its own, with nothing shared but the broker."""
    config = stream_config(own_kafka.bootstrap, request_timeout_s=2.0)
    make_topics(config, events=PARTITIONS)
    own = {"port": free_port(), "keys_file": keys_file(tmp_path), "ack_timeout_s": 1.0}
    stream = Stream(config, tmp_path / "run", {f"gateway__{name}": value for name, value in own.items()})
    accepted: list[str] = []
    with closing(stream), client_of(own["port"]) as client:
        child = stream.start("gateway")
        wait_until(lambda: answers(client), child, stream.log("gateway"), 60)
        accepted += until_accepted(client, [f"a{number}" for number in range(10)])
        own_kafka.kill()
        began = monotonic()
        answer = send(client, "b0")
        assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
        assert answer.headers["retry-after"]
        assert monotonic() - began < 5
        own_kafka.start()
        accepted += until_accepted(client, [f"b{number}" for number in range(10)])
        child.stop()
    assert '"request_id"' in stream.log("gateway").read_text()
    assert {event.event_id for event in events(config)} == set(accepted)
    assert len(accepted) == 20


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 404
    except httpx.TransportError:
        return False


def until_accepted(client: httpx.Client, event_ids: list[str]) -> list[str]:
    """Send each event until it is accepted, as a terminal does."""
    limit = monotonic() + 60
    for number, event_id in enumerate(event_ids):
        while send(client, event_id, number=number).status_code != 202:
            assert monotonic() < limit
            sleep(0.1)
    return event_ids


def test_a_folder_is_published_in_order_and_again_under_the_same_ids(kafka: str, tmp_path: Path) -> None:
    config = stream_config(kafka)
    make_topics(config, events=1)
    folder = tmp_path / "day"
    folder.mkdir()
    rows = []
    for number in reversed(range(30)):
        (folder / f"p{number}.jpg").write_bytes(JPEG if number != 5 else b"")
        rows.append({"path": f"p{number}.jpg", "atm_id": "ATM-1", "captured_at": after(number).isoformat()})
    manifest(folder, rows)
    environment = {
        "ATMWATCH_KAFKA__BOOTSTRAP": kafka,
        "ATMWATCH_KAFKA__GROUP": config.group,
        "ATMWATCH_KAFKA__TOPIC_PREFIX": config.topic_prefix,
    }
    for _ in range(2):
        done = run("publish", folder, "--json", environment=environment)
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert (told["inputs"], told["published"], told["rejected"]) == (30, 29, 1)
    found = [decode(message, AtmEvent) for message in messages(config, Place(EVENTS, 0))]
    assert len(found) == 58
    assert [event.event_id for event in found[:29]] == [event.event_id for event in found[29:]]
    times = [event.captured_at for event in found[:29]]
    assert times == sorted(times)
    assert all(event.image == JPEG for event in found)


def test_publishing_without_topics_or_a_broker_says_so(kafka: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    missing = run("publish", tmp_path, environment={
        "ATMWATCH_KAFKA__BOOTSTRAP": kafka, "ATMWATCH_KAFKA__TOPIC_PREFIX": "none.",
    })  # fmt: skip
    assert (missing.code, "none.atm.events is missing" in missing.err) == (2, True)
    nowhere = {"ATMWATCH_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}", "ATMWATCH_KAFKA__REQUEST_TIMEOUT_S": "1"}
    away = spawn("publish", tmp_path, environment=nowhere)
    assert (away.code, "unavailable" in away.err) == (1, True)
