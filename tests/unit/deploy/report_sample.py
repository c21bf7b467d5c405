"""A day of ATM events with drawn faces, as a run would leave it in its journals."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import cv2
import numpy as np

from alerts.records import Alert, Evidence, Queue, Severity
from clustering.records import Decision, Sighting, Usage
from deploy.summary import RuleStatus, Run
from embedder.records import Box, Quality, pack
from ingest.errors import BadRecord
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource, Position, Rejection

DAY = datetime(2026, 3, 14, 6, 0, tzinfo=UTC)
VECTOR = pack(np.full(4, 0.5, np.float32))
CARD = "tok_c4rdt0ken"
QUALITY = Quality(eye_distance_px=60, sharpness=200, brightness=120, contrast=40, yaw=0.05, detection=0.9, score=0.8)


def event(number: int, at: datetime = DAY, atm: str = "atm-01", **fields: object) -> AtmEvent:
    known: dict[str, object] = {
        "event_id": f"event-{number:05d}",
        "atm_id": atm,
        "captured_at": at,
        "clock": ClockSource.MANIFEST,
        "image_uri": f"file:///day/{atm}/{number:05d}.jpg",
    }
    return AtmEvent.model_validate(known | fields)


def sighting(taken: AtmEvent, person: int, visits: int = 1, **fields: object) -> Sighting:
    known: dict[str, object] = {
        "face_id": f"{taken.event_id}#0",
        "identity_id": f"person-{person}",
        "number": person,
        "decision": Decision.JOINED if visits > 1 else Decision.FOUNDED,
        "similarity": 0.61 if visits > 1 else None,
        "confidence": 0.993 if visits > 1 else 1.0,
        "visits": visits,
        "event": taken,
        "model_id": "sface-v1",
        "vector": VECTOR,
        "box": Box(x=250, y=150, width=140, height=180),
        "quality": QUALITY,
        "position": Position(offset=0),
    }
    return Sighting.model_validate(known | fields)


def usage(person: int, visits: int, **fields: object) -> Usage:
    known: dict[str, object] = {
        "identity_id": f"person-{person}",
        "number": person,
        "visits": visits,
        "pictures": visits,
        "atms": 1,
        "cards": 0,
        "first_seen": DAY,
        "last_seen": DAY + timedelta(hours=1),
    }
    return Usage.model_validate(known | fields)


def rejection(reason: Reason, source: str, **fields: object) -> Rejection:
    known = {"reason": reason, "source": source, "detail": reason.sentence, "stage": "test"}
    return Rejection.model_validate(known | fields)


def alert(seen: list[Sighting], rule: str, severity: Severity, title: str, **fields: object) -> Alert:
    proofs = tuple(
        Evidence(
            event_id=s.event.event_id,
            atm_id=s.event.atm_id,
            captured_at=s.event.captured_at,
            source=s.event.source,
            identity_id=s.identity_id,
            similarity=s.similarity,
            confidence=s.confidence,
        )
        for s in seen
    )
    known: dict[str, object] = {
        "alert_id": f"{rule}-{seen[-1].number}-1".lower(),
        "rule_id": rule,
        "title": title,
        "severity": severity,
        "subject": seen[-1].identity_id,
        "episode": 1,
        "identity_id": seen[-1].identity_id,
        "number": seen[-1].number,
        "raised_at": seen[-1].event.captured_at,
        "window_start": seen[0].event.captured_at,
        "measured": {"visits": float(len(seen)), "distinct_atms": 3.0},
        "limits": {"visits": 3.0, "window_s": 3600.0},
        "confidence": 0.978,
        "advice": "Compare the faces below, then look up the cards used at these times.",
        "evidence": proofs,
        "position": Position(offset=0),
    }
    return Alert.model_validate(known | fields)


def drawn_picture(person: int, seed: int) -> np.ndarray:
    """A 640 by 480 BGR picture of a drawn, masked head; its face's box is the one of ``sighting``."""
    rng = random.Random(person)
    skin = tuple(rng.randint(low, low + 60) for low in (110, 130, 170))
    hair = tuple(rng.randint(15, 90) for _ in range(3))
    mask = rng.choice([(235, 235, 235), (200, 160, 90), (40, 40, 40), (150, 120, 200), (120, 170, 120)])
    shake = random.Random(seed)
    light = shake.uniform(0.65, 1.15)
    picture = np.full((480, 640, 3), (88, 96, 92), np.uint8)
    cv2.rectangle(picture, (0, 380), (640, 480), (70, 62, 58), -1)
    cv2.ellipse(picture, (320, 470), (170, 120), 0, 180, 360, (90, 60, 50), -1)
    cv2.ellipse(picture, (320, 225), (88, 125), 0, 0, 360, hair, -1)
    cv2.ellipse(picture, (320, 245), (70, 100), 0, 0, 360, skin, -1)
    for x in (292, 348):
        cv2.ellipse(picture, (x, 225), (13, 7), 0, 0, 360, (245, 245, 245), -1)
        cv2.circle(picture, (x, 225), 6, (50 + 20 * (person % 5), 50, 30), -1)
        cv2.line(picture, (x - 16, 206), (x + 16, 204), hair, 5)
    cv2.fillConvexPoly(picture, np.array([(256, 250), (384, 250), (372, 322), (320, 350), (268, 322)]), mask)
    cv2.line(picture, (256, 255), (240, 232), mask, 3)
    cv2.line(picture, (384, 255), (400, 232), mask, 3)
    noise = np.random.default_rng(seed).normal(0, 5, picture.shape)
    return np.clip(picture * light + noise, 0, 255).astype(np.uint8)


