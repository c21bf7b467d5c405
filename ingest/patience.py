"""How long a picture is asked for: a store that is down is waited for, one broken picture does not hold up all others.

Both look alike from a single request, so before a picture is given up, the store is asked once more for the last one
that it gave: a store that gives it again is not down.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from ingest.errors import BadRecord, ErrorAnswer, Unavailable
from ingest.reasons import Reason

Read = Callable[[], bytes]

MOST_TRIALS = 4096
"""How many failing pictures are remembered; with more, the store is what fails."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a picture is given up: after ``tries`` failures at least, ``least_s`` seconds after the first of them.

    That holds while the store gives another picture.  With none to compare with, none having been read from the
    store by this process, it takes ``most_s`` seconds, and that the store answers: one that can't be reached is
    waited for without end.
    """

    tries: int = 5
    least_s: float = 120.0
    most_s: float = 3600.0


@dataclass(slots=True)
class _Trial:
    first: float
    tries: int = 0


class Trials:
    """The pictures that fail at the moment, and of each store the last one that did not.

    Safe to use from several threads.  ``clock`` gives seconds that only rise.
    """

    def __init__(self, patience: Patience, clock: Callable[[], float] = monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._lock = Lock()
        self._failing: OrderedDict[str, _Trial] = OrderedDict()
        self._good: dict[str, tuple[str, Read]] = {}

    def read(self, uri: str, store: str, read: Read) -> bytes:
        """What ``read`` gives, which reads ``uri`` from ``store``.

        Raises what ``read`` raises, and in place of ``Unavailable`` BadRecord (UNFETCHABLE) once the picture is given
        up.  A picture that was given up and is asked for again gets one try: it may have been mended.
        """
        try:
            data = read()
        except Unavailable as error:
            failures = self._gives_up(uri, store, error)
            if failures is None:
                raise
            detail = f"The store failed to give it {failures} times in a row, and was not down."
            raise BadRecord(Reason.UNFETCHABLE, detail) from error
        except BadRecord:
            with self._lock:
                self._failing.pop(uri, None)
            raise
        with self._lock:
            self._failing.pop(uri, None)
            self._good[store] = uri, read
        return data

    def _gives_up(self, uri: str, store: str, error: Unavailable) -> int | None:
        """How often the picture has failed, if that was enough."""
        now, patience = self._clock(), self._patience
        with self._lock:
            trial = self._failing.setdefault(uri, _Trial(now))
            trial.tries += 1
            if len(self._failing) > MOST_TRIALS:
                self._failing.popitem(last=False)
            tries, spent = trial.tries, now - trial.first
            known, again = self._good.get(store, (uri, None))
        if tries < patience.tries or spent < patience.least_s:
            return None
        if again is None or known == uri:
            enough = isinstance(error, ErrorAnswer) and spent >= patience.most_s
        else:
            enough = self._gives(store, again)
        return tries if enough else None

    def _gives(self, store: str, again: Read) -> bool:
        """Whether the store still gives what it gave.  What is not there any more says nothing, and is forgotten."""
        try:
            again()
        except Unavailable:
            return False
        except BadRecord:
            with self._lock:
                self._good.pop(store, None)
            return False
        return True
