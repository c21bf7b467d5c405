"""The client that measures the gateway, against the gateway's own server with a broker that acknowledges at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.bench import load_events
from deploy.bench_gateway import FORMS, LOST, Client, measure_gateway
from deploy.bench_pictures import smaller
from deploy.bench_roles import free_port
from deploy.bench_stream import Stream, visits_of
from deploy.gateway import HttpServer
from deploy.settings import load_settings
from deploy.simulator import FACES
from ingest.errors import AtmwatchError, Unavailable
from ingest.gateway.app import Parts, create_app, framed
from ingest.gateway.keys import load_keys
from ingest.images import picture_format
from ingest.kafka_bus.config import KafkaConfig
from ingest.limits import DEFAULT_LIMITS
from ingest.records import AtmEvent

PICTURES = load_events(FACES)[:2]


class Acknowledging:
    """Keeps what it is given; after ``most`` it is away."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.events: list[AtmEvent] = []
        self.most = most

    def send(self, record: AtmEvent, done: Callable[[None], None], _trace: Any = ()) -> None:
        if len(self.events) >= self.most:
            what = "Kafka"
            raise Unavailable(what)
        self.events.append(record)
        done(None)


@contextmanager
def serving(sender: Acknowledging, **given: str) -> Iterator[SimpleNamespace]:
    """The gateway of the environment ``given``, in this process, looking like a role."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        config = load_settings().gateway
    keys = load_keys(config.keys_file, allow_anonymous=config.allow_anonymous)
    parts = Parts(keys, sender, ("default",), DEFAULT_LIMITS, lambda *_: None)
    server = HttpServer(framed(create_app(config, parts), parts), config)
    try:
        yield SimpleNamespace(wait_ready=lambda _: None, process=SimpleNamespace(pid=os.getpid()), port=server.port)
    finally:
        server.close()


@pytest.fixture
def acknowledging(monkeypatch: pytest.MonkeyPatch) -> Acknowledging:
    sender = Acknowledging()
    monkeypatch.setattr(Stream, "run", lambda *_, **given: serving(sender, **given))
    return sender


def test_every_picture_arrives_in_both_forms(acknowledging: Acknowledging, tmp_path: Path) -> None:
    said: list[str] = []
    reports = measure_gateway(Stream(KafkaConfig(), tmp_path), PICTURES, 100, 4, said.append)
    assert list(reports) == ["binary", "multipart"]
    for form, report in reports.items():
        assert (report.images, report.connections, report.errors) == (100, 4, {})
        assert 25_000 < report.image_bytes <= 30_000
        assert report.images_per_second > 0
        assert 0 < report.request_ms["p50"] <= report.request_ms["p99"]
        assert min(report.cpu_ms_per_image.values()) > 0
        assert len(report.rss_mb) == 10
        sent = [event for event in acknowledging.events if event.event_id.startswith(f"{form}-bench-")]
        assert len({event.event_id for event in sent}) == len(sent) == 100
        assert all(event.image is not None and len(event.image) == report.image_bytes for event in sent)
        assert {event.atm_id for event in sent} == {event.atm_id for event in visits_of(PICTURES, 100)}
    assert "100 requests, multipart" in said


def test_what_is_not_accepted_counts_as_an_error(acknowledging: Acknowledging, tmp_path: Path) -> None:
    acknowledging.most = 230
    with pytest.raises(AtmwatchError, match=r"the gateway accepted nothing: \{503: 100\}"):
        measure_gateway(Stream(KafkaConfig(), tmp_path), PICTURES, 100, 4, lambda _: None)
    assert len(acknowledging.events) == 230


def test_nobody_there_is_an_error_too() -> None:
    client = Client(free_port(), "k" * 43, b"picture", 3)
    seen: list[int] = []
    outcome = client.send(visits_of(PICTURES, 10), FORMS["binary"], "none", seen.append)
    assert (outcome.delays_ms, outcome.errors) == ([], {LOST: 10})
    assert seen == list(range(1, 11))


def test_a_picture_is_made_smaller() -> None:
    picture = PICTURES[0].image or b""
    assert len(picture) > 30_000
    for most in (30_000, 2000):
        made = smaller(picture, most)
        assert 0.5 * most < len(made) <= most
        assert picture_format(made) == "JPEG"
