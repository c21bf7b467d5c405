"""What happens at a few ATMs, and what must come of it, whatever mode the pipeline runs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from PIL import Image
from portraits import (
    ALICE,
    ALICE_2,
    ALICE_3,
    BOB,
    CAROL,
    NOON,
    after,
    manifest,
    masked,
    nobody,
    portrait,
    put,
)

from alerts.records import Alert
from clustering.records import Sighting
from ingest.records import Rejection

LOOKS: Mapping[str, Callable[[], Image.Image]] = MappingProxyType(
    {
        "alice": lambda: portrait(ALICE),
        "alice 2": lambda: portrait(ALICE_2),
        "alice 3": lambda: portrait(ALICE_3),
        "alice masked": lambda: masked(ALICE, "surgical_blue"),
        "alice 2 masked": lambda: masked(ALICE_2, "cloth"),
        "bob": lambda: portrait(BOB, 400),
        "bob masked": lambda: masked(BOB, "n95", 400),
        "carol": lambda: portrait(CAROL),
        "carol masked": lambda: masked(CAROL, "black"),
        "nobody": nobody,
    }
)


@dataclass(frozen=True)
class Use:
    """One picture: who, where, how many minutes after noon, and what the bank knows."""

    look: str
    atm: str
    minute: float
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of a scenario, in values that every mode must agree on.

    ``visits``, ``pictures`` and ``atms`` are by person, in the order in which they first came.
    """

    visits: tuple[int, ...]
    pictures: tuple[int, ...]
    atms: tuple[int, ...]
    alerts: tuple[tuple[str, int | None, str], ...]
    rejected: tuple[str, ...]


def summed_up(sightings: Sequence[Sighting], alerts: Sequence[Alert], rejections: Sequence[Rejection]) -> Result:
    """What the journals, in their order, come to."""
    numbers = sorted({sighting.number for sighting in sightings})
    by_person = [[s for s in sightings if s.number == number] for number in numbers]
    return Result(
        visits=tuple(mine[-1].visits for mine in by_person),
        pictures=tuple(len(mine) for mine in by_person),
        atms=tuple(len({s.event.atm_id for s in mine}) for mine in by_person),
        alerts=tuple((a.rule_id, a.number, a.raised_at.isoformat()) for a in alerts),
        rejected=tuple(rejection.reason.value for rejection in rejections),
    )


@dataclass(frozen=True)
class Scenario:
    """Pictures and, when ``rules`` is None, the shipped rules; ``lay_out`` puts them where a replay finds them."""

    name: str
    lay_out: Callable[[Path], Path]
    expected: Result
    rules: str | None = None
    notes: tuple[str, ...] = ()


def tabled(*uses: Use) -> Callable[[Path], Path]:
    """The pictures with a manifest."""

    def lay_out(folder: Path) -> Path:
        rows: list[dict[str, Any]] = []
        for use in uses:
            name = f"{use.look.replace(' ', '_')}.jpg"
            put(folder / name, LOOKS[use.look]())
            at = after(use.minute).isoformat()
            rows.append({"path": name, "atm_id": use.atm, "captured_at": at, **use.fields})
        manifest(folder, rows)
        return folder

    return lay_out


def by_machine(*uses: Use) -> Callable[[Path], Path]:
    """A sub-folder for each ATM, times in the pictures' Exif."""

    def lay_out(folder: Path) -> Path:
        for number, use in enumerate(uses):
            put(folder / use.atm / f"{number:03d}.jpg", LOOKS[use.look](), after(use.minute), exif=True)
        return folder

    return lay_out


def flat(*looks: str) -> Callable[[Path], Path]:
    """A flat folder of pictures that say nothing of when they were taken, all saved within a second."""

    def lay_out(folder: Path) -> Path:
        for number, look in enumerate(looks):
            put(folder / f"{number:03d}.jpg", LOOKS[look](), NOON + timedelta(milliseconds=number))
        return folder

    return lay_out


def filmed(*looks: str, seconds_each: int = 3) -> Callable[[Path], Path]:
    """A video of five frames a second in which one person after the other is at the machine."""

    def lay_out(folder: Path) -> Path:
        path = folder / "lobby.avi"
        film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (320, 320))
        for look in looks:
            frame = np.full((320, 320, 3), 128, np.uint8)
            picture = np.asarray(LOOKS[look]())[:320, :320, ::-1]
            frame[: picture.shape[0], : picture.shape[1]] = picture
            for _ in range(5 * seconds_each):
                film.write(frame)
        film.release()
        put(path, path.read_bytes(), after(60))
        return path

    return lay_out


def card(token: str, **more: object) -> dict[str, object]:
    return {"card_token": token, **more}


def evidence(rule: str, person: int | None, minute: float) -> tuple[str, int | None, str]:
    return rule, person, after(minute).isoformat()


