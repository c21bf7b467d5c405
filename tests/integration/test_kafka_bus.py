"""The stream's machinery on a real broker: one writer, hand-over, recovery, and what must never stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from crowd import crowd
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from portraits import ALICE, NOON, encoded, portrait
from stream import PATIENT, Stream, make_topics, publish, stream_config
from verdict import Outcome, differences, undisturbed

from clustering.records import Sighting
from deploy import roles
from deploy.roles import run_alerter, run_clusterer, run_embedder
from deploy.routes import clusterer_routes
from deploy.settings import Settings
from deploy.watch import Watch
from embedder.records import FaceEmbedding, pack
from ingest.codec import Message, encode
from ingest.errors import Superseded, Unavailable, UsageError
from ingest.kafka_bus.client import connection
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.journal import OutputJournal
from ingest.kafka_bus.member import Member, Place
from ingest.kafka_bus.outbox import KafkaOutbox
from ingest.kafka_bus.topics import check_topics
from ingest.reasons import Reason
from ingest.records import AtmEvent, Position, Record, Rejection
from ingest.worker import Progress

pytest_plugins = ["servers.plugin"]

RULES = Path(__file__).parents[1] / "chaos" / "rules.yaml"
INPUT = Place(FACES, 0)
Runner = Callable[[Settings, Watch, Event], None]


@dataclass
class Role:
    """A role in a thread of this process, and what it told."""

    stream: Stream
    runner: Runner
    name: str
    batches: list[Progress] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    ready: Event = field(default_factory=Event)

    @property
    def state(self) -> Path:
        return self.stream.folder / "state" / self.name

    def __enter__(self) -> Role:
        settings = Settings(
            kafka=self.stream.config, state_dir=self.state, snapshot_every=2, rules=RULES, threads=1, stream_batch=50
        )
        watch = Watch(batch=self.batches.append, restarted=self.restarts.append, ready=self.ready.set)
        self._thread = Thread(target=self._run, args=(settings, watch))
        self._thread.start()
        return self

    def _run(self, settings: Settings, watch: Watch) -> None:
        try:
            self.runner(settings, watch, self.stop)
        except (UsageError, AssertionError) as error:
            self.failed.append(error)

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert not self.failed

    @property
    def inputs(self) -> int:
        return sum(batch.inputs for batch in self.batches)


@pytest.fixture(autouse=True)
def _nobody_ends_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "_end_now", lambda: None)


@pytest.fixture
def stream(kafka: str, tmp_path: Path) -> Iterator[Stream]:
    stream = Stream(stream_config(kafka, **PATIENT), tmp_path)
    make_topics(stream.config, events=1)
    with closing(stream):
        yield stream


@contextmanager
def clusterer(stream: Stream, name: str = "clusterer") -> Iterator[Role]:
    with Role(stream, run_clusterer, name) as role:
        yield role


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def faces(count: int, seed: int = 1) -> list[FaceEmbedding]:
    return crowd(count, seed, "default")


def journal_is_right(stream: Stream, sent: Sequence[Record]) -> bool:
    expected = undisturbed(sent, RULES)
    return differences(Outcome(expected.journal, ()), Outcome(tuple(stream.read(SIGHTINGS)), ())) == []


def test_of_two_clusterers_one_decides_and_the_other_takes_over(stream: Stream) -> None:
    sent = faces(300)
    with clusterer(stream, "first") as first:
        until(first.ready.is_set)
        with clusterer(stream, "second") as second:
            stream.publish(sent[:200], FACES)
            until(lambda: first.inputs + second.inputs == 200)
            active, standby = (first, second) if first.batches else (second, first)
            assert (active.inputs, standby.inputs) == (200, 0)
            until(standby.ready.is_set)
            active.stop.set()
            stream.publish(sent[200:], FACES)
            until(lambda: standby.inputs == 100)
    assert journal_is_right(stream, sent)


def test_a_clusterer_whose_work_was_taken_forgets_all_and_asks_for_work_anew(stream: Stream) -> None:
    sent = faces(200)
    with clusterer(stream) as role, ExitStack() as closing_:
        stream.publish(sent[:100], FACES)
        until(lambda: role.inputs == 100)
        member = Member(stream.config, "somebody", [SIGHTINGS], 10)
        closing_.callback(member.close)
        name = f"{stream.config.group}-clusterer-{INPUT.name.replace('/', '-')}"
        KafkaOutbox(stream.config, name, member, clusterer_routes(stream.config)).close()
        stream.publish(sent[100:], FACES)
        until(lambda: role.inputs == 200)
        assert len(role.restarts) == 1
    assert journal_is_right(stream, sent)


def test_a_zombies_commit_leaves_nothing_behind(stream: Stream) -> None:
    config = stream.config
    stream.publish(faces(1), FACES)
    sightings = [r for r in undisturbed(faces(1), RULES).journal if isinstance(r, Sighting)]
    with ExitStack() as closing_:
        member = Member(config, "clusterer", [FACES], 10)
        closing_.callback(member.close)
        until(lambda: bool(member.poll(10, 0.2)))
        journal = OutputJournal(config, Place(SIGHTINGS, 0), (Sighting, Rejection))

        def opened() -> KafkaOutbox:
            outbox = KafkaOutbox(config, "one", member, clusterer_routes(config), inputs=INPUT, journal=journal)
            closing_.callback(outbox.close)
            return outbox

        zombie, heir = opened(), opened()
        position = Position(partition=INPUT.name, offset=0)
        with pytest.raises(Superseded):
            zombie.commit(sightings, position)
        assert heir.committed() is None
        assert list(heir.journal()) == []
        heir.commit(sightings, position)
        assert heir.committed() == position
        journal.marks.clear()
        assert list(heir.journal()) == sightings
        with pytest.raises((Superseded, Unavailable)):
            zombie.commit(sightings, position)
    assert stream.read(SIGHTINGS) == sightings


def _no_snapshot(state: Path) -> None:
    for path in snapshots(state):
        path.unlink()


def _damaged(state: Path) -> None:
    for path in snapshots(state):
        path.write_bytes(path.read_bytes()[:-3] + b"abc")


def _newer(state: Path) -> None:
    for path in snapshots(state):
        path.write_bytes(path.read_bytes().replace(b"atmwatch-snapshot 1 ", b"atmwatch-snapshot 2 "))


def snapshots(state: Path) -> list[Path]:
    found = list(state.rglob("*.snapshot"))
    assert found
    return found


@pytest.mark.parametrize("runner", [run_clusterer, run_alerter])
@pytest.mark.parametrize("harm", [lambda _: None, _no_snapshot, _damaged, _newer])
def test_memory_comes_back_from_snapshot_or_journal(
    stream: Stream, harm: Callable[[Path], None], runner: Runner
) -> None:
    """What was there before must be known: nobody is counted twice or founded again, no alert is raised again."""
    sent = faces(400, seed=7)
    expected = undisturbed(sent, RULES)
    name, topic = ("clusterer", FACES) if runner is run_clusterer else ("alerter", SIGHTINGS)
    inputs = sent if runner is run_clusterer else list(expected.journal)
    for part in (inputs[:250], inputs[250:]):
        with Role(stream, runner, name) as role:
            publish(stream.config, topic, [(0, encode(record)) for record in part])
            until(lambda role=role, part=part: role.inputs == len(part))  # type: ignore[misc]
        if part == inputs[:250]:
            harm(role.state)
    if harm in (_damaged, _newer):
        assert list(role.state.rglob("*.bad"))
    found = Outcome(tuple(stream.read(SIGHTINGS)), tuple(stream.read(ALERTS)))  # type: ignore[arg-type]
    wanted = Outcome(expected.journal, expected.alerts if runner is run_alerter else ())
    assert differences(wanted, found) == []


def test_missing_topics_and_wrong_partitions_are_named(kafka: str) -> None:
    config = stream_config(kafka)
    with pytest.raises(UsageError, match=rf"{config.topic_prefix}atm\.faces is missing.*topics create"):
        check_topics(config, (FACES, SIGHTINGS))
    make_topics(config, sightings=3)
    check_topics(config, (FACES, ALERTS, EVENTS, DEADLETTER))
    with pytest.raises(UsageError, match=r"atm\.sightings has 3 partitions for 1 scopes"):
        check_topics(config, (FACES, SIGHTINGS))


def largest(config: KafkaConfig, topic: str, size: int) -> None:
    """Let a topic take records of ``size``, as somebody's mistake would."""
    changed = ConfigResource(ConfigResourceType.TOPIC, config.topic_prefix + topic, configs={"max.message.bytes": size})
    with KafkaAdminClient(**connection(config)) as admin:
        admin.alter_configs([changed])


