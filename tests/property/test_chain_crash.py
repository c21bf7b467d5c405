"""The whole chain of deciding and alerting: whenever it dies, and whatever comes twice, it ends the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.records import Alert
from alerts.rulefile import parse_rules
from alerts.stage import AlertStage
from clustering.stage import ClusterStage
from deploy.wiring import JOURNALS
from embedder.cards import WEIGHTS, load_model_card
from embedder.records import Box, FaceEmbedding, Quality, pack
from ingest.bus import Outbox
from ingest.jsonl_bus import JsonlOutbox, Mode
from ingest.memory_bus import Crash, Crashed, MemoryOutbox, MemorySource
from ingest.reasons import Reason
from ingest.records import AtmEvent, Position, Record, Rejection
from ingest.snapshots import Snapshot, SnapshotStore
from ingest.stage import Chain, Delivery
from ingest.worker import Pace, Worker

DIM, PEOPLE, NOBODY = 16, 5, "nobody"
CARD = load_model_card(WEIGHTS / "sface").model_copy(update={"dim": DIM})
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
RULES = parse_rules(b"""
version: 1
rules:
  - {id: TWICE, title: Came twice, severity: low, per: identity, cooldown: 20m,
     when: {any: [{window: 30m, visits: 2}, {window: 2h, visits: 5, severity: high}]}}
  - {id: CARDS, title: Two cards, severity: high, per: identity, cooldown: 10m, reopen_step: 1,
     when: {any: [{window: 1h, distinct_cards: 2}]}}
  - {id: HANDS, title: One card and two people, severity: medium, per: card, cooldown: 1h,
     when: {any: [{window: 2h, distinct_persons: 2}]}}
  - {id: CROWD, title: Two people came twice, severity: critical, per: atm, cooldown: 1h,
     when: {any: [{window: 2h, distinct_persons: 2, fired: TWICE}]}}
  - {id: BLIND, title: Nothing to be seen, severity: low, queue: data_quality, per: atm, cooldown: 30m,
     when: {any: [{window: 1h, unusable_pictures: 2}]}}
""")


class FakeEmbedder:
    """Random unit vectors: each person's own, and a little of each event's; a picture of nobody is rejected."""

    name = "embedder"

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        return [Delivery(self._one(delivery), delivery.position) for delivery in batch]

    def _one(self, delivery: Delivery) -> Record:
        event = delivery.record
        assert isinstance(event, AtmEvent)
        if event.camera == NOBODY:
            return Rejection(
                reason=Reason.NO_FACE,
                source=event.event_id,
                detail=Reason.NO_FACE.sentence,
                stage=self.name,
                event_id=event.event_id,
                atm_id=event.atm_id,
                scope=event.scope,
                captured_at=event.captured_at,
                position=delivery.position,
            )
        noise = np.random.default_rng(crc32(event.event_id.encode()))
        person = np.random.default_rng(crc32(str(event.camera).encode()))
        vector = person.normal(size=DIM) + 0.6 * noise.normal(size=DIM)
        return FaceEmbedding(
            face_id=f"{event.event_id}#0",
            event=event,
            model_id=CARD.model_id,
            vector=pack((vector / np.linalg.norm(vector)).astype(np.float32)),
            box=Box(x=1, y=2, width=30, height=40),
            landmarks=(),
            quality=Quality(
                eye_distance_px=30,
                sharpness=100,
                brightness=120,
                contrast=30,
                yaw=0,
                detection=0.9,
                score=round(float(noise.uniform(0.2, 1)), 3),
            ),
        )


class Pipeline:
    """The production stages behind a fake embedder."""

    def __init__(self) -> None:
        self.cluster = ClusterStage(CARD)
        self.alerts = AlertStage(RULES)
        self.chain = Chain(FakeEmbedder(), self.cluster, self.alerts)

    @property
    def state(self) -> tuple[bytes, object, object]:
        return self.alerts.snapshot(), list(self.cluster.roster.usages()), self.alerts.report()


class Death(Enum):
    IN_POLL = auto()
    BEFORE_COMMIT = auto()
    AFTER_COMMIT = auto()
    AFTER_SNAPSHOT = auto()


@dataclass(frozen=True)
class Life:
    """One process: how it works, and how it dies after so many ``steps``."""

    death: Death
    steps: int
    batch: int
    snapshot_every: int


class DyingOutbox:
    """Any outbox, and the death of the process at one of its commits."""

    def __init__(self, outbox: Outbox, life: Life) -> None:
        self._outbox, self._life, self._left = outbox, life, life.steps
        self.committed, self.journal, self.close = outbox.committed, outbox.journal, outbox.close

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:
        dying = self._left == 0
        self._left -= 1
        if dying and self._life.death is Death.BEFORE_COMMIT:
            raise Crashed
        self._outbox.commit(outputs, *upto)
        if dying and self._life.death is Death.AFTER_COMMIT:
            raise Crashed


class DyingSnapshots(SnapshotStore):
    def __init__(self, folder: Path, life: Life) -> None:
        super().__init__(folder)
        self._life, self._left = life, life.steps // 3

    def save(self, snapshot: Snapshot) -> None:
        super().save(snapshot)
        self._left -= 1
        if self._left < 0 and self._life.death is Death.AFTER_SNAPSHOT:
            raise Crashed


@st.composite
def streams(draw: st.DrawFn) -> list[AtmEvent]:
    """Events in order of time; some come twice, as a camera's retries do, the second time hours late."""
    uses = st.tuples(
        st.integers(0, 25), st.sampled_from([NOBODY, *"abcde"]), st.integers(0, 2), st.sampled_from([None, "x", "y"])
    )
    minute, events = 0, []
    for number, (gap, who, atm, card) in enumerate(draw(st.lists(uses, min_size=4, max_size=40))):
        minute += gap
        events.append(
            AtmEvent(
                event_id=f"e{number}",
                atm_id=f"ATM-{atm}",
                captured_at=NOON + timedelta(minutes=minute),
                camera=who,
                card_token=card,
            )
        )
    again = draw(st.lists(st.tuples(st.integers(0, len(events) - 1), st.integers(0, 8)), max_size=6))
    for place, later in sorted(again, reverse=True):
        events.insert(min(place + 1 + later, len(events)), events[place])
    return events


