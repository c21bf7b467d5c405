"""What was seen of people besides who they are, visit by visit: masks, eyes, blinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from clustering.records import Count, Sighting
from clustering.visits import VisitNumbers, frame_of
from embedder.liveness import CLOSED, OPEN, Blink, BlinkWatch
from embedder.records import Wear

VISITS_FOLLOWED = 5000
"""Visits of one person that are looked at; what is beyond does not change what is known of that person."""
EYES_OPEN, EYES_CLOSED, EYES_UNKNOWN = "open", "closed", "unknown"


class PersonSigns(BaseModel):
    """One identity's visits by what was seen on them.

    ``visits`` are those with a picture that was looked at; each was bare, masked or occluded by most of its pictures.
    The eyes of ``eyes_open`` were open in some picture, those of ``eyes_closed`` in none, though closed in some.
    ``blinks`` counts visits on which the eyes blinked, ``no_blinks`` those whose footage would have shown it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    identity_id: str
    visits: Count
    masked: Count
    occluded: Count
    masked_share: Annotated[float, Field(ge=0, le=1)]
    eyes_open: Count
    eyes_closed: Count
    blinks: Count
    no_blinks: Count


class VisitSigns:
    """One visit, growing as its pictures come in the order of time."""

    __slots__ = ("_closed", "_opened", "_watch", "_worn")

    def __init__(self) -> None:
        self._worn: Counter[Wear] = Counter()
        self._opened = self._closed = False
        self._watch = BlinkWatch()

    def add(self, sighting: Sighting) -> None:
        """Take in one picture."""
        signs = sighting.signs
        if signs is None:
            return
        self._worn[signs.wear] += 1
        if signs.eyes_open is not None:
            self._opened |= signs.eyes_open >= OPEN
            self._closed |= signs.eyes_open <= CLOSED
        self._watch.add(sighting.event.captured_at, signs.eyes_open)

    @property
    def wear(self) -> Wear | None:
        """What most pictures show, a mask before anything else; None when none was looked at."""
        order = (Wear.MASKED, Wear.OCCLUDED, Wear.BARE)
        return max(order, key=lambda wear: self._worn[wear]) if self._worn else None

    @property
    def eyes(self) -> str:
        """``EYES_OPEN``, ``EYES_CLOSED`` or ``EYES_UNKNOWN``."""
        return EYES_OPEN if self._opened else EYES_CLOSED if self._closed else EYES_UNKNOWN

    @property
    def blink(self) -> Blink:
        """Whether the eyes blinked."""
        return self._watch.blink


def summed(identity_id: str, visits: Iterable[VisitSigns]) -> PersonSigns:
    """One identity's visits, summed up."""
    looked_at = [visit for visit in visits if visit.wear is not None]
    worn = Counter(visit.wear for visit in looked_at)
    eyes = Counter(visit.eyes for visit in looked_at)
    blinks = Counter(visit.blink for visit in looked_at)
    return PersonSigns(
        identity_id=identity_id,
        visits=len(looked_at),
        masked=worn[Wear.MASKED],
        occluded=worn[Wear.OCCLUDED],
        masked_share=round(worn[Wear.MASKED] / max(len(looked_at), 1), 4),
        eyes_open=eyes[EYES_OPEN],
        eyes_closed=eyes[EYES_CLOSED],
        blinks=blinks[Blink.SEEN],
        no_blinks=blinks[Blink.NOT_SEEN],
    )


class SignsBook:
    """Follows the visits of some identities through a journal that is in the order of time."""

    def __init__(self, identities: Iterable[str], gap: timedelta) -> None:
        self._visits: dict[str, dict[int, VisitSigns]] = {identity: {} for identity in identities}
        self._numbers = VisitNumbers(gap)

    def add(self, sighting: Sighting) -> None:
        """Take in one picture, of whomever."""
        visits = self._visits.get(sighting.identity_id)
        if visits is None or sighting.signs is None:
            return
        frame = frame_of(sighting.face_id, sighting.event)
        number = self._numbers.next(frame, (sighting.identity_id, frame.atm_id))
        if number in visits or len(visits) < VISITS_FOLLOWED:
            visits.setdefault(number, VisitSigns()).add(sighting)

    def persons(self) -> tuple[PersonSigns, ...]:
        """Those of whom something was seen, in the order in which they were named."""
        return tuple(summed(identity, visits.values()) for identity, visits in self._visits.items() if visits)
