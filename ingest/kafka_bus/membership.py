"""A group's member as a division's membership: partitions come and go, and their records are decoded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from ingest.kafka_bus.member import Change, Member, Place, delivered
from ingest.partitions import Round
from ingest.records import Record
from ingest.stage import Delivery

PATIENCE_S = 0.2
"""How long a poll waits for records: by so much may a stop or a rebalance be noticed late."""


class KafkaMembership:
    """Belongs to one thread.  ``expected`` are the records that the topics carry."""

    def __init__(self, member: Member, expected: tuple[type[Record], ...], on_poll: Callable[[], None]) -> None:
        self._member = member
        self._expected = expected
        self._on_poll = on_poll
        self._held: set[str] = set()

    def rounds(self, max_records: int) -> Round:
        """One poll.  Records of a partition that was gained are left for ``start``, which reads them again."""
        self._on_poll()
        received = self._member.poll(max_records, PATIENCE_S)
        gained: list[str] = []
        given_up: list[str] = []
        for change, place in self._member.changes():
            if change is Change.ASSIGNED:
                if place.name in self._held:  # taken away and given back between two polls: others may have written
                    given_up.append(place.name)
                self._held.add(place.name)
                gained.append(place.name)
            elif place.name in self._held:
                self._held.discard(place.name)
                given_up.append(place.name)
                gained = [name for name in gained if name != place.name]
        records: defaultdict[str, list[Delivery]] = defaultdict(list)
        for one in received:
            if one.place.name in self._held and one.place.name not in gained:
                records[one.place.name].append(delivered(one, self._expected))
        return Round(gained, given_up, dict(records))

    def start(self, partition: str, after: int | None) -> None:
        """Read ``partition`` on behind ``after``."""
        self._member.seek(Place.named(partition), None if after is None else after + 1)

    def close(self) -> None:
        self._member.close()
