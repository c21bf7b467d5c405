"""What the view takes from the journal, and the writer that keeps it up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest

from alerts.ledger import card_digest
from alerts.records import Alert, Evidence, Severity
from alerts.view import Change, Order, Projection, Raised, Seen, Unusable, ViewLost
from alerts.view_memory import MemoryView
from alerts.view_writer import ViewWriter, WriterOptions, Written
from ingest.errors import Corrupt, Unavailable
from ingest.memory_bus import MemorySource
from ingest.reasons import Reason
from ingest.records import ClockSource, Position, Record
from ingest.stage import Delivery

KEY = b"a secret of sixteen bytes or more"
FAST = WriterOptions(batch=2, idle_s=0.001, longest_pause_s=0.002)


class MemoryJournal(MemorySource):
    """A journal in a list that may grow."""

    def __init__(self, records: Sequence[Record], partition: str = "atm.sightings-0") -> None:
        super().__init__(records, partition)
        self.partition = partition

    def lag(self) -> int:
        return len(self._records) - self._next

    def append(self, record: Record) -> None:
        self._records.append(record)


@pytest.fixture
def projection() -> Projection:
    return Projection("default", KEY)


def an_alert(subject: str = "p1", scope: str = "default", **more: Any) -> Alert:
    noon = datetime(2024, 3, 4, 12, tzinfo=UTC)
    evidence = Evidence(event_id="e1", atm_id="a1", captured_at=noon, source="file:///secret/place.jpg")
    fields: dict[str, Any] = {
        "alert_id": "alert-1",
        "rule_id": "R1",
        "title": "Often seen",
        "severity": Severity.HIGH,
        "subject": subject,
        "episode": 1,
        "scope": scope,
        "raised_at": noon,
        "window_start": noon,
        "measured": {"visits_24h": 3},
        "limits": {"visits_24h": 3},
        "confidence": 0.9,
        "evidence": (evidence,),
        "position": Position(offset=0),
    }
    return Alert(**(fields | more))


@pytest.mark.parametrize("key", [b"", b"x" * 15, b"x" * 65])
def test_a_secret_must_be_one(key: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        Projection("default", key)


def test_a_sighting_is_seen_and_neither_token_nor_vector_nor_place_goes_along(
    make: Any, projection: Projection
) -> None:
    sighting = make.sighting(5, "p7", "a1", card="tok-1", session_id="s1")
    change = projection.change(sighting, 42)
    assert isinstance(change, Seen)
    assert (change.offset, change.identity_id, change.number, change.visits) == (42, "p7", 7, 1)
    assert (change.atm_id, change.at, change.session_id) == ("a1", sighting.event.captured_at, "s1")
    assert "tok-1" not in repr(change)
    assert card_digest("tok-1") not in repr(change)
    assert sighting.event.source not in repr(change)
    assert not any(isinstance(getattr(change, name), bytes) for name in Seen.__slots__)


def test_marks_tell_the_same_card_only_of_the_same_person_and_secret(make: Any, projection: Projection) -> None:
    def mark(who: str, card: str, key: bytes = KEY) -> str | None:
        change = Projection("default", key).change(make.sighting(0, who, card=card), 0)
        assert isinstance(change, Seen)
        return change.card_mark

    assert mark("p1", "t1") == mark("p1", "t1")
    assert len({mark("p1", "t1"), mark("p1", "t2"), mark("p2", "t1"), mark("p1", "t1", KEY[::-1])}) == 4


def test_a_picture_with_nothing_but_its_files_time_is_a_visit_of_its_own(make: Any, projection: Projection) -> None:
    change = projection.change(make.sighting(0, clock=ClockSource.FILE, event_id="e1"), 0)
    assert isinstance(change, Seen)
    assert change.session_id == "picture e1"


def test_only_pictures_without_a_usable_face_are_counted_of_the_rejections(make: Any, projection: Projection) -> None:
    change = projection.change(make.rejection(0, reason=Reason.BLURRED), 3)
    assert change == Unusable(3, Reason.BLURRED, "a1", make.rejection(0).captured_at)
    assert projection.change(make.rejection(0, reason=Reason.DUPLICATE_EVENT), 3) is None
    broken = projection.change(make.rejection(0, "\x00 4111111111111111", captured_at=None), 3)
    assert broken == Unusable(3, Reason.CAMERA_OBSCURED, "_ [card number]", None)
    assert projection.change(make.rejection(0, None), 3) == Unusable(
        3, Reason.CAMERA_OBSCURED, None, make.rejection(0).captured_at
    )


def test_an_alert_keeps_what_it_says_and_not_its_evidence(projection: Projection) -> None:
    change = projection.change(an_alert(held="doubt", advice="Call."), 3)
    assert isinstance(change, Raised)
    alert = change.alert
    assert (alert.subject, alert.held, alert.advice, alert.pictures) == ("p1", "doubt", "Call.", 1)
    assert "secret" not in alert.to_json()


def test_a_card_that_an_alert_is_about_is_digested_under_the_secret(projection: Projection) -> None:
    digest = card_digest("tok-1")
    change = projection.change(an_alert(digest), 3)
    assert isinstance(change, Raised)
    assert digest not in change.alert.to_json()
    assert change.alert.subject.startswith("card-")
    again = projection.change(an_alert(digest, episode=2), 3)
    assert isinstance(again, Raised)
    assert again.alert.key == change.alert.key


def test_other_scopes_and_records_are_not_the_views_concern(make: Any, projection: Projection) -> None:
    others = [
        make.sighting(0, scope="north"),
        make.rejection(0, scope="north"),
        an_alert(scope="north"),
        make.sighting(0).event,
    ]
    assert [projection.change(record, 0) for record in others] == [None] * 4


class Flaky(MemoryView):
    """A store that can be told to fail, and to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None:
        if self.failures:
            raise self.failures.pop(0)
        super().apply(partition, offset, changes, after=after)

    def forget(self) -> None:
        self._live = None


