"""Work that is divided by partition, each with a memory of its own: one worker for every partition that is given.

Crash-only: whatever goes wrong with a commit or with the group, all memories are dropped, and the loop starts over as
a new member that restores from snapshot and journal.  There is no other way back, so this one is always tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from ingest.stage import Delivery
from ingest.worker import Worker


class Membership(Protocol):
    """What a division needs of a group's member: partitions given and taken, and their records."""

    def rounds(self, max_records: int) -> Round: ...

    def start(self, partition: str, after: int | None) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Round:
    """What one poll gave: ``gained`` and ``given_up`` partitions by name, and ``records`` of those held."""

    gained: Sequence[str]
    given_up: Sequence[str]
    records: dict[str, list[Delivery]]


@dataclass(slots=True)
class Division:
    """Runs a worker for each partition that ``membership`` holds.  Belongs to one thread.

    ``open_worker`` makes the worker of a partition, fencing its previous owner first; ``on_round`` hears which
    partitions are held, after each poll.
    """

    membership: Membership
    open_worker: Callable[[str], tuple[Worker, Callable[[], None]]]
    max_records: int
    on_round: Callable[[Sequence[str]], None] = lambda _: None

    def run(self, stop: Event) -> None:
        """Work until ``stop`` is set.  Raises what ends it: ``Superseded``, ``Unavailable`` or a defect."""
        with ExitStack() as closing:
            closing.callback(self.membership.close)
            held: dict[str, tuple[Worker, Callable[[], None]]] = {}
            closing.callback(lambda: [close() for _, close in held.values()])
            while not stop.is_set():
                turn = self.membership.rounds(self.max_records)
                for name in turn.given_up:
                    if name in held:
                        held.pop(name)[1]()
                for name in turn.gained:
                    held[name] = self.open_worker(name)
                    recovery = held[name][0].recover()
                    self.membership.start(name, recovery.committed.offset if recovery.committed else None)
                for name, batch in turn.records.items():
                    if name in held and name not in turn.gained:
                        held[name][0].step(batch, stop)
                self.on_round(tuple(held))
            for worker, _ in held.values():
                worker.save()
