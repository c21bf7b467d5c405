"""A small pipeline to test the machinery with: badges are punched, and every third punch is a milestone.

It has what the real one has: inputs that come twice, outputs of several types, and a memory that is a fold
over its outputs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ingest.errors import Corrupt
from ingest.reasons import Reason
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery


class Punch(Record):
    key: str
    badge: str


class Counted(Record):
    key: str
    badge: str
    count: int
    position: Position


class Milestone(Record):
    badge: str
    count: int
    position: Position


FILES: Mapping[type[Record], str] = MappingProxyType(
    {Counted: "counted.jsonl", Milestone: "milestones.jsonl", Rejection: "rejected.jsonl"}
)


class Tally:
    """Counts each badge's punches, a key once."""

    def __init__(self, name: str = "tally") -> None:
        self.name = name
        self.state: dict[str, list[str]] = {}
        self.milestones: dict[str, int] = {}

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        out: list[Delivery] = []
        for delivery in batch:
            if isinstance(delivery.record, Punch):
                out += [
                    Delivery(record, delivery.position) for record in self._judge(delivery.record, delivery.position)
                ]
            else:
                out.append(delivery)
        return out

    def _judge(self, punch: Punch, position: Position) -> list[Record]:
        keys = self.state.get(punch.badge, [])
        if punch.key in keys:
            detail = f"punched before: {punch.key}"
            return [
                Rejection(
                    reason=Reason.DUPLICATE_EVENT, source=punch.key, detail=detail, stage=self.name, position=position
                )
            ]
        count = len(keys) + 1
        records: list[Record] = [Counted(key=punch.key, badge=punch.badge, count=count, position=position)]
        if count % 3 == 0:
            records.insert(count % 2, Milestone(badge=punch.badge, count=count, position=position))
        for record in records:
            self.apply(record)
        return records

    def apply(self, record: Record) -> None:
        if isinstance(record, Counted) and record.key not in self.state.setdefault(record.badge, []):
            self.state[record.badge].append(record.key)
        elif isinstance(record, Milestone):
            self.milestones[record.badge] = max(record.count, self.milestones.get(record.badge, 0))

    def snapshot(self) -> bytes:
        return json.dumps([self.state, self.milestones]).encode()

    def restore(self, content: bytes) -> None:
        try:
            state, milestones = json.loads(content)
        except ValueError as error:
            message = "the tally's snapshot is not its own"
            raise Corrupt(message) from error
        self.state, self.milestones = state, milestones


def punches(count: int, seed: int = 0) -> list[Punch]:
    """A stream with duplicates, the same for the same seed."""
    rng = random.Random(seed)
    return [Punch(key=f"k{rng.randrange(count)}", badge=f"ü{rng.randrange(5)}") for _ in range(count)]


def file_bytes(folder: Path) -> dict[str, bytes]:
    """What the output files hold, without the commit log, whose lines depend on the size of batches."""
    return {name: (folder / name).read_bytes() for name in FILES.values()}


def expected_bytes(outputs: Sequence[Record]) -> dict[str, bytes]:
    """What the output files must hold after ``outputs``."""
    return {
        name: b"".join(record.to_json().encode() + b"\n" for record in outputs if type(record) is kind)
        for kind, name in FILES.items()
    }
