"""What the benchmarks of the stream are made of, without a broker: the crowd, the roles' figures, the reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from command import run
from pydantic import SecretStr
from templates import model_card, unit

import deploy.cli.bench as command
from alerts.records import Alert, Severity
from clustering.roster import Roster
from deploy import bench_backlog, bench_kafka, bench_latency, bench_stream
from deploy.bench_backlog import BacklogMemory
from deploy.bench_crowd import BETWEEN, OPENING, SPREAD, Crowd
from deploy.bench_gateway import GatewayBench
from deploy.bench_kafka import KafkaBench, KafkaBenchOptions
from deploy.bench_roles import Look, RoleProcess
from deploy.bench_stream import Stream, stream_of_its_own
from deploy.routes import publisher_route
from deploy.settings import RedisConfig, Settings
from ingest.codec import encode
from ingest.errors import AtmwatchError, Unavailable, UsageError
from ingest.kafka_bus.config import EVENTS, KafkaConfig
from ingest.kafka_bus.member import Place, Received
from ingest.records import AtmEvent, Position

CARD = model_card(16)


def test_the_journal_makes_a_roster_of_the_size_asked_for() -> None:
    crowd = Crowd(CARD, 500, seed=3)
    known = Roster(CARD.model_id, CARD.dim)
    visits = [(known.apply(sighting), sighting.visits) for sighting in crowd.journal()]
    assert (len(known.gallery), len(known.seen)) == (500, 500)
    assert [len(known.gallery.rows(number)) for number in known.identities] == crowd.looks
    assert set(crowd.looks) <= set(range(1, 9))
    assert all(after == said for after, said in visits)
    assert Crowd(CARD, 1).looks == [1]


def test_faces_are_the_same_each_time_and_most_resemble_somebody() -> None:
    crowd = Crowd(CARD, 200)
    faces = list(crowd.faces(300, batch=77))
    assert faces == list(Crowd(CARD, 200).faces(300, batch=77))
    assert len({face.face_id for face in faces}) == 300
    assert all(face.event.captured_at > OPENING + 8 * BETWEEN for face in faces)
    templates = np.stack([face.template for face in faces])
    np.testing.assert_allclose(np.linalg.norm(templates, axis=1), 1, atol=1e-6)
    known = np.stack([unit(one.template) for one in crowd.journal()])
    alike = (templates @ known.T).max(axis=1) > 0.9 / (1 + SPREAD**2)
    assert alike.mean() > 0.6


class FakePublisher:
    """Acknowledges at once; every third with what ``failure`` says."""

    failure: AtmwatchError | None = None

    def __init__(self, *_: object) -> None:
        self.sent = 0

    def send(self, _: object, done: Callable[[AtmwatchError | None], None]) -> None:
        self.sent += 1
        done(self.failure if self.sent % 3 == 0 else None)

    def close(self) -> None: ...


class FakeAdmin:
    def __init__(self, config: KafkaConfig) -> None:
        self.prefix = config.topic_prefix
        self.there: list[str] = []

    def ensure(self, specs: list[Any]) -> None:
        self.there += [spec.name for spec in specs]

    def delete(self, names: tuple[str, ...]) -> None:
        assert sorted(names) == sorted(self.there)
        self.there.clear()

    def close(self) -> None:
        assert not self.there


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_stream, "Publisher", FakePublisher)
    monkeypatch.setattr(bench_stream, "Admin", FakeAdmin)


def events(count: int) -> list[AtmEvent]:
    return [
        AtmEvent(event_id=f"e{i}", atm_id="a", captured_at=OPENING + timedelta(hours=i), image=b"x")
        for i in range(count)
    ]


@pytest.mark.usefixtures("no_broker")
def test_a_stream_is_nobody_elses_and_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        bench_stream, "running", lambda role, settings, folder: given.update(settings) or (role, folder)
    )
    with stream_of_its_own(KafkaConfig(scopes=("a", "b")), tmp_path / "one") as one:
        assert one.config.topic_prefix == f"{one.config.group}."
        assert one.config.scopes == ("default",)
        assert cast(Any, one.run("alerter", ATMWATCH_RULES="r")) == ("alerter", tmp_path / "one")
        with stream_of_its_own(KafkaConfig(), tmp_path / "two") as two:
            assert two.config.group != one.config.group
    assert given["ATMWATCH_KAFKA__TOPIC_PREFIX"] == one.config.topic_prefix
    assert given["ATMWATCH_RULES"] == "r"


def test_what_is_published_is_counted_and_failures_are_raised(no_broker: None, tmp_path: Path) -> None:
    stream = Stream(KafkaConfig(), tmp_path)
    assert stream.publish(events(7), publisher_route, EVENTS) == 7
    FakePublisher.failure = Unavailable("Kafka")
    try:
        with pytest.raises(Unavailable):
            stream.publish(events(7), publisher_route, EVENTS)
    finally:
        FakePublisher.failure = None


class FakeRole(RoleProcess):
    """A role that has always just done what is waited for."""

    def __init__(self, role: str) -> None:
        looks = [Look(1.0 + i, 1 + 10 * i, 0.1 * i, 100.0 + i) for i in range(11)]
        super().__init__(role, cast(Any, None), "", Path(), 0.0, looks)

    def wait_for(self, events: int, limit_s: float) -> Look:
        assert limit_s > 0
        return Look(2.5, events, 0.0, 0.0)

    def wait_ready(self, limit_s: float) -> None:
        assert limit_s > 0

    def look(self) -> Look | None: ...


def alert(atm_id: str) -> Alert:
    return Alert(
        alert_id=f"alert-{atm_id}",
        rule_id="ANYBODY",
        title="Somebody",
        severity=Severity.LOW,
        subject=atm_id,
        episode=1,
        atm_id=atm_id,
        raised_at=OPENING,
        window_start=OPENING,
        measured={},
        limits={},
        confidence=1.0,
        evidence=(),
        position=Position(offset=0),
    )


class FakeReader:
    """Has an alert for every event that was published but the last."""

    published: ClassVar[list[AtmEvent]] = []

    def __init__(self, *_: object) -> None:
        self.told = 0

    def seek(self, offset: int) -> None:
        assert offset == 0

    def poll(self, *_: object) -> list[Received]:
        new = self.published[self.told : -1]
        self.told += len(new)
        return [Received(Place("atm.alerts", 0), 0, encode(alert(event.atm_id))) for event in new]

    def close(self) -> None: ...


GATEWAY = GatewayBench(
    images=100,
    image_bytes=29_900,
    connections=16,
    images_per_second=412.5,
    request_ms={"p50": 30.0, "p99": 90.0},
    errors={503: 2},
    cpu_ms_per_image={"gateway": 1.5, "client": 0.25},
    rss_mb=[150.0, 151.0],
)


@pytest.fixture
def no_roles(no_broker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Roles that have done everything, and the events of the part that is timed."""
    counted = Stream.publish
    FakeReader.published.clear()

    def publish(stream: Stream, records: Any, routes: Any, topic: str) -> int:
        found = list(records)
        if stream.folder.name == "latency":
            FakeReader.published.extend(found)
        return counted(stream, found, routes, topic)

    @contextmanager
    def role_of(_: Stream, role: str, **__: str) -> Iterator[FakeRole]:
        yield FakeRole(role)

    monkeypatch.setattr(Stream, "publish", publish)
    monkeypatch.setattr(Stream, "run", role_of)
    monkeypatch.setattr(bench_kafka, "measure_gateway", lambda *_: {"binary": GATEWAY})
    monkeypatch.setattr(bench_latency, "PartitionReader", FakeReader)
    monkeypatch.setattr(bench_latency, "STRAGGLERS_S", 0.3)


