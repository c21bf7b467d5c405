"""What clustering decides: who was seen, and how often so far."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from embedder.records import Box, FaceId, Finite, Quality, Signs, Unit
from ingest.records import AtmEvent, Instant, Name, Position, Record

Count = Annotated[int, Field(ge=0)]


class Decision(StrEnum):
    """How a face came to its identity."""

    FOUNDED = "founded"
    JOINED = "joined"


class Sighting(Record):
    """One face assigned to one unknown identity: the journal's record, from which all state is folded.

    ``identity_id`` derives from the founding face; ``number`` is the order of founding (unknown identity 1, 2,
    3 …).  ``similarity`` is the score that the decision rests on, to ``identity_id``'s templates, and
    ``runner_up`` the best other identity's; ``confidence`` is the calibrated probability that the face is this
    person's (1 for a founder).  ``slot`` is where in the identity's bounded set of templates the vector went,
    None when it was not kept.  ``visits`` counts the identity's visits with this one in.
    """

    face_id: FaceId
    identity_id: Name
    number: Annotated[int, Field(ge=1)]
    decision: Decision
    similarity: Finite | None = None
    runner_up: Finite | None = None
    confidence: Unit = 1.0
    slot: Count | None = None
    visits: Annotated[int, Field(ge=1)]
    event: AtmEvent
    model_id: Name
    vector: bytes = Field(repr=False)
    box: Box
    quality: Quality
    bystanders: tuple[Box, ...] = ()
    signs: Signs | None = None
    position: Position

    @property
    def template(self) -> NDArray[np.float32]:
        """The vector as a read-only (dim,) float32 array; no copy."""
        return np.frombuffer(self.vector, "<f4")


class Usage(Record):
    """One identity's use of the machines, summed up."""

    identity_id: Name
    number: Annotated[int, Field(ge=1)]
    visits: Count
    pictures: Count
    atms: Count
    cards: Count
    first_seen: Instant
    last_seen: Instant
