"""What a dashboard sees of a stream: the view in Redis, whether it is up to the journal, and how it is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from verdict import SHOWN, Outcome

from alerts.redis_view import RedisOptions, RedisView, connect
from alerts.view import MOST_ROWS, Order, Projection, View
from alerts.view_memory import MemoryView
from clustering.records import Sighting
from ingest.kafka_bus.config import ALERTS, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.reader import PartitionReader
from ingest.records import Record, Rejection

Row = TypeVar("Row", bound=Record)
Ends = Mapping[str, Mapping[str, int | None]]
"""By scope and partition, the offset of the last record."""

ANY_KEY = b"what marks look like is nobody's concern"
"""The rows that readers see hold no mark, only how many there are."""


@dataclass(frozen=True)
class Dashboard:
    """The views of a stream's scopes, read as dashboards read them: without the secret, and nothing is written."""

    config: KafkaConfig
    url: str
    prefix: str

    @contextmanager
    def view(self, scope: str) -> Iterator[RedisView]:
        """One scope's view.  Its methods raise ``Unavailable`` while Redis is away."""
        with closing(connect(self.url)) as client:
            yield RedisView(client, scope, RedisOptions(prefix=self.prefix))

    def shows_anything(self) -> bool:
        """Whether any scope's view has a picture in it."""
        for scope in self.config.scopes:
            with self.view(scope) as view:
                if view.totals().pictures:
                    return True
        return False

    def journal_ends(self) -> Ends:
        """Where the journals of all scopes end now."""
        return {
            scope: {place.name: self._last(place) for place in (Place(SIGHTINGS, number), Place(ALERTS, number))}
            for number, scope in enumerate(self.config.scopes)
        }

    def _last(self, place: Place) -> int | None:
        with closing(PartitionReader(self.config, place)) as reader:
            offset = None
            for received in reader.read(reader.beginning, reader.end):
                offset = received.offset
            return offset

    def is_up_to(self, ends: Ends) -> bool:
        """Whether every view says that it goes up to ``ends``; not whether it is right."""
        for scope, wanted in ends.items():
            with self.view(scope) as view:
                if any(view.position(name) != offset for name, offset in wanted.items()):
                    return False
        return True

    def differences(self, scope: str, expected: Outcome) -> list[str]:
        """Every way in which a scope's view is not that of ``expected``, as sentences; empty when it is."""
        with self.view(scope) as view:
            return [f"view of {scope}: {said}" for said in view_differences(scope, expected, view)]


def view_differences(scope: str, expected: Outcome, found: View) -> list[str]:
    """How ``found`` differs from the journal's own numbers, and from the view in memory of the same journal."""
    seen = everything(found)
    people = {usage.identity_id: usage.visits for usage in rows(lambda at: found.usages(Order.VISITS, MOST_ROWS, at))}
    machines = {health.atm_id: health.pictures for health in rows(lambda at: found.atms(MOST_ROWS, at))}
    pictures = Counter(_machine(record) for record in expected.journal)
    said = _unequal("visits", expected.visits, people) + _unequal("pictures of ATMs", pictures, machines)
    if found.totals().alerts != len(expected.alerts):
        said.append(f"{found.totals().alerts} alerts of {len(expected.alerts)}")
    right = everything(projected(scope, expected))
    return said + [f"{what} differ" for what, rows_ in right.items() if rows_ != seen[what]]


def projected(scope: str, outcome: Outcome) -> MemoryView:
    """The view of a journal and its alerts, by way of neither Kafka nor Redis."""
    view, projection = MemoryView(), Projection(scope, ANY_KEY)
    for partition, records in (("journal", outcome.journal), ("alerts", outcome.alerts)):
        changes = [change for at, record in enumerate(records) if (change := projection.change(record, at))]
        view.apply(partition, len(records), changes, after=None)
    return view


def everything(view: View) -> dict[str, object]:
    """All that a reader can see."""
    people = rows(lambda at: view.usages(Order.LAST_SEEN, MOST_ROWS, at))
    return {
        "totals": view.totals(),
        "people by last visit": people,
        "people by visits": rows(lambda at: view.usages(Order.VISITS, MOST_ROWS, at)),
        "visits": {usage.identity_id: view.visits(usage.identity_id) for usage in people},
        "recent visits": view.recent_visits(MOST_ROWS),
        "open alerts": view.alerts(MOST_ROWS),
        "ATMs": rows(lambda at: view.atms(MOST_ROWS, at)),
    }


def rows(read: Callable[[int], list[Row]]) -> list[Row]:
    """All that ``read`` gives, which takes an offset and gives ``MOST_ROWS`` rows from there."""
    found: list[Row] = []
    for page in count():
        more = read(page * MOST_ROWS)
        found += more
        if len(more) < MOST_ROWS:
            break
    return found


def _machine(record: Record) -> str:
    if isinstance(record, Sighting):
        return record.event.atm_id
    assert isinstance(record, Rejection)
    return record.atm_id or ""


def _unequal(what: str, expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    off = {who for who in expected.keys() | found.keys() if expected.get(who) != found.get(who)}
    shown = [(who, expected.get(who), found.get(who)) for who in sorted(off)[:SHOWN]]
    return [f"{what} of {len(off)} differ (expected, found): {shown}"] if off else []
