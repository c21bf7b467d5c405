from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from clustering.visits import Frame, VisitBook, VisitNumbers, fold, frame_of, transactions
from ingest.records import AtmEvent, ClockSource

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)


def frame(name: str, seconds: float, atm: str = "a1", card: str | None = None, **more: Any) -> Frame:
    return Frame(name, atm, NOON + timedelta(seconds=seconds), card_token=card, **more)


def book(*frames: Frame) -> VisitBook:
    found = VisitBook()
    for one in frames:
        assert found.add(one)
    return found


def test_pictures_less_than_the_gap_apart_are_one_visit() -> None:
    assert book(frame("1", 0), frame("2", 119.9), frame("3", 239)).count == 1
    assert book(frame("1", 0), frame("2", 120)).count == 2


def test_a_late_picture_joins_two_visits() -> None:
    found = book(frame("1", 0), frame("3", 200))
    assert found.count == 2
    assert found.add(frame("2", 100))
    assert found.count == 1
    assert [one.face_id for one in found.visits()[0].frames] == ["1", "2", "3"]


def test_a_picture_counts_once() -> None:
    found = book(frame("1", 0))
    assert not found.add(frame("1", 0))
    assert (found.count, len(found)) == (1, 1)


def test_another_atm_is_another_visit() -> None:
    found = book(frame("1", 0), frame("2", 1, "a2"))
    assert found.count == 2
    assert found.atms == {"a1", "a2"}


def test_a_session_is_one_visit_however_long_and_sessions_never_merge() -> None:
    found = book(
        frame("1", 0, session_id="s1"),
        frame("2", 9000, session_id="s1"),
        frame("3", 1, session_id="s2"),
        frame("4", 2),
        frame("5", 3, "a2", session_id="s1"),
    )
    assert found.count == 4
    assert [(v.atm_id, v.session_id, len(v.frames)) for v in found.visits()] == [
        ("a1", "s1", 2),
        ("a1", "s2", 1),
        ("a1", None, 1),
        ("a2", "s1", 1),
    ]


def test_pictures_at_the_same_instant_have_one_order() -> None:
    forth, back = book(frame("1", 0), frame("2", 0), frame("3", 0)), VisitBook()
    for name in "321":
        back.add(frame(name, 0))
    assert forth.frames == back.frames
    assert forth.count == back.count == 1


def test_a_picture_that_has_only_its_files_time_is_a_visit_of_its_own() -> None:
    events = [AtmEvent(event_id=f"e{i}", atm_id="a1", captured_at=NOON, clock=ClockSource.FILE) for i in range(3)]
    assert book(*(frame_of(f"{e.event_id}#0", e) for e in events)).count == 3
    named = [event.model_copy(update={"session_id": "s"}) for event in events]
    assert book(*(frame_of(f"{e.event_id}#0", e) for e in named)).count == 1


def test_the_event_says_what_the_visit_was_about() -> None:
    said = {"card_token": "c", "amount": "10.5", "transaction_type": "w"}
    event = AtmEvent.model_validate({"event_id": "e", "atm_id": "a1", "captured_at": NOON, **said})
    assert frame_of("f", event) == Frame("f", "a1", NOON, None, "c", Decimal("10.5"), "w")


def test_visits_that_reach_into_a_period() -> None:
    found = book(frame("1", 0), frame("2", 100), frame("3", 1000), frame("4", 2000))
    since, until = NOON + timedelta(seconds=50), NOON + timedelta(seconds=1000)
    assert [v.frames[0].face_id for v in found.visits(since, until)] == ["1", "3"]
    assert [v.frames[0].face_id for v in found.visits(until=NOON)] == ["1"]


def test_an_amount_counts_once_per_card_and_type() -> None:
    visit = fold(
        [
            frame("1", 0, card="c1"),
            frame("2", 1, card="c1", transaction_type="withdrawal", amount=Decimal(100)),
            frame("3", 2, card="c1", transaction_type="withdrawal", amount=Decimal(100)),
            frame("4", 3, card="c1", amount=Decimal(100)),
            frame("5", 4, card="c2", transaction_type="withdrawal", amount=Decimal(40)),
            frame("6", 5, amount=Decimal(40)),
        ]
    )[0]
    assert visit.amount == 140
    assert visit.cards == {"c1", "c2"}
    assert (visit.start, visit.end) == (NOON, NOON + timedelta(seconds=5))
    assert fold([frame("1", 0)])[0].amount == 0


def test_an_amount_without_card_and_type_counts_when_no_other_does() -> None:
    assert transactions([frame("1", 0, amount=Decimal(7)), frame("2", 0, amount=Decimal(9))]) == {(None, None): 9}


def test_expired_visits_are_gone_and_stay_gone() -> None:
    found = book(frame("1", 0, card="c"), frame("2", 1000), frame("3", 1100), frame("4", 5000, "a2"))
    assert found.expire(NOON + timedelta(seconds=1050)) == 1
    assert (found.count, len(found), found.cards) == (2, 3, frozenset())
    assert not found.add(frame("1", 0))
    assert not found.add(frame("9", 1049))
    assert not found.add(frame("2", 1000))  # known: its visit reaches over the limit
    assert found.expire(NOON) == 0
    assert not found.add(frame("1", 0))


@pytest.mark.parametrize("gone", [False, True])
def test_a_book_is_restored_from_its_frames(gone: bool) -> None:
    found = book(frame("1", 0, session_id="s", card="c", amount=Decimal("1.50"), transaction_type="w"), frame("2", 500))
    if gone:
        found.expire(NOON + timedelta(seconds=400))
    again = VisitBook.restored(found.frames, found.floor)
    assert (again.frames, again.floor) == (found.frames, found.floor)
    assert again.visits() == found.visits()
    assert (again.count, again.atms, again.cards) == (found.count, found.atms, found.cards)
    assert again.add(frame("0", 1)) is not gone


def test_a_gap_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        VisitBook(timedelta(0))


def test_lanes_keep_people_apart() -> None:
    numbers = VisitNumbers(timedelta(seconds=60))
    assert [numbers.next(frame(str(i), i), lane) for i, lane in enumerate("xyx")] == [0, 1, 0]
