"""Dead letters are listed and replayed, and alerts are delivered, on a real Kafka."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from command import run
from kafka.admin import KafkaAdminClient
from stream import PATIENT, make_topics, messages, publish, stream_config
from templates import NOON

from alerts.records import Alert, Severity
from alerts.signature import Secret, verify
from alerts.webhook import Outcome
from deploy.metrics import Dependency
from deploy.settings import Settings, load_settings
from deploy.sink import run_notifier
from deploy.watch import Watch
from ingest.codec import Message, encode
from ingest.kafka_bus.client import connection
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.republish import REPLAYED
from ingest.reasons import Reason
from ingest.records import AtmEvent, Position, Record, Rejection

JPEG = b"\xff\xd8\xff\xe0 a broken picture"
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


@pytest.fixture
def config(kafka: str) -> KafkaConfig:
    config = stream_config(kafka, **PATIENT)
    make_topics(config, events=2)
    return config


def environment(config: KafkaConfig) -> dict[str, str]:
    return {
        "ATMWATCH_KAFKA__BOOTSTRAP": config.bootstrap,
        "ATMWATCH_KAFKA__TOPIC_PREFIX": config.topic_prefix,
        "ATMWATCH_KAFKA__GROUP": config.group,
    }


def send(config: KafkaConfig, topic: str, partition: int, *records: Record | Message) -> None:
    publish(config, topic, [(partition, r if isinstance(r, Message) else encode(r)) for r in records])


def event(number: int) -> AtmEvent:
    return AtmEvent(event_id=f"e{number}", atm_id="a1", captured_at=NOON, image=JPEG)


def dead(topic: str, partition: int, offset: int, **more: Any) -> Rejection:
    known: dict[str, Any] = {
        "reason": Reason.NOT_AN_IMAGE,
        "source": f"{topic}@{offset}",
        "detail": "It is no picture.",
        "stage": "embedder",
        "position": Position(partition=f"{topic}/{partition}", offset=offset),
    }
    return Rejection(**(known | more))


def command(config: KafkaConfig, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = run("deadletter", *arguments, "--json", environment=environment(config))
    assert done.code == code, done.err
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


def test_dead_letters_are_listed_and_given_in_again(config: KafkaConfig) -> None:
    assert command(config, "list") == {"dead_letters": [], "unreadable": 0}
    poison = Message(None, b"{", (("content-type", b"application/json"), (REPLAYED, b"atm.events/1@0")))
    send(config, EVENTS, 0, *(event(n) for n in range(4)))
    send(config, EVENTS, 1, poison, poison)
    send(config, FACES, 0, Message(b"default", b"{}", ()))
    send(
        config,
        DEADLETTER,
        0,
        dead(EVENTS, 0, 0, event_id="e0"),
        dead(EVENTS, 0, 1, event_id="e1", reason=Reason.OUTSIDE_ROOT),
        dead(EVENTS, 0, 3, event_id="e3"),
        dead(EVENTS, 0, 3, event_id="e3", reason=Reason.BAD_RECORD),
        dead(EVENTS, 1, 0, reason=Reason.BAD_RECORD),
        dead(EVENTS, 1, 1, reason=Reason.BAD_RECORD),
        dead(FACES, 0, 0, reason=Reason.MODEL_MISMATCH, stage="clusterer"),
        dead(EVENTS, 0, 77, event_id="e77"),
        dead(EVENTS, 9, 0),
        dead(SIGHTINGS, 0, 0),
        dead(EVENTS, 0, 0, position=None, stage="gateway"),
        Message(None, b"what is this", ()),
    )
    found = command(config, "list")
    assert (len(found["dead_letters"]), found["unreadable"]) == (11, 1)
    first = found["dead_letters"][0]
    assert (first["at"], first["reason"], first["event_id"]) == ("atm.deadletter/0@0", "not_an_image", "e0")
    assert [letter["stage"] for letter in command(config, "list", "--limit", 2)["dead_letters"]] == [
        "embedder",
        "gateway",
    ]
    found = command(config, "list", "--reason", "bad_record", "--reason", "outside_root", "--limit", 2)
    assert [letter["at"] for letter in found["dead_letters"]] == ["atm.deadletter/0@4", "atm.deadletter/0@5"]
    (rare,) = command(config, "list", "--reason", "outside_root", "--limit", 1)["dead_letters"]
    assert rare["at"] == "atm.deadletter/0@1"  # far from the end, so that it takes a second look
    shown = run("deadletter", "list", environment=environment(config))
    assert shown.code == 0
    assert "model_mismatch" in shown.out
    assert "atm.faces/0@0" in shown.out
    assert "1 records of the topic are no rejections" in shown.err

    told = command(config, "replay", "--dry-run", code=1)
    assert (told["published"], told["doubles"]) == (5, 2)  # e3 twice; two copies of one poison record
    assert [letter["position"]["partition"] for letter in told["gone"]] == ["atm.events/0", "atm.events/9"]
    assert [letter["stage"] for letter in told["without_original"]] == ["embedder", "gateway"]
    assert len(messages(config, Place(EVENTS, 0))) == 4

    told = command(config, "replay", "--reason", "outside_root")
    assert (told["published"], told["dead_letters"]) == (1, 1)
    *before, again = messages(config, Place(EVENTS, 0))
    assert (again.key, again.value) == (before[1].key, before[1].value)
    assert again.headers == (*before[1].headers, (REPLAYED, b"atm.events/0@1"))

    told = command(config, "replay", code=1)
    assert told["published"] == 5
    assert len(messages(config, Place(EVENTS, 0))) == 4 + 1 + 3
    assert len(messages(config, Place(FACES, 0))) == 2
    # A poison record has one header that tells of a replay, however often it was replayed.
    assert [name for name, _ in messages(config, Place(EVENTS, 1))[-1].headers] == ["content-type", REPLAYED]


def test_what_is_not_kept_any_more_is_told(config: KafkaConfig) -> None:
    send(config, EVENTS, 0, *(event(n) for n in range(3)))
    send(config, DEADLETTER, 0, dead(EVENTS, 0, 0, event_id="e0"), dead(EVENTS, 0, 2, event_id="e2"))
    with closing(KafkaAdminClient(**connection(config))) as admin:
        admin.delete_records({Place(EVENTS, 0).on_wire(config): 2})
    done = run("deadletter", "replay", environment=environment(config))
    assert done.code == 1
    assert "2 dead letters: 1 records published, 0 doubles left out." in done.out
    assert "1 not kept any more: atm.events/0@0" in done.err


def test_wrong_questions_are_answered(config: KafkaConfig) -> None:
    done = run("deadletter", "list", "--reason", "ugly", environment=environment(config))
    assert done.code == 2
    assert "no such reason code: ugly" in done.err
    done = run("deadletter", "replay", environment=environment(config) | {"ATMWATCH_KAFKA__TOPIC_PREFIX": "none."})
    assert done.code == 2
    assert "atm.deadletter is missing" in done.err


def alert(number: int) -> Alert:
    return Alert(
        alert_id=f"alert-{number}",
        rule_id="R1",
        title="Came often",
        severity=Severity.HIGH,
        subject="person-1",
        episode=number + 1,
        raised_at=NOON,
        window_start=NOON,
        measured={"visits": 3.0},
        limits={"visits": 3.0},
        confidence=0.9,
        evidence=(),
        position=Position(offset=number),
    )


@contextmanager
def receiver(answers: list[int]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """A bank's system: answers with ``answers``, then 200, and keeps the ids of what it was sent, with its answer."""
    received: list[tuple[str, int]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            message_id = verify(dict(self.headers), body, [Secret(SECRET)], now=time.time())
            status = answers.pop(0) if answers else 200
            received.append((message_id, status))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", received
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(settings: Settings, watch: Watch) -> Iterator[None]:
    stop = Event()
    thread = Thread(target=run_notifier, args=(settings, watch, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


def test_alerts_are_delivered_once_each_and_the_refused_kept(config: KafkaConfig, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    send(config, ALERTS, 0, alert(0), Message(b"k", b"{}", ()), alert(1), alert(2))
    outcomes: list[Outcome] = []
    dependencies: list[tuple[Dependency, bool]] = []
    watch = Watch(sent=outcomes.append, depends=lambda dependency, up: dependencies.append((dependency, up)))
    with receiver([503, 200, 410]) as (url, received):
        settings = load_settings(
            kafka=config,
            webhook={"url": url, "secret_file": tmp_path / "secret", "attempts": 1},
            alerts_file=tmp_path / "alerts.jsonl",
            state_dir=tmp_path / "state",
        )
        with running(settings, watch):
            eventually(lambda: len(received) == 4)
            eventually(lambda: dependencies[-1:] == [(Dependency.WEBHOOK, True)])
        assert received == [("alert-0", 503), ("alert-0", 200), ("alert-1", 410), ("alert-2", 200)]
        assert dependencies[0] == (Dependency.WEBHOOK, False)
        assert outcomes == [Outcome.UNAVAILABLE, Outcome.DELIVERED, Outcome.REFUSED, Outcome.DELIVERED]
        send(config, ALERTS, 0, alert(3))
        with running(settings, watch):  # goes on behind what was delivered
            eventually(lambda: received[4:] == [("alert-3", 200)])

    def ids(path: Path) -> list[str]:
        return [Alert.model_validate_json(line).alert_id for line in path.read_text().splitlines()]

    assert ids(tmp_path / "alerts.jsonl") == [f"alert-{n}" for n in range(4)]
    assert ids(tmp_path / "state" / "refused-alerts.jsonl") == ["alert-1"]
