"""The view in memory: for tests, for the embedded mode, and as the oracle of the Redis view's contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from alerts.view import MOST_ROWS, AtmHealth, Change, OpenAlert, Order, SeenVisit, Totals, ViewLost
from alerts.view_fold import Rows, ViewOptions, by_age, fold, newest, pending
from clustering.records import Usage


@dataclass(slots=True)
class _Generation:
    rows: Rows = field(default_factory=Rows)
    positions: dict[str, int] = field(default_factory=dict)

    def apply(
        self, partition: str, offset: int, changes: Sequence[Change], after: int | None, options: ViewOptions
    ) -> None:
        news = pending(self.positions.get(partition), after, offset, changes)
        if news is not None:
            fold(self.rows, news, options)
            self.positions[partition] = offset


class MemoryView:
    """A ``ViewStore`` that ends with its process.  Owned by one thread."""

    def __init__(self, options: ViewOptions | None = None) -> None:
        self.options = options or ViewOptions()
        self._live: _Generation | None = None
        self._draft: MemoryDraft | None = None

    @property
    def _rows(self) -> Rows:
        return self._live.rows if self._live else Rows()

    def published(self) -> bool:
        return self._live is not None

    def position(self, partition: str) -> int | None:
        return self._live.positions.get(partition) if self._live else None

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None:
        live = self._live or _Generation()
        live.apply(partition, offset, changes, after, self.options)
        self._live = live

    def clear(self) -> None:
        self._live = self._draft = None

    def draft(self) -> MemoryDraft:
        self._draft = MemoryDraft(self)
        return self._draft

    def publish(self, draft: MemoryDraft, generation: _Generation) -> None:
        """Show ``generation`` to readers; for drafts.  Raises ``ViewLost`` unless ``draft`` is the last one."""
        self.check(draft)
        self._live, self._draft = generation, None

    def check(self, draft: MemoryDraft) -> None:
        """Raise ``ViewLost`` unless ``draft`` is the last one, and not published."""
        if draft is not self._draft:
            message = "the draft was given up"
            raise ViewLost(message)

    def totals(self) -> Totals:
        return self._rows.totals

    def usage(self, identity_id: str) -> Usage | None:
        return self._rows.usages.get(identity_id)

    def usages(self, order: Order, limit: int, offset: int = 0) -> list[Usage]:
        ordered = sorted(self._rows.usages.values(), key=attrgetter(order.value, "identity_id"), reverse=True)
        return ordered[offset : offset + min(limit, MOST_ROWS)]

    def visits(self, identity_id: str) -> list[SeenVisit]:
        return list(self._rows.visits.get(identity_id, []))

    def recent_visits(self, limit: int) -> list[SeenVisit]:
        everybodys = (visit for visits in self._rows.visits.values() for visit in visits)
        return newest(everybodys, min(limit, self.options.visits_kept))

    def alerts(self, limit: int) -> list[OpenAlert]:
        return sorted(self._rows.alerts.values(), key=by_age, reverse=True)[: min(limit, MOST_ROWS)]

    def atm(self, atm_id: str) -> AtmHealth | None:
        return self._rows.atms.get(atm_id)

    def atms(self, limit: int, offset: int = 0) -> list[AtmHealth]:
        ordered = sorted(self._rows.atms.values(), key=lambda atm: atm.atm_id)
        return ordered[offset : offset + min(limit, MOST_ROWS)]


class MemoryDraft:
    """A ``Draft`` of a ``MemoryView``; the last one that was asked for is the one that counts."""

    def __init__(self, view: MemoryView) -> None:
        self._view = view
        self._generation = _Generation()

    def position(self, partition: str) -> int | None:
        return self._generation.positions.get(partition)

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None:
        self._view.check(self)
        self._generation.apply(partition, offset, changes, after, self._view.options)

    def publish(self) -> None:
        self._view.publish(self, self._generation)
