"""Where a person was last, and whether they could have been somewhere else since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import asin, cos, radians, sin, sqrt

from ingest.records import GeoPoint

EARTH_KM = 6371.0088
"""Mean radius (IUGG)."""
DEGREE_KM = 1.000001 * radians(EARTH_KM)
"""Two places are never further apart than this times the degrees of latitude and of longitude between them."""
HOUR = timedelta(hours=1)


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
