"""What the embedder says of a picture: the template of the person at the machine, and how good it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from ingest.records import AtmEvent, Name, Record

Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


FaceId = Annotated[
    str, StringConstraints(min_length=3, max_length=206, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+#[0-9]+$")
]
"""An event's id, which is a ``Name`` and may fill its 200 characters, and the face's number: ``event_id#n``."""


class Box(Record):
    """A face's rectangle in pixels of the upright picture; ``x``, ``y`` is the upper left corner."""

    x: Finite
    y: Finite
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    height: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Quality(Record):
    """How well an eye region can be compared.

    ``eye_distance_px`` is measured in the picture as it came; ``sharpness`` is the variance of the Laplacian of
    the aligned eye region's grey values (0..255), ``brightness`` and ``contrast`` their mean and standard
    deviation; ``yaw`` is the nose's offset from the middle of the eyes, in eye distances (0 looks ahead).
    ``score`` sums them up, 0 (worthless) to 1.
    """

    eye_distance_px: Finite
    sharpness: Finite
    brightness: Finite
    contrast: Finite
    yaw: Finite
    detection: Unit
    score: Unit


class Wear(StrEnum):
    """What covers a face: nothing that matters, a mask, or something else (sunglasses, a cap, a hand)."""

    BARE = "bare"
    MASKED = "masked"
    OCCLUDED = "occluded"


class Signs(Record):
    """What is seen of a face besides who it is.

    ``wear_score`` is the probability of ``wear``; ``eyes_open`` that of open against closed eyes, None where it can't
    be told: eyes hidden behind something, or too small.
    """

    wear: Wear
    wear_score: Unit
    eyes_open: Unit | None = None


class FaceEmbedding(Record):
    """The main face of one event: the person who uses the machine.

    ``vector`` is a float32 little-endian template of length ``dim``, L2-normalised: read it through
    ``template``.  It is only comparable with vectors of the same ``model_id``.  ``bystanders`` are the other
    faces: kept as places in the picture, never as templates, and never counted.  ``signs`` is None where nobody
    looked for them.  No pixels.
    """

    face_id: FaceId
    event: AtmEvent
    model_id: Name
    vector: bytes = Field(repr=False)
    box: Box
    landmarks: tuple[tuple[Finite, Finite], ...]
    quality: Quality
    bystanders: tuple[Box, ...] = ()
    signs: Signs | None = None

    @property
    def template(self) -> NDArray[np.float32]:
        """The vector as a read-only (dim,) float32 array; no copy."""
        return np.frombuffer(self.vector, "<f4")


def pack(vector: NDArray[np.float32]) -> bytes:
    """The wire form of a template: float32, little-endian."""
    return vector.astype("<f4", copy=False).tobytes()
