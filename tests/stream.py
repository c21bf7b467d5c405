"""A stream to test with: topics of its own on a shared broker, roles as processes, and what came of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from servers.children import Child

from alerts.records import Alert
from clustering.records import Sighting
from deploy.topics import load_topics
from embedder.records import FaceEmbedding
from ingest.codec import Message, decode, encode
from ingest.kafka_bus.client import connection
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.reader import PartitionReader
from ingest.kafka_bus.topics import Admin
from ingest.records import AtmEvent, Record, Rejection

ROOT = Path(__file__).parents[1]
INPUTS = {"embedder": EVENTS, "clusterer": FACES, "alerter": SIGHTINGS}
CARRIED: Mapping[str, tuple[type[Record], ...]] = {
    EVENTS: (AtmEvent,),
    FACES: (FaceEmbedding, Rejection),
    SIGHTINGS: (Sighting, Rejection),
    ALERTS: (Alert,),
    DEADLETTER: (Rejection,),
}
SESSION_S = 3.0
PATIENT = {"session_timeout_s": 30.0, "transaction_timeout_s": 60.0, "request_timeout_s": 30.0}
"""For streams of which nothing is killed: on a busy machine nobody may be taken for dead for being slow."""
END_S = 10.0
"""How long a role may take to end when it is told to."""


def stream_config(bootstrap: str, **more: object) -> KafkaConfig:
    """Topics and groups of nobody else's, and timeouts for the impatient, who kill processes; see ``PATIENT``."""
    name = f"t{uuid4().hex[:10]}"
    defaults = {
        "bootstrap": bootstrap,
        "group": name,
        "topic_prefix": f"{name}.",
        "session_timeout_s": SESSION_S,
        "transaction_timeout_s": 6.0,
        "request_timeout_s": 5.0,
    }
    return KafkaConfig.model_validate({**defaults, **more})


def make_topics(config: KafkaConfig, **partitions: int) -> None:
    """All topics; ``events=1`` sets how many partitions one has, without its ``atm.``."""
    specs = [
        spec.model_copy(update={"partitions": partitions.get(spec.name.removeprefix("atm."), spec.partitions)})
        for spec in load_topics(None, config, 1)
    ]
    with closing(Admin(config)) as admin:
        admin.ensure(specs)


