"""What must have come of a stream, whatever happened to it, and how what came differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crowd import CARD

from alerts.records import Alert
from alerts.rulefile import load_rules
from alerts.stage import AlertStage
from clustering.records import Sighting
from clustering.stage import ClusterStage
from embedder.records import FaceEmbedding
from ingest.memory_bus import MemoryOutbox, MemorySource
from ingest.reasons import UNUSABLE
from ingest.records import AtmEvent, Record, Rejection
from ingest.stage import Chain
from ingest.worker import Pace, Worker

SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """What a scope's topics hold in the end: the journal and the alerts, in order."""

    journal: tuple[Record, ...]
    alerts: tuple[Alert, ...]

    @property
    def visits(self) -> Mapping[str, int]:
        """Each identity's final count."""
        found: dict[str, int] = {}
        for record in self.journal:
            if isinstance(record, Sighting):
                found[record.identity_id] = record.visits
        return found


def undisturbed(arrived: Sequence[Record], rules: Path) -> Outcome:
    """What the embedded pipeline makes of the same records in the same order, with nothing in its way."""
    cluster, alerts = ClusterStage(CARD), AlertStage(load_rules(rules))
    outbox = MemoryOutbox()
    Worker(Chain(cluster, alerts), MemorySource(arrived), outbox, pace=Pace(batch=64)).run()
    journal = [r for r in outbox.outputs if isinstance(r, Sighting) or (_unusable(r))]
    return Outcome(tuple(journal), tuple(r for r in outbox.outputs if isinstance(r, Alert)))


def _unusable(record: Record) -> bool:
    return isinstance(record, Rejection) and record.reason in UNUSABLE


def differences(expected: Outcome, found: Outcome) -> list[str]:
    """Every way in which ``found`` is not ``expected``, as sentences; empty when it is."""
    said: list[str] = []
    for what, right, got in (
        ("journal", expected.journal, found.journal),
        ("alerts", expected.alerts, found.alerts),
    ):
        names, there = [_name(r) for r in right], [_name(r) for r in got]
        said += _counted(what, names, there)
        if names == there:
            wrong = [name for name, a, b in zip(names, right, got, strict=True) if _bare(a) != _bare(b)]
            if wrong:
                said.append(f"{what}: {len(wrong)} records differ: {wrong[:SHOWN]}")
    off = {who: (n, found.visits.get(who)) for who, n in expected.visits.items() if found.visits.get(who) != n}
    if off or expected.visits.keys() != found.visits.keys():
        said.append(f"visits of {len(off)} identities differ (expected, found): {list(off.items())[:SHOWN]}")
    return said


def _counted(what: str, expected: Iterable[str], found: Iterable[str]) -> list[str]:
    """What is lost, double or strange, and whether the order is another."""
    expected, found = list(expected), list(found)
    lost, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    said = []
    if lost:
        said.append(f"{what}: {lost.total()} of {len(expected)} lost: {list(lost)[:SHOWN]}")
    if more:
        said.append(f"{what}: {more.total()} double or strange: {list(more)[:SHOWN]}")
    if not lost and not more and expected != found:
        said.append(f"{what}: in another order")
    return said


def embedding_differences(sent: Sequence[AtmEvent], faces: Sequence[Record]) -> list[str]:
    """How the embedder's outcomes differ from one for each event that was sent."""
    outcomes = [r.event.event_id if isinstance(r, FaceEmbedding) else str(getattr(r, "event_id", None)) for r in faces]
    expected = sorted(event.event_id for event in sent)
    return _counted("outcomes of pictures", expected, sorted(outcomes))


def _name(record: Record) -> str:
    if isinstance(record, Sighting):
        return record.face_id
    if isinstance(record, Alert):
        return record.alert_id
    return f"{getattr(record, 'reason', '')} {getattr(record, 'event_id', '')}"


def _bare(record: Record) -> dict[str, object]:
    """All of a record but where its input stood, which differs between a topic and a list."""
    return record.model_dump(exclude={"position"})
