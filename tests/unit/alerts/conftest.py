"""Sightings, rejections and rule books in a line each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from alerts.records import Alert
from alerts.rulefile import parse_rules
from alerts.rules import RuleBook
from alerts.stage import AlertStage
from clustering.records import Decision, Sighting
from embedder.records import Box, Quality
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource, GeoPoint, Position, Record, Rejection
from ingest.stage import Delivery

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
QUALITY = Quality(eye_distance_px=60, sharpness=200, brightness=120, contrast=40, yaw=0, detection=0.9, score=0.9)
OSLO, BERGEN = GeoPoint(lat=59.91, lon=10.75), GeoPoint(lat=60.39, lon=5.32)  # 305 km apart


def moment(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Make:
    """Records with as little said as possible; every sighting is a picture of its own."""

    def __init__(self) -> None:
        self._ids = count()

    def sighting(
        self, minutes: float, who: str = "p1", atm: str = "a1", card: str | None = None, **more: Any
    ) -> Sighting:
        n = next(self._ids)
        confidence = more.pop("confidence", 1.0)
        if "amount" in more:
            more["amount"] = Decimal(str(more["amount"]))
        event = AtmEvent(
            event_id=more.pop("event_id", f"e{n}"),
            atm_id=atm,
            captured_at=moment(minutes),
            card_token=card,
            clock=more.pop("clock", ClockSource.CAMERA),
            image_uri=f"file:///{n}.jpg",
            **more,
        )
        return Sighting(
            face_id=f"{event.event_id}#0",
            identity_id=who,
            number=int(who.strip("p") or 1),
            decision=Decision.JOINED,
            similarity=0.5,
            confidence=confidence,
            visits=1,
            event=event,
            model_id="m",
            vector=b"\0" * 16,
            box=Box(x=0, y=0, width=10, height=10),
            quality=QUALITY,
            position=Position(offset=n),
        )

    def rejection(self, minutes: float, atm: str | None = "a1", **more: Any) -> Rejection:
        n = next(self._ids)
        fields: dict[str, Any] = {
            "reason": Reason.CAMERA_OBSCURED,
            "source": f"{n}.jpg",
            "detail": "Dark.",
            "stage": "embedder",
            "event_id": f"e{n}",
            "atm_id": atm,
            "captured_at": moment(minutes),
        }
        return Rejection(**(fields | more))


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def book() -> Callable[..., RuleBook]:
    """A rule book from the part of each rule that matters."""

    def build(*rules: str) -> RuleBook:
        lines = ["version: 1", "rules:"]
        for i, rule in enumerate(rules):
            given = {part.split(":")[0].strip() for part in rule.split("\n")}
            filler = {"id": f"R{i}", "title": "t", "severity": "medium", "per": "identity", "cooldown": "0s"}
            parts = [f"{k}: {v}" for k, v in filler.items() if k not in given] + rule.strip().split("\n")
            lines += [("  - " if j == 0 else "    ") + part.strip("\n") for j, part in enumerate(parts)]
        return parse_rules("\n".join(lines).encode())

    return build


def feed(stage: AlertStage, *records: Record) -> list[Alert]:
    """The alerts that ``records`` raise, one delivery at a time."""
    alerts = []
    for i, record in enumerate(records):
        out = stage.process([Delivery(record, Position(offset=i))])
        assert out[0].record is record
        assert all(delivery.position.offset == i for delivery in out)
        alerts += [delivery.record for delivery in out[1:]]
    assert all(isinstance(alert, Alert) for alert in alerts)
    return alerts


@pytest.fixture(name="feed")
def _feed() -> Callable[..., list[Alert]]:
    return feed
