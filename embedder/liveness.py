"""Liveness from the frames of one visit: a photograph does not blink.

Eye blinks as a sign of life: Pan, Sun, Wu and Lao, "Eyeblink-based Anti-Spoofing in Face Recognition from a Generic
Webcamera", ICCV 2007.  A blink takes 0.1 to 0.4 s; adults at rest blink about 17 times a minute (Bentivoglio et al.,
"Analysis of Blink Rate Patterns in Normal Subjects", Movement Disorders 12(6), 1997).  One sign among others: a film
that is held before the camera blinks too, and some people hardly do.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

OPEN, CLOSED = 0.7, 0.3
"""From this probability on eyes are open, and up to that one closed; what lies between says neither."""
LONGEST = timedelta(seconds=1)
"""Eyes that stay shut for longer are no blink."""
CLOSE = timedelta(seconds=0.2)
"""Frames this near to each other hardly miss a blink between them."""
WATCHED = timedelta(seconds=10)
"""A face that is watched for so long shows a blink, most likely."""


class Blink(StrEnum):
    """What the frames of a visit say of blinking."""

    SEEN = "seen"
    NOT_SEEN = "not_seen"
    UNKNOWN = "unknown"


class BlinkWatch:
    """Watches the frames of one visit as they come, in the order of time; owned by one thread."""

    __slots__ = ("_opened", "_seen", "_shut", "_watched")

    def __init__(self) -> None:
        self._opened: datetime | None = None
        self._shut = self._seen = False
        self._watched = timedelta(0)

    def add(self, at: datetime, eyes_open: float | None) -> None:
        """Take in one frame: when it was taken, and the probability of open eyes, None where it can't be told."""
        if eyes_open is None or CLOSED < eyes_open < OPEN:
            return
        if eyes_open <= CLOSED:
            self._shut = True
            return
        if self._opened is not None:
            since = at - self._opened
            self._seen |= self._shut and since <= LONGEST
            if not self._shut and since <= CLOSE:
                self._watched += since
        self._opened, self._shut = at, False

    @property
    def blink(self) -> Blink:
        """What was seen so far."""
        if self._seen:
            return Blink.SEEN
        return Blink.NOT_SEEN if self._watched >= WATCHED else Blink.UNKNOWN


def blink(frames: Iterable[tuple[datetime, float | None]]) -> Blink:
    """Whether the eyes blinked in one visit's ``frames``: time, and probability of open eyes or None; in any order.

    ``SEEN``: closed eyes in a frame between two with open eyes that are at most ``LONGEST`` apart; frames that say
    neither don't matter.  ``NOT_SEEN``: never that, though the times from one frame with open eyes to the next, as far
    as they are at most ``CLOSE``, add up to ``WATCHED``.  ``UNKNOWN``: anything else, as of a single picture, of slow
    or short footage, and of eyes that are hidden or stay closed.
    """
    watch = BlinkWatch()
    for at, eyes_open in sorted(frames, key=lambda frame: (frame[0], frame[1] is None, frame[1] or 0.0)):
        watch.add(at, eyes_open)
    return watch.blink
