"""Made-up people for measuring: a journal that fills a roster to a size, and faces that then come to the machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from clustering.records import Decision, Sighting
from clustering.roster import identity_id_of
from embedder.cards import ModelCard
from embedder.records import Box, FaceEmbedding, Quality, pack
from ingest.records import AtmEvent, GeoPoint, Position

Vectors = NDArray[np.float32]
OPENING = datetime(2024, 3, 4, 6, tzinfo=UTC)
BETWEEN = timedelta(minutes=7)
"""From one picture of a person to the next in the journal: each is a visit of its own."""
MACHINES = 400
SPREAD = 0.7
"""Deviation of a picture from its person: two pictures of one have a cosine of 1 / (1 + SPREAD²), about 0.67."""
MOST_TEMPLATES = 8
BOX = Box(x=210.5, y=120.25, width=180.75, height=200.5)


@dataclass(slots=True)
class Crowd:
    """People with 1 to 8 templates each, ``templates`` in all; the same for the same ``seed``.

    ``joins`` is the share of faces that show somebody known; the others are strangers.
    """

    card: ModelCard
    templates: int
    seed: int = 0
    joins: float = 0.7
    looks: list[int] = field(init=False)
    _centres: Vectors = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(1, MOST_TEMPLATES + 1, self.templates)
        people = int(np.searchsorted(np.cumsum(drawn), self.templates)) + 1
        self.looks = drawn[:people].tolist()
        self.looks[-1] -= sum(self.looks) - self.templates
        self._centres = _unit(rng.normal(size=(people, self.card.dim)))

    def journal(self) -> Iterator[Sighting]:
        """The ``templates`` sightings that make up the roster, each with its vector kept."""
        rng = np.random.default_rng((self.seed, 1))
        offset = 0
        for person, looks in enumerate(self.looks):
            vectors = self._pictures(np.full(looks, person), rng)
            identity_id = identity_id_of(f"known-{offset}#0")
            for slot in range(looks):
                face = self._face(f"known-{offset}", vectors[slot], OPENING + slot * BETWEEN, person)
                yield _sighting(face, identity_id, person + 1, slot, offset)
                offset += 1

    def faces(self, count: int, batch: int = 1024) -> Iterator[FaceEmbedding]:
        """``count`` faces of the day after, one a second, of people in no order."""
        rng = np.random.default_rng((self.seed, 2))
        for start in range(0, count, batch):
            size = min(batch, count - start)
            people = rng.integers(len(self.looks), size=size)
            vectors = self._pictures(people, rng)
            strangers = rng.random(size) >= self.joins
            vectors[strangers] = _unit(rng.normal(size=(int(strangers.sum()), self.card.dim)))
            for i, person in enumerate(people.tolist()):
                at = OPENING + timedelta(days=1, seconds=start + i)
                yield self._face(f"face-{start + i}", vectors[i], at, person)

    def _pictures(self, people: NDArray[np.int64], rng: np.random.Generator) -> Vectors:
        noise = rng.normal(size=(len(people), self.card.dim)) * SPREAD / np.sqrt(self.card.dim)
        return _unit(self._centres[people] + noise)

    def _face(self, event_id: str, vector: Vectors, at: datetime, person: int) -> FaceEmbedding:
        machine = person % MACHINES
        score = 0.5 + (person * 7 + at.second) % 50 / 100
        event = AtmEvent(
            event_id=event_id,
            atm_id=f"ATM-{machine:04}",
            captured_at=at,
            session_id=f"session-{event_id}",
            card_token=f"tok_{person:07}",
            atm_location=GeoPoint(lat=59.9 + machine / 10_000, lon=10.7),
        )
        quality = Quality(
            eye_distance_px=61.5,
            sharpness=210.5,
            brightness=121.5,
            contrast=41.5,
            yaw=0.01,
            detection=0.93,
            score=score,
        )
        return FaceEmbedding(
            face_id=f"{event_id}#0",
            event=event,
            model_id=self.card.model_id,
            vector=pack(vector),
            box=BOX,
            landmarks=((250.0, 180.0), (340.0, 182.0), (296.0, 230.0), (262.0, 280.0), (330.0, 281.0)),
            quality=quality,
        )


def _sighting(face: FaceEmbedding, identity_id: str, number: int, slot: int, offset: int) -> Sighting:
    return Sighting(
        face_id=face.face_id,
        identity_id=identity_id,
        number=number,
        decision=Decision.JOINED if slot else Decision.FOUNDED,
        similarity=0.67 if slot else None,
        slot=slot,
        visits=slot + 1,
        event=face.event,
        model_id=face.model_id,
        vector=face.vector,
        box=face.box,
        quality=face.quality,
        position=Position(offset=offset),
    )


def _unit(vectors: NDArray[np.float64]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