def event(name: str = "e", **more: object) -> AtmEvent:
    picture = encoded(portrait(ALICE))
    return AtmEvent.model_validate({"event_id": name, "atm_id": "ATM-1", "captured_at": NOON, "image": picture, **more})


def test_what_no_embedder_can_use_becomes_a_dead_letter_with_its_place(stream: Stream) -> None:
    claim = event(image=None, image_uri="s3://b/a.jpg", sha256="0" * 64)
    fine, structured = encode(event()), encode(claim)
    assert structured.value is not None
    headers = dict(fine.headers)
    poison = [
        Message(b"ATM-1", b"{", structured.headers),
        Message(b"ATM-1", b"no headers at all"),
        Message(b"ATM-1", None, fine.headers),
        Message(b"ATM-1", structured.value.replace(b'"schema_version":1', b'"schema_version":7'), structured.headers),
        Message(b"ATM-1", structured.value.replace(b'"atm_id"', b'"atm_name":"x","atm_id"'), structured.headers),
        encode(event(scope="elsewhere")),
        encode(event(captured_at=NOON + timedelta(days=36_500))),
        Message(b"ATM-1", b"\xff" * 30_000_000, tuple(headers.items())),
        encode(claim),
        encode(event(image=b"\xff\xd8 not a picture")),
    ]
    largest(stream.config, EVENTS, 64_000_000)
    publish(stream.config, EVENTS, [(0, message) for message in [*poison, fine]])
    with Role(stream, run_embedder, "embedder") as role:
        until(lambda: role.inputs == len(poison) + 1)
    letters = [letter for letter in stream.read(DEADLETTER) if isinstance(letter, Rejection)]
    assert [letter.reason for letter in letters] == [
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
        Reason.EMPTY_FILE,
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
        Reason.UNKNOWN_SCOPE,
        Reason.CAPTURED_AT_IN_FUTURE,
        Reason.TOO_MANY_BYTES,
        Reason.OUTSIDE_ROOT,
        Reason.TRUNCATED_IMAGE,
    ]
    assert [letter.position for letter in letters] == [
        Position(partition="atm.events/0", offset=offset) for offset in range(len(poison))
    ]
    assert "schema version" in letters[3].detail
    assert "atm_name" in letters[4].detail
    (face,) = stream.read(FACES)
    assert isinstance(face, FaceEmbedding)