LIVES = st.lists(
    st.builds(
        Life,
        death=st.sampled_from(Death),
        steps=st.integers(0, 8),
        batch=st.integers(1, 9),
        snapshot_every=st.integers(1, 4),
    ),
    max_size=4,
)


@pytest.fixture(scope="module", autouse=True)
def _no_fsync() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # the tests pull no plug
        patch.setattr(os, "fsync", lambda _: None)
        yield


def outbox_of(kind: str, kept: MemoryOutbox, folder: Path) -> Outbox:
    return kept if kind == "memory" else JsonlOutbox(folder, JOURNALS, mode=Mode.RESUME, fsync_every=None)


def live(kind: str, kept: MemoryOutbox, folder: Path, stream: list[AtmEvent], life: Life) -> None:
    inputs: list[Record | Crash] = list(stream)
    if life.death is Death.IN_POLL:
        inputs.insert(min(life.steps * life.batch, len(stream)), Crash())
    worker = Worker(
        Pipeline().chain,
        MemorySource(inputs),
        DyingOutbox(outbox_of(kind, kept, folder), life),
        snapshots=DyingSnapshots(folder / "state", life),
        pace=Pace(batch=life.batch, snapshot_every=life.snapshot_every),
    )
    with suppress(Crashed):
        worker.run()


@pytest.mark.parametrize("kind", ["memory", "jsonl"])
@settings(deadline=None, max_examples=40)
@given(stream=streams(), lives=LIVES, batch=st.integers(1, 40))
def test_every_crash_schedule_ends_as_the_undisturbed_run(
    kind: str, stream: list[AtmEvent], lives: list[Life], batch: int
) -> None:
    undisturbed, expected = Pipeline(), MemoryOutbox()
    Worker(undisturbed.chain, MemorySource(stream), expected, pace=Pace(batch=1)).run()
    with TemporaryDirectory() as name:
        folder, kept = Path(name), MemoryOutbox()
        for life in lives:
            live(kind, kept, folder, stream, life)
        last = Pipeline()
        snapshots = SnapshotStore(folder / "state")
        outbox = outbox_of(kind, kept, folder)
        Worker(last.chain, MemorySource(stream), outbox, snapshots=snapshots, pace=Pace(batch=batch)).run()
        assert last.state == undisturbed.state

        reopened = outbox_of(kind, kept, folder)
        assert list(reopened.journal()) == expected.outputs
        reborn = Pipeline()
        Worker(reborn.chain, MemorySource(stream), reopened, snapshots=snapshots).run()
        assert reborn.state == undisturbed.state


@settings(deadline=None, max_examples=30)
@given(stream=streams())
def test_events_that_come_again_change_no_count_and_raise_no_alert(stream: list[AtmEvent]) -> None:
    once = list({event.event_id: event for event in reversed(stream)}.values())[::-1]
    first = {event.event_id: place for place, event in reversed(list(enumerate(stream)))}
    once.sort(key=lambda event: first[event.event_id])
    kept, repeated = Pipeline(), Pipeline()
    plain, twice = MemoryOutbox(), MemoryOutbox()
    Worker(kept.chain, MemorySource(once), plain).run()
    Worker(repeated.chain, MemorySource(stream), twice).run()
    assert list(repeated.cluster.roster.usages()) == list(kept.cluster.roster.usages())

    def alerts(outbox: MemoryOutbox) -> list[tuple[str, str, datetime]]:
        return [(a.alert_id, a.subject, a.raised_at) for a in outbox.outputs if isinstance(a, Alert)]

    assert alerts(twice) == alerts(plain)
    duplicates = [r for r in twice.outputs if isinstance(r, Rejection) and r.reason is Reason.DUPLICATE_EVENT]
    faces_again = [e for place, e in enumerate(stream) if first[e.event_id] != place and e.camera != NOBODY]
    assert len(duplicates) == len(faces_again)
