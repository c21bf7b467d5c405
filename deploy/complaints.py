"""One line when a library begins to complain, and one when it is quiet again, in place of all that it says.

With the broker away Kafka's client writes some twenty lines a second, and each says the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock, Timer
from time import monotonic

QUIET_S = 15.0
"""So long without a complaint, and the trouble is over; looked at as often."""
REMIND_S = 300.0
BEGUN, GOING_ON, OVER = "complaints", "complaints go on", "complaints have ended"

Tell = Callable[[int, str, Mapping[str, object]], None]


def _later(seconds: float, call: Callable[[], None]) -> None:
    timer = Timer(seconds, call)
    timer.daemon = True
    timer.start()


@dataclass(slots=True)
class _Trouble:
    since: float
    last: float
    told: float
    lines: int = 0


class Complaints(logging.Filter):
    """Keeps back what loggers below ``name`` say, and hands ``tell`` a level, an event and fields instead.

    ``said`` is a complaint, as ``shown`` makes it a text; ``lines`` is how many there were in ``seconds``.  While they
    go on, that is told every five minutes.  Safe in any thread; ``tell`` must not be called under a lock of the
    caller's, for it logs, and is also called by a timer's thread.
    """

    def __init__(
        self,
        name: str,
        tell: Tell,
        shown: Callable[[logging.LogRecord], str],
        *,
        clock: Callable[[], float] = monotonic,
        later: Callable[[float, Callable[[], None]], None] = _later,
    ) -> None:
        super().__init__(name)
        self._tell = tell
        self._shown = shown
        self._clock = clock
        self._later = later
        self._lock = Lock()
        self._trouble: _Trouble | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written: whatever is not of the library, and what ends it."""
        if not super().filter(record) or record.levelno >= logging.CRITICAL:
            return True
        now = self._clock()
        with self._lock:
            begun = self._trouble is None
            trouble = self._trouble = self._trouble or _Trouble(now, now, now)
            trouble.last = now
            trouble.lines += 1
        fields: dict[str, object] = {"library": self.name, "said": self._shown(record)}
        if begun:
            self._tell(logging.WARNING, BEGUN, fields)
            self._later(QUIET_S, self._look)
        elif now - trouble.told >= REMIND_S:
            trouble.told = now
            self._tell(logging.WARNING, GOING_ON, fields | _extent(trouble, now))
        return False

    def _look(self) -> None:
        now = self._clock()
        with self._lock:
            trouble = self._trouble
            over = trouble is not None and now - trouble.last >= QUIET_S
            if over:
                self._trouble = None
        if trouble is None:
            return
        if over:
            self._tell(logging.INFO, OVER, {"library": self.name} | _extent(trouble, trouble.last))
        else:
            self._later(QUIET_S, self._look)


def _extent(trouble: _Trouble, until: float) -> dict[str, object]:
    return {"lines": trouble.lines, "seconds": round(until - trouble.since, 1)}
