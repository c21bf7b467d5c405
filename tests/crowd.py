"""A crowd at a few machines, made of numbers: who comes, whose event is sent twice, and what comes late."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np

from deploy.settings import Settings, model_folder
from embedder.cards import load_model_card
from embedder.records import Box, FaceEmbedding, Quality, pack
from ingest.records import AtmEvent

START = datetime(2024, 5, 6, 6, tzinfo=UTC)
DUPLICATES, LATE = 0.10, 0.05
NOISE = 0.3
"""Length of what differs between two faces of a person, to the 1 of what they share: nobody looks like another."""
VISITS_EACH = 25
MACHINES = 20
CARD = load_model_card(model_folder(Settings().model))
"""That of the model which roles take that are told of none."""


def crowd(count: int, seed: int, scope: str) -> list[FaceEmbedding]:
    """``count`` faces in the order in which they arrive: a tenth came before, and a twentieth is up to 2 h late."""
    rng = random.Random(seed)
    numbers = np.random.default_rng(seed)
    people = numbers.normal(size=(max(2, count // VISITS_EACH), CARD.dim))
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    faces: list[FaceEmbedding] = []
    for number in range(count):
        if faces and rng.random() < DUPLICATES:
            faces.append(faces[-rng.randint(1, min(len(faces), 400))])
            continue
        noise = numbers.normal(size=CARD.dim)
        vector = people[rng.randrange(len(people))] + NOISE * noise / np.linalg.norm(noise)
        late = timedelta(minutes=rng.uniform(5, 120)) if rng.random() < LATE else timedelta(0)
        event = AtmEvent(
            event_id=f"face-{number}",
            atm_id=f"ATM-{rng.randrange(MACHINES)}",
            captured_at=START + timedelta(seconds=20 * number) - late,
            scope=scope,
            card_token=rng.choice([None, f"tok-{rng.randrange(count)}"]),
        )
        faces.append(_face(event, CARD.model_id, (vector / np.linalg.norm(vector)).astype(np.float32), rng.random()))
    return faces


def _face(event: AtmEvent, model_id: str, vector: np.ndarray, score: float) -> FaceEmbedding:
    return FaceEmbedding(
        face_id=f"{event.event_id}#0",
        event=event,
        model_id=model_id,
        vector=pack(vector),
        box=Box(x=1, y=2, width=30, height=40),
        landmarks=(),
        quality=Quality(
            eye_distance_px=30, sharpness=100, brightness=120, contrast=30, yaw=0, detection=0.9, score=score
        ),
    )


def pictures(count: int, seed: int, scope: str, looks: list[bytes]) -> list[AtmEvent]:
    """``count`` events with pictures, likewise."""
    rng = random.Random(seed)
    events: list[AtmEvent] = []
    for number in range(count):
        if events and rng.random() < DUPLICATES:
            events.append(rng.choice(events[-50:]))
            continue
        late = timedelta(minutes=rng.uniform(5, 120)) if rng.random() < LATE else timedelta(0)
        events.append(
            AtmEvent(
                event_id=f"picture-{number}",
                atm_id=f"ATM-{rng.randrange(MACHINES)}",
                captured_at=START + timedelta(minutes=number) - late,
                scope=scope,
                image=rng.choice(looks),
            )
        )
    return events
