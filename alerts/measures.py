"""What is measured within a window, whether that is enough, and how sure it is.

Every count is the cardinality of a set over the window's pictures.  An answer has three values: True once the
known pictures reach every threshold; else None, not evaluable, when a visit in the window lacks a field that is
asked for (however unlikely that it would matter); else False.  So a missing field never reads as "no".
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt
from operator import attrgetter

from alerts.conditions import NEEDS, Condition, Measure
from alerts.ledger import Counted, Picture
from clustering.visits import transactions

EARTH_KM = 6371.0088
CLOCK_S = 60.0
"""Two terminals' clocks are taken to agree no better than this: a journey never counts as shorter."""

FIELDS = {"card_token": "card_token", "amount": "amount", "atm_location": "place"}
"""The attribute of a picture that holds an event's field."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a condition measured; ``missing`` names the event fields that some visit lacks."""

    truth: bool | None
    values: dict[Measure, float]
    missing: frozenset[str]


def passing(condition: Condition, pictures: Sequence[Counted]) -> tuple[Sequence[Counted], set[str]]:
    """The pictures that the condition's filters leave, and the fields for lack of which it can't be told."""
    kept: Sequence[Counted] = pictures
    missing: set[str] = set()
    hours, kinds = condition.local_hours, condition.transaction_types
    if hours is not None:
        if any(picture.local_minute is None for _, picture in kept):
            missing.add("zone")
        kept = [(n, p) for n, p in kept if p.local_minute is not None and hours.hold(p.local_minute)]
    if (kinds is not None or Measure.TRANSACTIONS in condition.limits) and _lacking(kept, "transaction_type"):
        missing.add("transaction_type")
    if kinds is not None:
        kept = [(n, p) for n, p in kept if p.transaction_type in kinds]
    return kept, missing


def read(condition: Condition, pictures: Sequence[Counted]) -> Reading:
    """Measure ``condition`` on the pictures of its window."""
    kept, missing = passing(condition, pictures)
    for measure in condition.limits:
        attribute = FIELDS.get(NEEDS.get(measure, ""))
        if attribute and _lacking(kept, attribute):
            missing.add(NEEDS[measure])
    values = {measure: _value(measure, kept) for measure in condition.limits}
    enough = all(values[measure] >= limit for measure, limit in condition.limits.items())
    return Reading(enough or (None if missing else False), values, frozenset(missing))


def weakest_link(condition: Condition, kept: Sequence[Counted]) -> float:
    """How sure it is that ``condition`` holds: the probability of the weakest picture that it can't do without.

    For a count, each thing counted is as sure as its best picture, and the surest that reach the threshold are
    taken; for an amount the surest visits that add up to it; for a speed the two ends of the journey.
    """
    return min(_surest(measure, limit, kept) for measure, limit in condition.limits.items())


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The great-circle distance between two places in degrees (haversine formula, mean Earth radius)."""
    (lat_a, lon_a), (lat_b, lon_b) = ((radians(lat), radians(lon)) for lat, lon in (a, b))
    h = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_KM * asin(sqrt(min(1.0, h)))


def _lacking(kept: Sequence[Counted], attribute: str) -> bool:
    """Whether a visit has no picture that brings the field; one that does speaks for its visit."""
    field = attrgetter(attribute)
    without = {number for number, picture in kept if field(picture) is None}
    return bool(without) and bool(without - {number for number, picture in kept if field(picture) is not None})


def _keys(measure: Measure, kept: Sequence[Counted]) -> list[Hashable | None]:
    """For each picture the thing that it adds to the set whose size is ``measure``; None for nothing."""
    match measure:
        case Measure.VISITS:
            return [number for number, _ in kept]
        case Measure.DISTINCT_ATMS:
            return [picture.atm_id for _, picture in kept]
        case Measure.DISTINCT_CARDS:
            return [picture.card_token for _, picture in kept]
        case Measure.DISTINCT_PERSONS:
            return [picture.identity_id for _, picture in kept]
        case Measure.TRANSACTIONS:
            return [(n, p.card_token, p.transaction_type) if p.transaction_type else None for n, p in kept]
        case _:
            return [picture.face_id for _, picture in kept]


def _value(measure: Measure, kept: Sequence[Counted]) -> float:
    if measure is Measure.SPEED_KMH:
        return _fastest(kept)[0]
    if measure is Measure.AMOUNT:
        return float(sum(amount for amount, _ in _moved(kept)))
    return float(len(set(_keys(measure, kept)) - {None}))


def _surest(measure: Measure, limit: float, kept: Sequence[Counted]) -> float:
    if measure is Measure.SPEED_KMH:
        return _fastest(kept)[1]
    if measure is Measure.AMOUNT:
        total = Decimal(0)
        for amount, confidence in sorted(_moved(kept), key=lambda visit: -visit[1]):
            total += amount
            if float(total) >= limit:
                return confidence
        return 0.0
    best: dict[Hashable, float] = {}
    for key, (_, picture) in zip(_keys(measure, kept), kept, strict=True):
        if key is not None:
            best[key] = max(best.get(key, 0.0), picture.confidence)
    return sorted(best.values(), reverse=True)[int(limit) - 1]


def _moved(kept: Sequence[Counted]) -> list[tuple[Decimal, float]]:
    """Amount and best confidence of each visit."""
    visits: dict[int, list[Picture]] = {}
    for number, picture in kept:
        visits.setdefault(number, []).append(picture)
    return [
        (sum(transactions(pictures).values(), Decimal(0)), max(p.confidence for p in pictures))
        for pictures in visits.values()
    ]


def _fastest(kept: Sequence[Counted]) -> tuple[float, float]:
    """The highest speed in km/h between pictures that follow each other at two ATMs, and its ends' confidence."""
    fastest, confidence = 0.0, 1.0
    for a, b in pairwise(picture for _, picture in kept if picture.place is not None):
        if a.atm_id != b.atm_id and a.place is not None and b.place is not None:
            seconds = max((b.captured_at - a.captured_at).total_seconds(), CLOCK_S)
            speed = distance_km(a.place, b.place) / seconds * 3600
            if speed > fastest:
                fastest, confidence = speed, min(a.confidence, b.confidence)
    return fastest, confidence