OPTIONS = KafkaBenchOptions(faces=100, templates=50, recovery_templates=60, events=10, rate=1000.0)


@pytest.mark.usefixtures("no_roles")
def test_the_parts_make_a_report() -> None:
    said: list[str] = []
    report = bench_kafka.bench_kafka(Settings(), CARD, events(3), OPTIONS, said.append)
    assert (report.faces_per_second, report.sightings_per_second) == (10.0, 10.0)
    assert report.recovery_s == {"journal": 2.5, "snapshot": 2.5}
    assert (report.events, report.answered) == (10, 9)
    assert 0 <= report.latency_ms["p50"] <= report.latency_ms["p99"] < 5000
    assert report.cpu_ms_per_input.keys() == report.rss_mb.keys() == {"embedder", "clusterer", "alerter"}
    assert report.rss_mb_course["clusterer"] == [100.0 + i for i in range(1, 11)]
    assert report.gateway == {"binary": GATEWAY}
    assert report.backlog == {}
    published = FakeReader.published
    assert len({event.atm_id for event in published}) == len(published) == 10 + bench_latency.WARM_UP
    assert any("30 events" in line for line in said)


@pytest.mark.usefixtures("no_roles")
def test_with_a_backlog_the_memory_of_every_role_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[str] = []

    @contextmanager
    def client_of(settings: Settings) -> Iterator[str]:
        yield settings.redis.prefix

    @contextmanager
    def views_of(settings: Settings, client: str, key: bytes, _: object) -> Iterator[list[Any]]:
        assert settings.kafka.group == client
        assert len(key) > 16
        yield [SimpleNamespace(store=SimpleNamespace(clear=lambda: cleared.append(client)))]

    pinged: list[str] = []
    monkeypatch.setattr(bench_backlog, "ping", pinged.append)
    monkeypatch.setattr(bench_backlog, "redis_client", client_of)
    monkeypatch.setattr(bench_backlog, "opened_views", views_of)
    monkeypatch.setattr(bench_backlog, "PICTURES", 20)
    monkeypatch.setattr(bench_backlog, "smaller", lambda picture, most: picture[:most])
    options = replace(OPTIONS, backlog=40)
    with_redis = Settings(redis=RedisConfig(url=SecretStr("redis://127.0.0.1")))
    report = bench_kafka.bench_kafka(with_redis, CARD, events(3), options, lambda _: None)
    assert {name: (found.waiting, found.taken) for name, found in report.backlog.items()} == {
        "embedder": (40, 20),
        "clusterer": (40, 40),
        "alerter": (40, 40),
        "view": (90, 90),
    }
    assert all(len(found.rss_mb) in (10, 11) for found in report.backlog.values())
    assert len(cleared) == 1
    assert cleared[0].startswith("atmwatch-bench-")
    assert pinged == ["atmwatch"]
    report = bench_kafka.bench_kafka(Settings(), CARD, events(3), options, lambda _: None)
    assert set(report.backlog) == {"embedder", "clusterer", "alerter"}


