from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from alerts.conditions import Condition
from alerts.ledger import Counted, Ledger, Picture
from alerts.measures import Reading, distance_km, passing, read, weakest_link

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
GAP = timedelta(seconds=120)
OSLO, BERGEN = (59.91, 10.75), (60.39, 5.32)


def picture(minutes: float, atm: str = "a1", card: str | None = None, who: str = "p1", **more: Any) -> Picture:
    at = NOON + timedelta(minutes=minutes)
    more = {"session_id": f"s{minutes}"} | more
    name = f"{who}/{atm}/{card}/{minutes}/{sorted(more)}"
    return Picture(name, atm, at, card_token=card, identity_id=who, **more)


def condition(**limits: Any) -> Condition:
    return Condition.model_validate({"window": "1h", **limits})


def counted(*pictures: Picture) -> list[Counted]:
    ledger = Ledger(GAP)
    for one in pictures:
        ledger.add(one, timedelta(days=9))
    return ledger.until(NOON + timedelta(days=1), timedelta(days=2))


def reading(asked: Condition, *pictures: Picture) -> Reading:
    return read(asked, counted(*pictures))


def surety(asked: Condition, *pictures: Picture) -> float:
    return weakest_link(asked, passing(asked, counted(*pictures))[0])


def test_visits_count_and_pictures_do_not() -> None:
    asked = condition(visits=2)
    assert reading(asked, picture(0), picture(0.5, session_id="s0")).truth is False
    assert reading(asked, picture(0), picture(0, session_id="other")).truth is True
    assert reading(asked, picture(0), picture(0, who="p2", session_id="s0")).truth is True


def test_distinct_things() -> None:
    pictures = [picture(0, "a1", "c1"), picture(1, "a2", "c1"), picture(2, "a2", "c2", who="p2")]
    found = reading(condition(distinct_atms=2, distinct_cards=2, distinct_persons=2), *pictures)
    assert found.truth is True
    assert set(found.values.values()) == {2.0}


def test_a_visit_without_the_field_makes_it_unknown_and_never_no() -> None:
    asked = condition(distinct_cards=2)
    assert reading(asked, picture(0, card="c1")).truth is False
    assert reading(asked, picture(0, card="c1"), picture(5)) == Reading(
        None, {next(iter(asked.limits)): 1.0}, frozenset({"card_token"})
    )
    assert reading(asked, picture(0, card="c1"), picture(3, card="c2"), picture(5)).truth is True


def test_one_picture_speaks_for_its_visit() -> None:
    asked = condition(distinct_cards=2)
    assert reading(asked, picture(0, session_id="s"), picture(0.1, card="c1", session_id="s")).truth is False


def test_hours_need_a_zone() -> None:
    asked = condition(visits=2, local_hours="23:00-05:00")
    night, day, unknown = picture(0, local_minute=60), picture(3, local_minute=720), picture(6)
    assert reading(asked, night, day).truth is False
    assert reading(asked, night, unknown).missing == {"zone"}
    assert reading(asked, night, picture(9, local_minute=1390), unknown).truth is True


def test_types_need_a_type() -> None:
    asked = condition(distinct_cards=2, transaction_types=["Deposit"])
    one, two = (picture(i, card=f"c{i}", transaction_type="deposit") for i in (1, 2))
    other, bare = picture(3, card="c3", transaction_type="withdrawal"), picture(4, card="c4")
    assert reading(asked, one, other).truth is False
    assert reading(asked, one, bare).missing == {"transaction_type"}
    assert reading(asked, one, two, bare).truth is True


def test_transactions_differ_by_visit_card_and_type() -> None:
    asked = condition(transactions=3)
    same = [picture(0, card="c", transaction_type="w"), picture(0, card="c", transaction_type="w", source="again")]
    assert reading(asked, *same).values[next(iter(asked.limits))] == 1
    more = [picture(0, card="d", transaction_type="w"), picture(5, card="c", transaction_type="w")]
    assert reading(asked, *same, *more).truth is True
    assert reading(asked, picture(0)).missing == {"transaction_type"}


def test_amounts_add_up_over_visits() -> None:
    asked = condition(amount=100)
    a = picture(0, amount=Decimal("60.10"), confidence=0.9)
    b = picture(5, amount=Decimal("39.90"), confidence=0.5)
    c = picture(9, amount=Decimal("40"), confidence=0.8)
    assert reading(asked, a).truth is False
    assert reading(asked, a, picture(5)).missing == {"amount"}
    assert reading(asked, a, b).values == dict.fromkeys(asked.limits, 100.0)
    assert surety(asked, a, b) == 0.5
    assert surety(asked, a, b, c) == 0.8


def test_speed_is_between_pictures_that_follow_each_other() -> None:
    asked = condition(speed_kmh=150)
    a = picture(0, "a1", place=OSLO, confidence=0.7)
    fast, slow = picture(60, "a2", place=BERGEN, confidence=0.9), picture(600, "a2", place=BERGEN)
    assert distance_km(OSLO, BERGEN) == pytest.approx(305, abs=3)
    assert distance_km(OSLO, OSLO) == 0
    assert reading(asked, a, slow).truth is False
    assert next(iter(reading(asked, a, fast).values.values())) == pytest.approx(305, abs=3)
    assert surety(asked, a, fast) == 0.7
    assert reading(asked, a, picture(60, "a1", place=BERGEN)).truth is False  # the same ATM does not move
    assert reading(asked, a, picture(60, "a2")).missing == {"atm_location"}


def test_clocks_agree_to_a_minute_at_best() -> None:
    near = (OSLO[0] + 0.01, OSLO[1])  # 1.1 km
    found = reading(condition(speed_kmh=150), picture(0, "a1", place=OSLO), picture(0, "a2", place=near))
    assert next(iter(found.values.values())) == pytest.approx(66.7, abs=1)


def test_the_weakest_link_is_among_the_surest_that_suffice() -> None:
    asked = condition(visits=2, distinct_cards=2)
    pictures = [
        picture(0, card="c1", confidence=0.9),
        picture(0.1, card="c1", confidence=0.4, session_id="s0"),
        picture(5, card="c1", confidence=0.3),
        picture(9, card="c2", confidence=0.6),
    ]
    assert surety(asked, *pictures) == 0.6
    assert surety(condition(visits=3), *pictures) == 0.3


def test_unusable_pictures_are_counted_one_by_one() -> None:
    pictures = [picture(i / 60, who="", mark="unusable", session_id=None) for i in range(3)]
    assert reading(condition(unusable_pictures=3), *pictures).truth is True
