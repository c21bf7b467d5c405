"""The exceptions of atmwatch, drawn once.

::

    AtmwatchError
    ├── UsageError      the caller asked for something that can't be: exit code 2, nothing was touched
    ├── BadRecord       one record can't be used: reject it under its code, and go on with the next
    ├── Unavailable     something outside is not there now: pause, try again after ``retry_after``
    │   └── ErrorAnswer it is there, but answers this request with an error of its own
    ├── Superseded      another process took over this one's work: forget all, and ask for work anew
    └── Corrupt         our own stored state can't be trusted: stop, or restore from the journal

Anything else that escapes is a defect, and ends the process: there is no catch-all, and recovery from the
journal is the only way back (crash-only).
"""

from __future__ import annotations

from ingest.reasons import Reason


class AtmwatchError(Exception):
    """Base of every error that atmwatch raises on purpose."""


class UsageError(AtmwatchError):
    """A wrong argument, settings file, rules file, manifest or output folder.  The text says what to do."""


class BadRecord(AtmwatchError):
    """One input that can't be used.

    ``reason`` is the stable code that rejected.jsonl and the dead letters carry; ``detail`` is one sentence
    for a person.  Neither ever holds pixels, vectors or a card number.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class Unavailable(AtmwatchError):
    """A dependency (broker, store, view) does not answer; the record at hand is innocent."""

    def __init__(self, what: str, retry_after: float = 1.0) -> None:
        super().__init__(f"{what} is unavailable; trying again in {retry_after:g} s")
        self.what = what
        self.retry_after = retry_after


class ErrorAnswer(Unavailable):
    """A dependency answers, but with an error of its own: it may be broken, or only what it was asked for."""


class Superseded(AtmwatchError):
    """Another process owns the partition now.  Nothing of this one's since its last commit has happened."""


class Corrupt(AtmwatchError):
    """A journal or snapshot that is damaged, of a newer version, or of another run."""
