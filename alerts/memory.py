"""All that the alert stage remembers, bounded, and its form on disk."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from alerts.episodes import Episode
from alerts.ledger import Ledger, Picture
from alerts.records import Severity
from alerts.rules import Per
from ingest.errors import Corrupt

FORMAT = "atmwatch-alerts"
VERSION = 1
EPISODES_KEPT = timedelta(days=400)
"""An alert's number must not come again while somebody may still hold the alert."""

LedgerKey = tuple[Per, str]
EpisodeKey = tuple[str, str]
"""A rule's id and a subject's name."""


@dataclass(slots=True)
class Tally:
    """How often a rule was asked, to what avail; ``missing`` counts fields by the times they were lacking."""

    evaluated: int = 0
    not_evaluable: int = 0
    alerts: int = 0
    missing: Counter[str] = field(default_factory=Counter)


class ScopeMemory:
    """The ledgers and episodes of one scope.

    A ledger is dropped once its newest picture lies as far behind the scope's newest as its own pictures are
    kept; it is looked for at the front, where those lie that were touched longest ago.  Episodes outlive it.
    """

    def __init__(self, gap: timedelta) -> None:
        self.gap = gap
        self.newest: datetime | None = None
        self.ledgers: dict[LedgerKey, Ledger] = {}
        self.episodes: dict[EpisodeKey, Episode] = {}

    def add(self, key: LedgerKey, picture: Picture, keep: timedelta) -> Ledger:
        """Put ``picture`` into the ledger ``key``, which is made if need be and moves to the back."""
        ledger = self.ledgers.pop(key, None) or Ledger(self.gap)
        self.ledgers[key] = ledger
        ledger.add(picture, keep)
        if self.newest is None or picture.captured_at > self.newest:
            self.newest = picture.captured_at
        return ledger

    def keep_episode(self, key: EpisodeKey, episode: Episode) -> None:
        """Put ``episode`` in the place of the one before."""
        self.episodes.pop(key, None)
        self.episodes[key] = episode

    def sweep(self, keep: dict[Per, timedelta]) -> None:
        """Drop what is out of date: at most two ledgers and an episode, so that no picture pays for many."""
        if self.newest is None:
            return
        for _ in range(2):
            first = next(iter(self.ledgers), None)
            if first is None:
                break
            newest = self.ledgers[first].newest
            if newest is not None and newest > self.newest - keep.get(first[0], timedelta(0)):
                break
            del self.ledgers[first]
        oldest = next(iter(self.episodes), None)
        if oldest is not None and self.episodes[oldest].raised_at <= self.newest - EPISODES_KEPT:
            del self.episodes[oldest]


class Memory:
    """Every scope's memory, and the rules' tallies.  Owned by one thread.

    ``gap`` is what parts visits; it is not part of the memory.
    """

    def __init__(self, gap: timedelta) -> None:
        self._gap = gap
        self.scopes: dict[str, ScopeMemory] = {}
        self.tallies: dict[str, Tally] = {}

    def scope(self, name: str) -> ScopeMemory:
        """The memory of one scope."""
        return self.scopes.setdefault(name, ScopeMemory(self._gap))

    def tally(self, rule_id: str) -> Tally:
        """The tally of one rule."""
        return self.tallies.setdefault(rule_id, Tally())

    def dump(self) -> bytes:
        """One line of format, version and digest of the rest, then JSON.  Equal memories give equal bytes.

        Holds no card token, vector or pixel.
        """
        content = {
            "scopes": {name: _dump_scope(scope) for name, scope in self.scopes.items()},
            "tallies": {
                name: [t.evaluated, t.not_evaluable, t.alerts, dict(sorted(t.missing.items()))]
                for name, t in self.tallies.items()
            },
        }
        body = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        return _first_line(body) + body

    @classmethod
    def load(cls, content: bytes, gap: timedelta) -> Memory:
        """The memory that ``dump`` gave.  Raises ``Corrupt`` when damaged, or of another version."""
        head, newline, body = content.partition(b"\n")
        if head + newline != _first_line(body):
            message = "the alerts' snapshot is damaged, or of another version"
            raise Corrupt(message)
        memory = cls(gap)
        try:
            found = json.loads(body)
            memory.scopes = {name: _load_scope(scope, gap) for name, scope in found["scopes"].items()}
            memory.tallies = {
                name: Tally(evaluated, not_evaluable, alerts, Counter(missing))
                for name, (evaluated, not_evaluable, alerts, missing) in found["tallies"].items()
            }
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            message = "the alerts' snapshot does not fit its schema"
            raise Corrupt(message) from error
        return memory


def _first_line(body: bytes) -> bytes:
    return f"{FORMAT} {VERSION} {blake2b(body, digest_size=32).hexdigest()}\n".encode()


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _dump_scope(scope: ScopeMemory) -> dict[str, Any]:
    table: dict[str, Picture] = {}  # most pictures lie in several ledgers
    for ledger in scope.ledgers.values():
        table.update((picture.face_id, picture) for picture in ledger.pictures)
    index = {face_id: i for i, face_id in enumerate(table)}
    return {
        "newest": _moment(scope.newest),
        "pictures": [picture.dump() for picture in table.values()],
        "ledgers": [
            [kind.value, key, _moment(lg.floor), _moment(lg.newest), [index[p.face_id] for p in lg.pictures]]
            for (kind, key), lg in scope.ledgers.items()
        ],
        "episodes": [
            [*key, e.number, e.raised_at.isoformat(), e.severity.value, e.measured, _moment(e.rearmed_at)]
            for key, e in scope.episodes.items()
        ],
    }


def _load_scope(content: dict[str, Any], gap: timedelta) -> ScopeMemory:
    scope = ScopeMemory(gap)
    scope.newest = _time(content["newest"])
    pictures = [Picture.load(one) for one in content["pictures"]]
    for kind, key, floor, newest, places in content["ledgers"]:
        kept = [pictures[place] for place in places]
        scope.ledgers[Per(kind), key] = Ledger(gap, kept, floor=_time(floor), newest=_time(newest))
    for rule_id, subject, number, raised_at, severity, measured, rearmed_at in content["episodes"]:
        scope.episodes[rule_id, subject] = Episode(
            number, datetime.fromisoformat(raised_at), Severity(severity), measured, _time(rearmed_at)
        )
    return scope