class Stream:
    """The topics of ``config``, the roles that ``start`` starts, and their logs and state in ``folder``."""

    def __init__(self, config: KafkaConfig, folder: Path, settings: Mapping[str, object] | None = None) -> None:
        self.config = config
        self.folder = folder
        self._settings = {"snapshot_every": 3, "threads": 1, "batch": 8, "stream_batch": 64, **(settings or {})}
        self.children: dict[str, Child] = {}

    def environment(self) -> dict[str, str]:
        """What a role needs to know."""
        wanted = {f"kafka__{name}": value for name, value in self.config.model_dump(mode="json").items()}
        wanted |= {"state_dir": self.folder / "state", "http__port": 0, **self._settings}
        given = {
            f"ATMWATCH_{name.upper()}": str(value).replace("'", '"')
            for name, value in wanted.items()
            if value is not None
        }
        return {**os.environ, **given, "OMP_NUM_THREADS": "1"}

    def start(self, role: str, name: str | None = None, program: Sequence[str] = ("-m", "deploy.cli")) -> Child:
        """A process of ``role``; its log is ``name``.log."""
        environment = self.environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        environment["ATMWATCH_STATE_DIR"] = str(self.folder / "state" / (name or role))
        child = Child([sys.executable, *program, "run", role], self.log(name or role), environment)
        self.children[name or role] = child
        return child

    def log(self, name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{name}.log"

    def close(self) -> None:
        """Stop whatever runs."""
        for child in self.children.values():
            child.kill()

    def publish(self, records: Sequence[Record], topic: str = EVENTS) -> None:
        """Send ``records``, those divided by scope into their partitions, and wait until they are there."""
        publish(self.config, topic, [(self._partition(topic, record), encode(record)) for record in records])

    def _partition(self, topic: str, record: Record) -> int | None:
        if isinstance(record, FaceEmbedding) and topic == FACES:
            return self.config.partition_of(record.event.scope)
        return None

    def read(self, topic: str, partition: int = 0) -> list[Record]:
        """Every committed record of a partition."""
        return [decode(message, *CARRIED[topic]) for message in messages(self.config, Place(topic, partition))]

    def is_done(self, role: str) -> bool:
        """Whether the role's group has taken everything that lies before it."""
        with observer(self.config, role) as watching:
            return watching()

    def wait_until_done(self, *roles: str, seconds: float = 60.0) -> None:
        """Return when each of ``roles``, in order, is done."""
        until = time.monotonic() + seconds
        for role in roles:
            with observer(self.config, role) as done:
                self.wait_until(done, f"the {role} was not done", until)

    def wait_until(self, true: Callable[[], bool], complaint: str, until: float) -> None:
        """Return when it is ``true``.  Raises AssertionError at ``until`` (``time.monotonic``), or when a role died."""
        while not true():
            dead = [name for name, child in self.children.items() if not child.is_running()]
            if dead or time.monotonic() > until:
                logs = "".join(f"\n{p.name}: {p.read_text()[-1500:]}" for p in self.folder.glob("*.log"))
                message = f"{complaint} in time; dead: {dead}{logs}"
                raise AssertionError(message)
            time.sleep(0.1)

    def wait_until_joined(self, role: str, seconds: float = 40.0) -> None:
        """Return when the role's group has divided its work."""
        group, until = f"{self.config.group}-{role}", time.monotonic() + seconds
        with KafkaAdminClient(**connection(self.config)) as admin:
            while not _is_stable(admin, group):
                assert time.monotonic() < until, self.log(role).read_text()[-2000:]
                time.sleep(0.1)


def _is_stable(admin: KafkaAdminClient, group: str) -> bool:
    try:
        return bool(admin.describe_groups([group])[group]["group_state"] == "Stable")
    except KafkaError as error:  # the broker's own topic is being made or read
        if not error.retriable:
            raise
        return False


@contextmanager
def observer(config: KafkaConfig, role: str) -> Iterator[Callable[[], bool]]:
    """A look at how far a role's group is; True once it has taken all records of its topic.

    Transactions leave marks in a partition that no record follows, so what lies behind the group's offset is read.
    """
    options = connection(config) | {"enable_auto_commit": False}
    with ExitStack() as stack:
        admin = stack.enter_context(KafkaAdminClient(**connection(config)))
        seen = stack.enter_context(
            KafkaConsumer(**options, isolation_level="read_committed", auto_offset_reset="earliest")
        )
        raw = stack.enter_context(KafkaConsumer(**options))
        (described,) = admin.describe_topics([config.topic_prefix + INPUTS[role]])
        places = [Place(INPUTS[role], number).on_wire(config) for number in range(len(described["partitions"]))]

        def done() -> bool:
            group = f"{config.group}-{role}"
            try:
                offsets = admin.list_group_offsets({group: None})[group]
            except KafkaError as error:  # the broker's own topic is being made or read
                if not error.retriable:
                    raise
                return False
            ends = seen.end_offsets(places)
            if ends != raw.end_offsets(places):
                return False  # a transaction is open
            open_ = {p: offsets[p].offset if p in offsets else 0 for p in places}
            open_ = {p: offset for p, offset in open_.items() if offset < ends[p]}
            seen.assign(list(open_))
            for place, offset in open_.items():
                seen.seek(place, max(offset, 0))
            while any(seen.position(p) < ends[p] for p in open_):
                if any(seen.poll(100).values()):
                    return False
            return True

        yield done


def publish(config: KafkaConfig, topic: str, sent: Sequence[tuple[int | None, Message]]) -> None:
    """Send messages in order, each to a partition or by its key, and wait until they are acknowledged."""
    producer = KafkaProducer(**connection(config), max_request_size=64 * 1024 * 1024, batch_size=256 * 1024, acks="all")
    with closing(producer):
        futures = [
            producer.send(
                config.topic_prefix + topic,
                value=message.value,
                key=message.key,
                headers=list(message.headers),
                partition=partition,
            )
            for partition, message in sent
        ]
        producer.flush(120)
        for future in futures:
            future.get(0)


def messages(config: KafkaConfig, place: Place) -> list[Message]:
    """Every committed message of a partition."""
    with closing(PartitionReader(config, place)) as reader:
        return [received.message for received in reader.read(reader.beginning, reader.end)]