@dataclass
class SampleRun:
    usages: list[Usage] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    run: Run = field(default_factory=lambda: Run("/data/atm-day", "sface-v1", 0.363, 1.0))

    def fetch(self, wanted: AtmEvent) -> bytes:
        """The event's picture as JPEG."""
        person = next((s.number for s in self.sightings if s.event.event_id == wanted.event_id), None)
        if person is None:
            raise BadRecord(Reason.UNREADABLE, "It is gone.")
        picture = drawn_picture(person, int(wanted.event_id[-5:]))
        return cv2.imencode(".jpg", picture)[1].tobytes()


def decode(content: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def sample_day(people: int = 16, seed: int = 7) -> SampleRun:
    """People with 1 to 11 visits at six ATMs, alerts about three of them, and every kind of bad input."""
    rng = random.Random(seed)
    day = SampleRun()
    visit_counts = [11, 6, 4, 3, 2, *([1] * (people - 5))]
    number = 0
    for person, visits in enumerate(visit_counts, 1):
        start = DAY + timedelta(minutes=rng.randint(20, 400))
        seen = []
        for visit in range(1, visits + 1):
            start += timedelta(minutes=rng.randint(4, 60))
            atm = f"atm-{rng.choice([1, 2, 3, 4] if visits > 3 else [2, 5]):02d}"
            for frame in range(rng.randint(1, 3)):
                number += 1
                taken = event(
                    number,
                    start + timedelta(seconds=20 * frame),
                    atm,
                    session_id=f"s-{person}-{visit}",
                    card_token=f"{CARD}{visit}",
                    amount=Decimal(400),
                )
                similarity = rng.uniform(0.45, 0.8)
                known = {"similarity": similarity, "confidence": rng.uniform(0.96, 0.9995)} if seen else {}
                seen.append(sighting(taken, person, visit, **known))
        day.sightings += seen
        day.usages.append(
            usage(
                person,
                visits,
                pictures=len(seen),
                atms=len({s.event.atm_id for s in seen}),
                cards=min(visits, 5),
                first_seen=seen[0].event.captured_at,
                last_seen=seen[-1].event.captured_at,
            )
        )
        if person == 1:
            burst = seen[:6]
            day.alerts.append(alert(burst, "CARD_SPREAD", Severity.CRITICAL, "Many cards at several ATMs"))
            day.alerts.append(alert(seen[:9], "COUNT_ONLY", Severity.MEDIUM, "Very many visits"))
        if person == 2:
            day.alerts.append(alert(seen[:4], "COUNT_ONLY", Severity.MEDIUM, "Very many visits"))
        if person == 3:
            held = "The person would have travelled at 310 km/h: a false match or a wrong clock."
            fields = {"held": held, "queue": Queue.DATA_QUALITY, "confidence": 0.61}
            day.alerts.append(alert(seen[:3], "TRAVEL_GUARD", Severity.HIGH, "Impossible travel", **fields))
    day.sightings.sort(key=lambda s: s.event.captured_at)
    for n in range(31):
        reason = Reason.NO_FACE if n % 3 else Reason.BLURRED
        day.rejections.append(
            rejection(reason, f"file:///day/atm-06/{n}.jpg", atm_id="atm-06", captured_at=DAY, event_id=f"x{n}")
        )
    day.rejections += [
        rejection(Reason.EMPTY_FILE, "atm-01/empty.jpg", atm_id="atm-01"),
        rejection(Reason.TRUNCATED_IMAGE, "atm-02/<script>alert(1)</script>.jpg", atm_id="atm-02"),
        rejection(Reason.NOT_AN_IMAGE, "atm-03/invoice\u202egpj.exe"),
        rejection(Reason.BAD_ROW, "manifest.csv:17"),
    ]
    stages = {
        "decode": 0.41,
        "detect": 0.93,
        "align": 0.05,
        "embed": 1.32,
        "decide": 0.08,
        "alerts": 0.03,
        "write": 0.06,
    }
    day.run = Run(
        "/data/atm-day",
        "sface-v1",
        0.363,
        2.91,
        stage_seconds=stages,
        rules=(
            RuleStatus(rule_id="CARD_SPREAD", title="Many cards at several ATMs", alerts=1, evaluated=62),
            RuleStatus(rule_id="COUNT_ONLY", title="Very many visits", alerts=2, evaluated=62),
            RuleStatus(rule_id="TRAVEL_GUARD", title="Impossible travel", alerts=1, evaluated=40, not_evaluable=22),
            RuleStatus(
                rule_id="CARD_TEST",
                title="Card testing",
                not_evaluable=62,
                missing=("response", "transaction_type"),
            ),
            RuleStatus(rule_id="LOITER", title="Loitering", enabled=False),
        ),
    )
    return day
