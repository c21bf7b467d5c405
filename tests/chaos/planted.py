"""Roles with a bug planted, to show that the chaos test would find it: ``planted.py BUG run ROLE``.

offsets-first       the input's offset is committed before the outputs: what is killed in between is lost
no-memory-of-faces  the roster does not look up what it has counted: what is sent twice counts twice
blind-view          the view is written on where Redis has lost it, as if nothing had happened
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from alerts.redis_view import store
from alerts.view import Change
from alerts.view_fold import pending
from alerts.view_writer import ViewWriter
from clustering.roster import Roster
from deploy.cli import main
from deploy.view_key import KeyedView
from ingest.kafka_bus.member import Place
from ingest.kafka_bus.outbox import KafkaOutbox
from ingest.records import Record

GAP_S = 0.4
"""Between offsets and outputs, so that few kills are needed to hit it."""

right = KafkaOutbox._transaction


def offsets_first(self: KafkaOutbox, outputs: Sequence[Record], offsets: Any) -> list[tuple[Place, int]]:
    right(self, [], offsets)
    time.sleep(GAP_S)
    return right(self, outputs, offsets)


class Forgetful(dict[str, int]):
    """Remembers nothing that it is asked for."""

    def __contains__(self, _: object) -> bool:
        return False

    def get(self, _: object, default: Any = None) -> Any:
        return default


def no_memory_of_faces() -> None:
    begin = Roster.__init__

    def forgetful(self: Roster, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self.seen = Forgetful()

    Roster.__init__ = forgetful  # type: ignore[method-assign]


def pending_anyhow(
    stored: int | None, after: int | None, offset: int, changes: Sequence[Change]
) -> Sequence[Change] | None:
    del after  # which would tell that there is a gap
    return pending(stored, None, offset, changes)


def blind_view() -> None:
    ViewWriter._check = lambda _: None  # type: ignore[method-assign]
    KeyedView._ours = lambda _: True  # type: ignore[method-assign]
    store.pending = pending_anyhow


if __name__ == "__main__":
    bug = sys.argv.pop(1)
    if bug == "offsets-first":
        KafkaOutbox._transaction = offsets_first  # type: ignore[method-assign]
    elif bug == "no-memory-of-faces":
        no_memory_of_faces()
    elif bug == "blind-view":
        blind_view()
    else:
        sys.exit(f"no bug {bug!r}")
    main()