CITY_WALK: Sequence[Use] = (
    Use("alice", "ATM-1", 0, {"session_id": "s1"}),
    Use("alice masked", "ATM-1", 1, {"session_id": "s1"}),
    Use("bob", "ATM-1", 5, {"session_id": "s2"}),
    Use("alice 2 masked", "ATM-2", 30, {"session_id": "s3"}),
    Use("nobody", "ATM-2", 31, {"session_id": "s3"}),
    Use("carol masked", "ATM-2", 45),
    Use("carol", "ATM-2", 46.5),
    Use("carol", "ATM-2", 50),
    Use("bob masked", "ATM-3", 60, {"session_id": "s4"}),
    Use("alice 3", "ATM-3", 90, {"session_id": "s5"}),
)
CITY_RESULT = Result((3, 2, 2), (4, 2, 3), (3, 2, 1), (), ("no_face",))

OFTEN = """
version: 1
rules:
  - id: OFTEN
    title: Came three times in an hour
    severity: medium
    per: identity
    when:
      any:
        - {window: 60m, visits: 3}
        - {window: 60m, visits: 5, severity: critical}
    cooldown: 60m
"""

SCENARIOS = (
    Scenario("people are told apart by their eyes, and visits by session and gap", tabled(*CITY_WALK), CITY_RESULT),
    Scenario("the order of a manifest's rows does not matter", tabled(*reversed(CITY_WALK)), CITY_RESULT),
    Scenario(
        "five cards in twelve minutes at one ATM",
        tabled(
            *(
                Use(look, "ATM-7", 3.0 * i, card(f"tok-{i}", session_id=f"s{i}", amount="200.00", currency="NOK"))
                for i, look in enumerate(("alice", "alice masked", "alice 2", "alice 2 masked", "alice 3"))
            ),
            Use("bob", "ATM-7", 14, card("tok-bob")),
            Use("carol", "ATM-7", 15, card("tok-carol")),
        ),
        Result(
            (5, 1, 1),
            (5, 1, 1),
            (1, 1, 1),
            (evidence("CARD_BURST", 1, 6), evidence("CARD_SPREAD", 1, 9), evidence("CARD_BURST", 1, 12)),
            (),
        ),
    ),
    Scenario(
        "one card in three people's hands",
        tabled(
            Use("alice masked", "ATM-1", 0, card("tok-one")),
            Use("bob", "ATM-2", 40, card("tok-one")),
            Use("carol masked", "ATM-3", 95, card("tok-one")),
        ),
        Result((1, 1, 1), (1, 1, 1), (1, 1, 1), (evidence("ONE_CARD_MANY_FACES", None, 95),), ()),
    ),
    Scenario(
        "an alert speaks once a crossing, again when it is graver, and again after the rule had ceased to hold",
        tabled(
            *(
                Use(look, f"ATM-{i % 3}", minute)
                for i, (look, minute) in enumerate(
                    [("alice", m) for m in (0, 10, 20, 30)]
                    + [("alice masked", 40), ("alice 2", 300), ("alice 3", 310), ("alice 2", 320)]
                )
            )
        ),
        Result((8,), (8,), (3,), (evidence("OFTEN", 1, 20), evidence("OFTEN", 1, 40), evidence("OFTEN", 1, 320)), ()),
        OFTEN,
    ),
    Scenario(
        "ten pictures without a face make a camera an alert",
        tabled(*(Use("nobody", "ATM-5", i) for i in range(11)), Use("alice", "ATM-5", 12)),
        Result((1,), (1,), (1,), (evidence("CAMERA_OBSCURED", None, 9),), ("no_face",) * 11),
    ),
    Scenario(
        "an event sent twice counts once",
        tabled(
            Use("alice", "ATM-1", 0, {"event_id": "e1"}),
            Use("alice 2", "ATM-1", 10, {"event_id": "e1"}),
            Use("alice 2", "ATM-1", 20, {"event_id": "e2"}),
        ),
        Result((2,), (2,), (1,), (), ("duplicate_event",)),
    ),
    Scenario(
        "a folder for each ATM, with times in the pictures",
        by_machine(
            Use("alice", "Bank Street", 0),
            Use("alice masked", "Bank Street", 1.5),
            Use("alice 2", "Bank Street", 10),
            Use("alice 3", "Harbour", 40),
            Use("bob", "Harbour", 41),
        ),
        Result((3, 1), (4, 1), (2, 1), (), ()),
    ),
    Scenario(
        "in a flat folder of pictures without times each is a visit",
        flat("alice", "bob", "alice 2", "alice masked", "carol", "alice 3"),
        Result((4, 1, 1), (4, 1, 1), (1, 1, 1), (), ()),
        notes=("6 of 6 accepted pictures bring neither a manifest, a time of their own (EXIF) nor a session",),
    ),
    Scenario(
        "a video gives a frame a second",
        filmed("alice", "carol", "alice masked"),
        Result((1, 1), (6, 3), (1, 1), (), ()),
    ),
)
