"""Where a person was last, and whether they could have been somewhere else since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import asin, cos, radians, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from clustering.room import more
from ingest.records import GeoPoint

EARTH_KM = 6371.0088
"""Mean radius (IUGG)."""
DEGREE_KM = 1.000001 * radians(EARTH_KM)
"""Two places are never further apart than this times the degrees of latitude and of longitude between them."""
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
ROUNDING_KM = 1e-3
"""By so much the numbers of ``LastSeen`` are less precise than times and places are, at the very most."""
FASTEST_KMH = 1e6
"""Nobody is asked about who is faster, so that all products are numbers."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A time, an ATM and, where the event names it, its place."""

    at: datetime
    atm_id: str
    place: GeoPoint | None


def distance_km(a: GeoPoint, b: GeoPoint) -> float:
    """Great-circle distance by the haversine formula."""
    lat_a, lat_b = radians(a.lat), radians(b.lat)
    across = sin((lat_b - lat_a) / 2) ** 2
    along = cos(lat_a) * cos(lat_b) * sin(radians(b.lon - a.lon) / 2) ** 2
    return 2 * EARTH_KM * asin(min(1.0, sqrt(across + along)))


def reachable(before: Whereabouts, now: Whereabouts, max_speed_kmh: float, slack: timedelta) -> bool:
    """Whether one person can have been at both; always when a place is unknown.

    ``slack`` is by how much two terminals' clocks may disagree.  Either may be the earlier one: events come late.
    """
    there, here = before.place, now.place
    if there is None or here is None or before.atm_id == now.atm_id:
        return True
    at_most = DEGREE_KM * (abs(here.lat - there.lat) + abs(here.lon - there.lon))
    if at_most <= max_speed_kmh * (slack / HOUR):  # two machines of one town, as most are: whatever the times
        return True
    within = max_speed_kmh * ((abs(now.at - before.at) + slack) / HOUR)
    return at_most <= within or distance_km(there, here) <= within


class LastSeen:
    """When and where each of many people was last, by number from 1, side by side in memory.  Owned by one thread."""

    def __init__(self) -> None:
        self._last = np.full((1, 3), np.nan)  # nobody has number 0

    def note(self, number: int, where: Whereabouts) -> None:
        """Person ``number`` is now said to have been there last."""
        new = more(len(self._last), number + 1)
        if new:
            self._last = np.concatenate([self._last, np.full((new, 3), np.nan)])
        self._last[number] = _numbers(where)

    def plainly_reach(
        self,
        numbers: NDArray[np.int64],
        arrivals: Sequence[Whereabouts],
        max_speed_kmh: float,
        slack: timedelta,
        horizon: timedelta | None,
    ) -> NDArray[np.bool_]:
        """Of n ``arrivals``, whether it is plain that everybody in their lines of ``numbers`` (n, m) can be there.

        Last seen within the ``horizon``, that is, and ``reachable``; where it is not plain, that is to be asked of
        each.  Numbers below 1 are nobody's.
        """
        last = self._last[np.maximum(numbers, 0)]
        now = np.array([_numbers(where) for where in arrivals]).reshape(-1, 1, 3)
        speed = min(max_speed_kmh, FASTEST_KMH) / (HOUR / SECOND)
        # Where a place is unknown, what lies beyond is not a number, and so not more than any.
        beyond = np.abs(last - now) @ np.array((-speed, DEGREE_KM, DEGREE_KM))
        out = beyond > speed * (slack / SECOND) - ROUNDING_KM
        if horizon is not None:
            out |= last[..., 0] <= now[..., 0] - horizon / SECOND
        plain: NDArray[np.bool_] = ~out.any(axis=1)
        return plain


def _numbers(where: Whereabouts) -> tuple[float, float, float]:
    """Seconds, and degrees of latitude and longitude."""
    at, place = where.at.timestamp(), where.place
    return (at, np.nan, np.nan) if place is None else (at, place.lat, place.lon)
