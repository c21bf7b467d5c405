"""The view role on a real Kafka and a real Redis: it ends at the journal's truth, whatever happens to Redis."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
import redis
from command import run
from dashboard import everything
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from stream import PATIENT, make_topics, publish, stream_config
from templates import NOON, face, sighting

from alerts.records import Alert, Evidence, Severity
from alerts.redis_view import RedisOptions, RedisView, connect
from alerts.view import Projection
from alerts.view_fold import ViewOptions
from alerts.view_memory import MemoryView
from clustering.records import Sighting
from deploy.metrics import Dependency
from deploy.settings import Settings, load_settings
from deploy.view import rebuild_views, run_view
from deploy.view_key import view_key
from deploy.watch import Watch
from ingest.codec import Message, encode
from ingest.errors import AtmwatchError, Corrupt, UsageError
from ingest.kafka_bus.client import connection
from ingest.kafka_bus.config import ALERTS, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.feed import JournalDamaged, PartitionFeed
from ingest.kafka_bus.member import Place
from ingest.reasons import Reason
from ingest.records import Position, Record, Rejection

SCOPES = ("north", "south")


@pytest.fixture
def config(kafka: str) -> KafkaConfig:
    config = stream_config(kafka, scopes=SCOPES, **PATIENT)
    make_topics(config)
    return config


@pytest.fixture
def settings(config: KafkaConfig, redis_url: str, tmp_path: Path) -> Settings:
    return load_settings(kafka=config, redis={"url": redis_url, "prefix": config.group}, state_dir=tmp_path)


def seen(number: int, person: int, scope: str, minutes: float) -> Sighting:
    event = {"atm": f"a{number % 3}", "card": f"tok-{number % 5}", "scope": scope}
    return sighting(face(f"{scope}-{number}", [1.0, 0.0], minutes, **event), person, visits=number // 4 + 1)


def missed(number: int, scope: str) -> Rejection:
    at = NOON + timedelta(minutes=number)
    known = {"source": f"{number}.jpg", "detail": "None.", "stage": "embedder", "atm_id": "a1", "captured_at": at}
    return Rejection(reason=Reason.NO_FACE, scope=scope, **known)


def raised(number: int, scope: str) -> Alert:
    proof = Evidence(event_id=f"{scope}-{number}", atm_id="a1", captured_at=NOON, source="x.jpg")
    return Alert(
        alert_id=f"alert-{scope}-{number}",
        rule_id="R1",
        title="Came often",
        severity=Severity.HIGH,
        subject="person-1",
        episode=number + 1,
        identity_id="person-1",
        number=1,
        scope=scope,
        raised_at=NOON + timedelta(minutes=number),
        window_start=NOON,
        measured={"visits": 3.0},
        limits={"visits": 3.0},
        confidence=0.9,
        evidence=(proof,),
        position=Position(offset=number),
    )


def journal(scope: str, first: int, count: int) -> list[Record]:
    return [
        missed(number, scope) if number % 7 == 0 else seen(number, number % 4 + 1, scope, 3.0 * number)
        for number in range(first, first + count)
    ]


def write(config: KafkaConfig, topic: str, scope: str, records: Sequence[Record], *, commit: bool = True) -> None:
    """One transaction, which leaves its marker at the partition's end."""
    partition = config.partition_of(scope)
    name = f"{config.group}-{topic}-{scope}"
    with closing(KafkaProducer(**connection(config), transactional_id=name)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        for record in records:
            message = encode(record)
            producer.send(config.topic_prefix + topic, message.value, message.key, list(message.headers), partition)
        producer.flush(10)
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()


def oracle(settings: Settings, scope: str, sightings: Sequence[Record], alerts: Sequence[Record]) -> MemoryView:
    """The view of what was written, by way of neither Kafka nor Redis."""
    view = MemoryView(ViewOptions(gap=settings.policy.visit_gap))
    projection = Projection(scope, view_key(settings))
    for name, records in (("s", sightings), ("a", alerts)):
        changes = [change for i, record in enumerate(records) if (change := projection.change(record, i))]
        view.apply(name, len(records), changes, after=None)
    return view


@contextmanager
def stored(settings: Settings, scope: str) -> Iterator[RedisView]:
    """The scope's view as a reader has it, who does not know the secret."""
    assert settings.redis.url is not None
    with closing(connect(settings.redis.url.get_secret_value())) as client:
        yield RedisView(client, scope, RedisOptions(prefix=settings.redis.prefix))


def shows(settings: Settings, expected: dict[str, MemoryView]) -> bool:
    for scope, view in expected.items():
        with stored(settings, scope) as found:
            if everything(found) != everything(view):
                return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


@contextmanager
def running(settings: Settings, watch: Watch | None = None) -> Iterator[list[AtmwatchError]]:
    """The role in a thread; what ended it, if anything did."""
    stop, errors = Event(), list[AtmwatchError]()

    def role() -> None:
        try:
            run_view(settings, watch or Watch(), stop)
        except AtmwatchError as error:
            errors.append(error)

    thread = Thread(target=role)
    thread.start()
    try:
        yield errors
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def forget(settings: Settings) -> None:
    """What an operator's FLUSHALL does, to this test's keys."""
    assert settings.redis.url is not None
    with redis.Redis.from_url(settings.redis.url.get_secret_value()) as client:
        keys = list(client.scan_iter(f"{settings.redis.prefix}:*"))
        assert keys
        client.delete(*keys)


def test_the_view_is_that_of_the_journal_also_after_redis_was_flushed(settings: Settings) -> None:
    told: list[str] = []
    lags: dict[Place, int] = {}
    dependencies: dict[Dependency, bool] = {}
    restored: list[float] = []
    watch = Watch(
        ready=lambda: told.append("ready"),
        not_ready=told.append,
        view_lags=lags.update,
        depends=dependencies.__setitem__,
        restored=restored.append,
    )
    sightings = {scope: journal(scope, 0, 40) for scope in SCOPES}
    alerts = {scope: [raised(n, scope) for n in range(3)] for scope in SCOPES}
    for scope in SCOPES:
        write(settings.kafka, SIGHTINGS, scope, sightings[scope])
        write(settings.kafka, SIGHTINGS, scope, journal(scope, 500, 5), commit=False)
        write(settings.kafka, ALERTS, scope, alerts[scope])

    def expected() -> dict[str, MemoryView]:
        return {scope: oracle(settings, scope, sightings[scope], alerts[scope]) for scope in SCOPES}

    with running(settings, watch) as errors:
        eventually(lambda: shows(settings, expected()))
        eventually(lambda: len(lags) == 4 and not any(lags.values()))  # markers and aborted records are no lag
        assert told[0].startswith("building the view of north")
        eventually(lambda: told[-1] == "ready")
        assert len(restored) == 2
        forget(settings)
        more = journal("south", 40, 20)
        write(settings.kafka, SIGHTINGS, "south", more)
        sightings["south"] = sightings["south"] + more
        eventually(lambda: shows(settings, expected()))
        eventually(lambda: told[-1] == "ready")
        assert any("flushed" in reason or "not where" in reason for reason in told)
        assert dependencies == {Dependency.REDIS: True}
    assert errors == []

    # A second one goes on where the first one stopped, and does not build anything anew.
    more = journal("north", 40, 10)
    write(settings.kafka, SIGHTINGS, "north", more)
    sightings["north"] = sightings["north"] + more
    told.clear()
    with running(settings, watch) as errors:
        eventually(lambda: shows(settings, expected()))
    assert errors == []
    assert not any(reason.startswith("building") for reason in told)


def test_a_view_of_another_secret_is_built_anew(settings: Settings, tmp_path: Path) -> None:
    sightings = journal("north", 0, 30)
    write(settings.kafka, SIGHTINGS, "north", sightings)
    write(settings.kafka, ALERTS, "north", [])
    totals = rebuild_views(settings, ["north"])
    assert list(totals) == ["north"]
    assert totals["north"].pictures == 30
    other = settings.model_copy(update={"view_secret_file": tmp_path / "another"})
    (tmp_path / "another").write_text("x" * 40)
    write(settings.kafka, SIGHTINGS, "north", [seen(99, 1, "north", 500.0)])
    sightings.append(seen(99, 1, "north", 500.0))
    assert not shows(other, {"north": oracle(other, "north", sightings, [])})
    with running(other) as errors:  # gone on with, it would count the new picture's card once more
        eventually(lambda: shows(other, {"north": oracle(other, "north", sightings, [])}))
    assert errors == []


def test_what_no_role_can_have_written_ends_the_role_and_names_its_place(settings: Settings) -> None:
    write(settings.kafka, SIGHTINGS, "south", journal("south", 0, 3))
    publish(settings.kafka, SIGHTINGS, [(1, Message(b"south", b"{}", (("content-type", b"application/json"),)))])
    with running(settings) as errors:
        eventually(lambda: bool(errors))
    assert isinstance(errors[0], JournalDamaged)
    assert "atm.sightings/1@4 is no record of the journal" in str(errors[0])


def polled(feed: PartitionFeed, most: int) -> list[int]:
    """The offsets of the next records, which are there, but may take a while to come."""
    found: list[int] = []
    eventually(lambda: bool(found.extend(d.position.offset for d in feed.poll(most)) or found))
    return found


def test_a_feed_tells_of_a_hole(config: KafkaConfig) -> None:
    write(config, SIGHTINGS, "north", journal("north", 0, 10))
    place = Place(SIGHTINGS, 0)
    with closing(PartitionFeed(config, place, (Sighting, Rejection))) as feed:
        feed.seek(None)
        found: list[int] = []
        while feed.lag():
            found += [delivery.position.offset for delivery in feed.poll(4)]
        assert found == list(range(10))
        assert feed.lag() == 0
        feed.seek(Position(partition=place.name, offset=7))
        assert polled(feed, 100) == [8, 9]
        with pytest.raises(Corrupt, match="does not reach back"):
            feed.seek(Position(partition=place.name, offset=50))
        with closing(KafkaAdminClient(**connection(config))) as admin:
            admin.delete_records({place.on_wire(config): 5})
        feed.seek(Position(partition=place.name, offset=4))
        with pytest.raises(Corrupt, match="offset 4"):
            feed.seek(Position(partition=place.name, offset=3))
        feed.seek(None)
        assert polled(feed, 1) == [5]


def environment(settings: Settings, **more: str) -> dict[str, str]:
    config = settings.kafka
    assert settings.redis.url is not None
    return {
        "ATMWATCH_KAFKA__BOOTSTRAP": config.bootstrap,
        "ATMWATCH_KAFKA__TOPIC_PREFIX": config.topic_prefix,
        "ATMWATCH_KAFKA__GROUP": config.group,
        "ATMWATCH_KAFKA__SCOPES": json.dumps(config.scopes),
        "ATMWATCH_REDIS__URL": settings.redis.url.get_secret_value(),
        "ATMWATCH_REDIS__PREFIX": settings.redis.prefix,
        "ATMWATCH_STATE_DIR": str(settings.state_dir),
        **more,
    }


def test_the_command_rebuilds_and_says_what_is_wrong(settings: Settings) -> None:
    write(settings.kafka, SIGHTINGS, "north", journal("north", 0, 12))
    write(settings.kafka, ALERTS, "north", [raised(0, "north")])
    known = environment(settings)
    done = run("view", "rebuild", "--json", environment=known)
    assert (done.code, done.err) == (0, "")
    scopes = json.loads(done.out)["scopes"]
    assert (scopes["north"]["pictures"], scopes["north"]["alerts"], scopes["south"]["pictures"]) == (12, 1, 0)
    done = run("view", "rebuild", "--scope", "north", environment=known)
    assert done.code == 0
    assert "north" in done.out
    assert "south" not in done.out

    done = run("view", "rebuild", "--scope", "east", environment=known)
    assert done.code == 2
    assert "no scope east" in done.err
    with pytest.raises(UsageError, match="ATMWATCH_REDIS__URL"):
        rebuild_views(load_settings(kafka=settings.kafka, state_dir=settings.state_dir))
    wrong = known["ATMWATCH_REDIS__URL"].replace(":", ":wrong", 2).replace(":wrong//", "://")
    done = run("view", "rebuild", environment=environment(settings, ATMWATCH_REDIS__URL=wrong))
    assert done.code == 2
    assert "Redis refuses" in done.err
    missing = f"none-{uuid.uuid4().hex}."
    done = run("view", "rebuild", environment=environment(settings, ATMWATCH_KAFKA__TOPIC_PREFIX=missing))
    assert done.code == 2
    assert "is missing" in done.err