@pytest.fixture
def journals(make: Any) -> list[MemoryJournal]:
    sightings = [make.sighting(i, f"p{1 + i % 2}") for i in range(5)]
    return [MemoryJournal(sightings), MemoryJournal([an_alert()], "atm.alerts-0")]


@pytest.fixture
def store() -> Flaky:
    return Flaky()


def writer_of(
    store: MemoryView, journals: Sequence[MemoryJournal], on_written: Callable[[Written], None] | None = None
) -> ViewWriter:
    return ViewWriter(store, journals, Projection("default", KEY), FAST, on_written)


def test_it_builds_a_view_that_is_not_there_and_shows_it_whole(store: Flaky, journals: list[MemoryJournal]) -> None:
    seen: list[tuple[Written, bool]] = []
    writer = writer_of(store, journals, lambda written: seen.append((written, store.published())))
    writer.run(Event(), until_caught_up=True)
    assert store.totals().pictures == 5
    assert store.totals().alerts == 1
    assert [(w.partition, w.records, w.lag) for w, _ in seen] == [
        ("atm.sightings-0", 2, 3),
        ("atm.sightings-0", 2, 1),
        ("atm.sightings-0", 1, 0),
        ("atm.alerts-0", 1, 0),
    ]
    assert all(w.rebuilding and not published for w, published in seen)
    assert writer.rebuilds == 1


def test_it_goes_on_from_where_the_view_stands(store: Flaky, journals: list[MemoryJournal], make: Any) -> None:
    writer_of(store, journals).run(Event(), until_caught_up=True)
    journals[0].append(make.sighting(9))
    later = writer_of(store, journals)
    assert later.step() == 1
    assert later.rebuilds == 0
    assert store.totals().pictures == 6


def test_a_view_that_is_flushed_is_built_again_although_nothing_happens(
    store: Flaky, journals: list[MemoryJournal]
) -> None:
    writer = writer_of(store, journals)
    writer.run(Event(), until_caught_up=True)
    store.forget()
    with pytest.raises(ViewLost):
        writer.step()
    writer.run(Event(), until_caught_up=True)
    assert store.totals().pictures == 5
    assert writer.rebuilds == 2


