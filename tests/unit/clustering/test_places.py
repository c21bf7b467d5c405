from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustering.places import LastSeen, Whereabouts, distance_km, reachable
from ingest.records import GeoPoint

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
OSLO, BERGEN = GeoPoint(lat=59.9139, lon=10.7522), GeoPoint(lat=60.3913, lon=5.3221)
POINTS = st.builds(GeoPoint, lat=st.floats(-90, 90), lon=st.floats(-180, 180))
SLACK = timedelta(minutes=2)


def seen(minutes: float, atm: str = "a", place: GeoPoint | None = OSLO) -> Whereabouts:
    return Whereabouts(NOON + timedelta(minutes=minutes), atm, place)


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        (OSLO, BERGEN, 305),
        (GeoPoint(lat=0, lon=0), GeoPoint(lat=0, lon=180), 20_015),
        (GeoPoint(lat=90, lon=0), GeoPoint(lat=-90, lon=77), 20_015),
        (GeoPoint(lat=0, lon=179.5), GeoPoint(lat=0, lon=-179.5), 111.2),
        (GeoPoint(lat=90, lon=10), GeoPoint(lat=90, lon=-120), 0),
        (GeoPoint(lat=51.5, lon=0), GeoPoint(lat=51.500009, lon=0), 0.001),
    ],
)
def test_known_distances(a: GeoPoint, b: GeoPoint, km: float) -> None:
    assert distance_km(a, b) == pytest.approx(km, rel=2e-3, abs=1e-6)


@given(POINTS, POINTS, POINTS)
def test_it_is_a_distance(a: GeoPoint, b: GeoPoint, c: GeoPoint) -> None:
    assert distance_km(a, a) == 0
    assert 0 <= distance_km(a, b) <= 20_016
    assert distance_km(a, b) == pytest.approx(distance_km(b, a))
    assert distance_km(a, c) <= distance_km(a, b) + distance_km(b, c) + 1e-3


def test_time_bounds_how_far_a_person_comes() -> None:
    assert reachable(seen(0), seen(60, "b", BERGEN), 300, SLACK)  # 305 km in 62 minutes
    assert not reachable(seen(0), seen(58, "b", BERGEN), 300, SLACK)
    assert not reachable(seen(0), seen(60, "b", BERGEN), 300, timedelta(0))
    assert reachable(seen(0), seen(60, "b", BERGEN), 306, timedelta(0))


def test_a_late_event_bounds_as_much_as_one_in_time() -> None:
    assert reachable(seen(60), seen(0, "b", BERGEN), 300, SLACK)
    assert not reachable(seen(30), seen(0, "b", BERGEN), 300, SLACK)


def test_what_is_not_known_excludes_nobody() -> None:
    assert reachable(seen(0, place=None), seen(0, "b", BERGEN), 1, timedelta(0))
    assert reachable(seen(0), seen(0, "b", None), 1, timedelta(0))


def test_one_machine_is_one_place_whatever_its_events_say() -> None:
    assert reachable(seen(0), seen(0, "a", BERGEN), 1, timedelta(0))


@given(POINTS, POINTS, st.floats(0, 1e5), st.floats(1, 2000), st.floats(0, 1e4))
def test_more_time_or_speed_never_excludes(a: GeoPoint, b: GeoPoint, minutes: float, speed: float, more: float) -> None:
    before, now = seen(0, "a", a), seen(minutes, "b", b)
    if reachable(before, now, speed, SLACK):
        assert reachable(now, before, speed, SLACK)
        assert reachable(before, seen(minutes + more, "b", b), speed, SLACK)
        assert reachable(before, now, speed + more, SLACK)
        assert reachable(before, now, speed, SLACK + timedelta(minutes=more))


PLACES = st.one_of(st.none(), POINTS, st.builds(GeoPoint, lat=st.floats(59, 60), lon=st.floats(10, 11)))
STAYS = st.tuples(st.floats(-3000, 3000), st.sampled_from("ab"), PLACES)
HORIZONS = st.sampled_from([None, timedelta(hours=2), timedelta.max])


@given(
    st.lists(STAYS, min_size=1, max_size=4),
    st.lists(STAYS, min_size=1, max_size=3),
    st.sampled_from([1.0, 300.0, 1e9, float("inf")]),
    HORIZONS,
)
def test_what_is_plain_of_many_is_so_of_each(
    stays: list[tuple[float, str, GeoPoint | None]],
    arrivals: list[tuple[float, str, GeoPoint | None]],
    speed: float,
    horizon: timedelta | None,
) -> None:
    before, after = [seen(*stay) for stay in stays], [seen(*arrival) for arrival in arrivals]
    last_seen = LastSeen()
    for number, where in enumerate(before, start=3):
        last_seen.note(number, where)
    numbers = np.tile([*range(3, 3 + len(before)), -1], (len(after), 1))
    for now, plain in zip(after, last_seen.plainly_reach(numbers, after, speed, SLACK, horizon), strict=True):
        if plain:
            assert all(reachable(where, now, speed, SLACK) for where in before)
            assert horizon is None or all(now.at - where.at <= horizon for where in before)


def test_it_is_plain_of_people_in_one_town_and_of_those_who_had_the_time() -> None:
    last_seen = LastSeen()
    stays = [seen(0), seen(0, place=None), seen(-180, place=BERGEN), seen(0, place=BERGEN)]
    for number, where in enumerate(stays, start=1):
        last_seen.note(number, where)
    near = seen(0, "b", GeoPoint(lat=59.92, lon=10.76))

    def plain(*numbers: int, hours: float | None = None) -> list[bool]:
        horizon = None if hours is None else timedelta(hours=hours)
        return last_seen.plainly_reach(np.array([numbers]), [near], 300, SLACK, horizon).tolist()

    assert plain(1, 2, 3) == plain(1, 2, 3, hours=4) == plain(1, -1, hours=1) == [True]
    assert plain(1, 2, 3, hours=2) == plain(1, 4) == [False]
    last_seen.note(4, seen(0))
    assert plain(1, 4) == [True]
    assert last_seen.plainly_reach(np.zeros((0, 2), np.int64), [], 300, SLACK, None).tolist() == []