def test_what_no_clusterer_can_use_becomes_a_dead_letter_with_its_place(stream: Stream) -> None:
    (face,) = faces(1)
    strange = face.event.model_copy(update={"scope": "elsewhere"})
    nan, short = np.full(128, np.nan, np.float32), np.full(64, 0.125, np.float32)
    rejection = Rejection(reason=Reason.NO_FACE, source="x", detail="-", stage="embedder", scope="elsewhere")
    poison = [
        Message(b"default", b"not JSON", encode(face).headers),
        encode(face.model_copy(update={"vector": pack(short)})),
        Message(b"default", encode_raw(face, nan), encode(face).headers),
        encode(face.model_copy(update={"model_id": "another-model"})),
        encode(face.model_copy(update={"event": strange})),
        encode(rejection),
        encode(event()),
    ]
    publish(stream.config, FACES, [(0, message) for message in [*poison, encode(face)]])
    with clusterer(stream) as role:
        until(lambda: role.inputs == len(poison) + 1)
    letters = [letter for letter in stream.read(DEADLETTER) if isinstance(letter, Rejection)]
    assert [letter.reason for letter in letters] == [
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
        Reason.BAD_RECORD,
        Reason.MODEL_MISMATCH,
        Reason.UNKNOWN_SCOPE,
        Reason.UNKNOWN_SCOPE,
        Reason.BAD_RECORD,
    ]
    places = [letter.position.offset for letter in letters if letter.position is not None]
    assert places == [0, 1, 2, 3, 4, 6]
    assert len(stream.read(SIGHTINGS)) == 1


def encode_raw(face: FaceEmbedding, vector: np.ndarray) -> bytes:
    """The face with another vector, past every check of ours."""
    return face.model_copy(update={"vector": pack(vector)}).to_json().encode()


def test_members_tell_how_far_they_are(stream: Stream) -> None:
    stream.publish(faces(5), FACES)
    with closing(Member(stream.config, "reader", [FACES], 2)) as member:
        until(lambda: bool(member.poll(2, 0.2)))
        assert member.lags() == {INPUT: 3}
        assert member.committed(INPUT) is None

        def from_the_start() -> list[int]:
            member.seek(INPUT, None)
            return [received.offset for received in member.poll(2, 0.2)]

        until(lambda: from_the_start() == [0, 1])
        assert TopicPartition(stream.config.topic_prefix + FACES, 0) == INPUT.on_wire(stream.config)


def test_a_join_that_outlasts_a_poll_is_seen_through(stream: Stream) -> None:
    """A member that forgot a join it had begun would never send a heartbeat again."""
    with closing(Member(stream.config, "reader", [FACES], 2)) as member:
        coordinator = member._consumer._coordinator
        until(lambda: not member.poll(2, 0.2) and bool(member.changes()) and coordinator.stable())

        coordinator._assignment_snapshot = {}  # as where newer metadata have come since the leader divided the work
        member.poll(2, 0.001)
        assert coordinator.rejoining
        until(lambda: coordinator._assignment_snapshot != {})  # the join goes on between polls, and its reason is gone

        until(lambda: not member.poll(2, 0.2) and coordinator.stable(), seconds=5)
        assert coordinator._heartbeat_enabled
        assert not coordinator.rejoining