@pytest.mark.usefixtures("no_roles")
def test_a_redis_that_does_not_answer_is_told_at_once() -> None:
    said: list[str] = []
    nowhere = Settings(redis=RedisConfig(url=SecretStr("redis://:secret@127.0.0.1:1/0")))
    with pytest.raises(UsageError, match="ATMWATCH_REDIS__URL does not answer") as raised:
        bench_kafka.bench_kafka(nowhere, CARD, events(3), replace(OPTIONS, backlog=40), said.append)
    assert "secret" not in str(raised.value)
    assert said == []
    assert bench_kafka.bench_kafka(nowhere, CARD, events(3), OPTIONS, said.append).backlog == {}


REPORT = KafkaBench(
    cores=2,
    templates=50,
    faces=100,
    faces_per_second=1600.4,
    sightings_per_second=1500.6,
    recovery_templates=60,
    recovery_s={"journal": 20.25, "snapshot": 5.5},
    events=10,
    answered=9,
    latency_ms={"p50": 100.0, "p99": 300.4},
    gateway={"binary": GATEWAY},
    cpu_ms_per_input={"clusterer": 0.75},
    rss_mb={"clusterer": 510.2, "embedder": 300.0},
    rss_mb_course={"clusterer": [500.0, 510.2]},
    backlog={"embedder": BacklogMemory(waiting=100_000, taken=3000, rss_mb=[300.0, 301.0])},
)


def test_the_kafka_command_prints_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(command, "bench_kafka", lambda *given: asked.append(given) or REPORT)
    monkeypatch.setattr(command, "load_events", lambda _: [])
    outcome = run("bench", "kafka", "--kafka", "broker:9092", "--faces", 100, "--templates", 50, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert KafkaBench.model_validate_json(outcome.out) == REPORT
    assert asked[0][0].kafka.bootstrap == "broker:9092"
    assert (asked[0][3].faces, asked[0][3].templates, asked[0][3].events) == (100, 50, 300)
    outcome = run("bench", "kafka")
    for said in (
        "1,600 faces/s",
        "1,501 sightings/s",
        "p50 100 ms, p99 300 ms",
        "journal 20.2 s, snapshot 5.5 s",
        "gateway        412 images/s of 30 KB, binary: p50 30 ms, p99 90 ms, 2 errors; 1.50 ms of processor time",
        "510 MB at most; MB after each tenth: 500 510",
        "300 MB at most\n",
        "embedder  3,000 of a backlog of 100,000: MB after each tenth: 300 301",
    ):
        assert said in outcome.out


def test_the_clustering_command_decides() -> None:
    outcome = run("bench", "clustering", "--templates", 300, "--faces", 200, "--batch", 64, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    assert (report["templates"], report["faces"], report["batch"]) == (300, 200, 64)
    assert 0.5 < report["joined"] < 0.9
    assert min(report[name] for name in ("decisions_per_second", "cpu_ms_per_face", "snapshot_mb")) > 0
    shown = run("bench", "clustering", "--templates", 300, "--faces", 64).out
    assert "decisions/s at 300 templates of" in shown
    assert "% joined somebody" in shown
    assert report["identities"] < 300
