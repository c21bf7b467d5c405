"""How soon an event is answered by its alert: every role a process of its own, events at a steady rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic, sleep

from alerts.records import Alert
from deploy.bench_roles import START_LIMIT_S, RoleProcess
from deploy.bench_stream import Say, Stream, visits_of
from deploy.roles import ALERTER, CLUSTERER, EMBEDDER
from deploy.routes import publisher_route
from ingest.codec import decode
from ingest.kafka_bus.config import ALERTS, EVENTS, KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.reader import PartitionReader
from ingest.records import AtmEvent

WARM_UP = 20
"""Events before those that are timed."""
STRAGGLERS_S = 15.0
ROLES = (EMBEDDER, CLUSTERER, ALERTER)
ALERT_ON_EVERYBODY = """\
version: 1
rules:
  - id: ANYBODY
    title: Somebody is at the machine
    severity: low
    queue: data_quality
    per: atm
    when:
      any:
        - {window: 60s, distinct_persons: 1}
    cooldown: 60s
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """``delays_ms`` from publishing to alert, of each timed event that was answered; the ``roles`` that did it.

    ``embedder_cpu_ms`` is the embedder's processor time an event, that of its start included.
    """

    delays_ms: list[float]
    roles: list[RoleProcess]
    embedder_cpu_ms: float


def measure_latency(stream: Stream, pictures: list[AtmEvent], events: int, rate: float, say: Say) -> Answers:
    """Publish ``events`` after a warm-up, ``rate`` a second, and wait for an alert on each."""
    rules = stream.folder / "rules.yaml"
    rules.write_text(ALERT_ON_EVERYBODY, "utf-8")
    sent: dict[str, float] = {}
    answered: dict[str, float] = {}
    total = WARM_UP + events

    def paced() -> Iterator[AtmEvent]:
        due = monotonic()
        for event in visits_of(pictures, total):
            sleep(max(0.0, due - monotonic()))
            due += 1 / rate
            sent[event.atm_id] = monotonic()
            yield event

    with ExitStack() as closing:
        say("Starting one process for each role")
        roles = [closing.enter_context(stream.run(role, ATMWATCH_RULES=str(rules))) for role in ROLES]
        for role in roles:
            role.wait_ready(START_LIMIT_S)
        say(f"{total:,} events, {rate:g} a second")
        with _listening(stream.config, answered):
            stream.publish(paced(), publisher_route, EVENTS)
            end = monotonic() + STRAGGLERS_S
            while len(answered) < total and monotonic() < end:
                sleep(0.05)
        for role in roles:
            role.look()
    delays = [1000 * (answered[name] - sent[name]) for name in list(sent)[WARM_UP:] if name in answered]
    return Answers(delays, roles, 1000 * roles[0].looks[-1].cpu_s / total)


@contextmanager
def _listening(config: KafkaConfig, arrived: dict[str, float]) -> Iterator[None]:
    """While the block runs, note in ``arrived`` when each machine's first alert came."""
    reader = PartitionReader(config, Place(ALERTS, 0))
    reader.seek(0)
    stop = Event()

    def listen() -> None:
        while not stop.is_set():
            for received in reader.poll(500, 0.1):
                alert = decode(received.message, Alert)
                arrived.setdefault(str(alert.atm_id), monotonic())

    listener = Thread(target=listen, name="listener", daemon=True)
    listener.start()
    try:
        yield
    finally:
        stop.set()
        listener.join()
        reader.close()
