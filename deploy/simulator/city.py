"""Where the ATMs stand, and how long it takes from one to another."""

from __future__ import annotations

from datetime import timedelta
from math import cos, hypot, pi, radians, sin, sqrt

from deploy.simulator.truth import TrueAtm
from ingest.records import GeoPoint

CENTRE = GeoPoint(lat=59.9127, lon=10.7461)
KM_PER_DEGREE = 111.2
FIRST_KM, SPREAD_KM = 0.5, 1.05
GOLDEN_ANGLE = pi * (3 - sqrt(5))
TOWN_KMH = 22.0
"""Door to door: walking, waiting and riding.  Far below what a rule on impossible travel may ask for."""


def place_atms(count: int) -> tuple[TrueAtm, ...]:
    """``count`` machines in a spiral around a city's centre, about a kilometre from their neighbours."""
    atms = []
    for i in range(count):
        away, angle = FIRST_KM + SPREAD_KM * sqrt(i), i * GOLDEN_ANGLE
        lat = CENTRE.lat + away * sin(angle) / KM_PER_DEGREE
        lon = CENTRE.lon + away * cos(angle) / (KM_PER_DEGREE * cos(radians(CENTRE.lat)))
        place = GeoPoint(lat=round(lat, 5), lon=round(lon, 5))
        atms.append(TrueAtm(atm_id=f"ATM-{i + 1:02d}", location=place))
    return tuple(atms)


def distance_km(a: GeoPoint, b: GeoPoint) -> float:
    """The distance between two places of one city, as on a plane."""
    east = (a.lon - b.lon) * cos(radians((a.lat + b.lat) / 2))
    return KM_PER_DEGREE * hypot(a.lat - b.lat, east)


def travel_time(a: TrueAtm, b: TrueAtm) -> timedelta:
    """How long it takes from ``a`` to ``b``: nothing to stay, else the way and three minutes for doors."""
    if a.atm_id == b.atm_id:
        return timedelta(0)
    return timedelta(minutes=3, hours=distance_km(a.location, b.location) / TOWN_KMH)