def test_a_view_that_is_flushed_under_a_write_is_built_again(
    store: Flaky, journals: list[MemoryJournal], make: Any
) -> None:
    writer = writer_of(store, journals)
    writer.run(Event(), until_caught_up=True)
    store.forget()
    journals[0].append(make.sighting(9))
    writer.run(Event(), until_caught_up=True)
    assert store.totals().pictures == 6


def test_a_view_that_has_gone_back_in_time_is_gone_on_with(store: Flaky, journals: list[MemoryJournal]) -> None:
    writer = writer_of(store, journals)
    writer.run(Event(), until_caught_up=True)
    older = MemoryView()
    changes = [writer._projection.change(record, i) for i, record in enumerate(journals[0]._records[:2])]
    older.apply("atm.sightings-0", 1, [change for change in changes if change], after=None)
    store._live = older._live
    writer.run(Event(), until_caught_up=True)
    assert writer.rebuilds == 1
    assert (store.totals().pictures, store.totals().alerts) == (5, 1)


def test_what_could_not_be_written_is_read_again(store: Flaky, journals: list[MemoryJournal], make: Any) -> None:
    writer = writer_of(store, journals)
    writer.run(Event(), until_caught_up=True)
    journals[0].append(make.sighting(9))
    store.failures = [Unavailable("Redis", 0.001), Unavailable("Redis", 0.001)]
    writer.run(Event(), until_caught_up=True)
    assert store.totals().pictures == 6
    assert (writer.retries, writer.rebuilds) == (2, 1)


def test_rows_that_cannot_be_read_are_built_again(store: Flaky, journals: list[MemoryJournal], make: Any) -> None:
    writer = writer_of(store, journals)
    writer.run(Event(), until_caught_up=True)
    journals[0].append(make.sighting(9))
    store.failures = [Corrupt("a row")]
    writer.run(Event(), until_caught_up=True)
    assert store.totals().pictures == 6
    assert writer.rebuilds == 2


def test_records_of_no_concern_move_it_on(store: Flaky, make: Any) -> None:
    journal = MemoryJournal([make.sighting(0, scope="north"), make.sighting(1), make.sighting(2).event])
    writer_of(store, [journal]).run(Event(), until_caught_up=True)
    assert store.position("atm.sightings-0") == 2
    assert store.totals().pictures == 1
    assert [usage.identity_id for usage in store.usages(Order.VISITS, 5)] == ["p1"]


def test_it_waits_for_records_that_are_on_their_way(store: Flaky, journals: list[MemoryJournal]) -> None:
    class Slow(MemoryJournal):
        polls = 0

        def poll(self, max_records: int) -> list[Delivery]:
            self.polls += 1
            return super().poll(max_records) if self.polls % 2 == 0 else []

    writer = writer_of(store, [Slow(journals[0]._records)])
    assert writer.rebuild()
    assert store.totals().pictures == 5


def test_it_stops_when_told(store: Flaky, journals: list[MemoryJournal], make: Any) -> None:
    stop = Event()
    writer = writer_of(store, journals, lambda _: stop.set())
    assert not writer.rebuild(stop)
    assert writer.step(stop) == 0
    writer.run(stop)
    assert not store.published()

    calls: list[Written] = []

    def third(written: Written) -> None:
        calls.append(written)
        journals[0].append(make.sighting(9))
        if len(calls) > 8:
            stop.set()

    stop.clear()
    writer_of(store, journals, third).run(stop)
    assert len(calls) >= 9


def test_a_draft_that_was_given_up_is_lost() -> None:
    store = MemoryView()
    first = store.draft()
    store.draft().publish()
    with pytest.raises(ViewLost):
        first.apply("p", 1, [], after=None)
    with pytest.raises(ViewLost):
        first.publish()
