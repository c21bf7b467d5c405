"""The stream's doorkeeper: events that can't be counted are refused before anything is spent on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from ingest.codec import check_clock
from ingest.errors import BadRecord
from ingest.manifest import looks_at_cash_slot
from ingest.reasons import Reason
from ingest.records import AtmEvent, Position, Record, Rejection
from ingest.stage import Delivery

TOLERANCE = timedelta(minutes=5)


def _now() -> datetime:
    return datetime.now(UTC)


class AdmissionStage:
    """Refuses events of an unknown scope, from the future, or of a camera that shows no person.  Has no memory."""

    name = "admission"

    def __init__(
        self, scopes: Collection[str], tolerance: timedelta = TOLERANCE, now: Callable[[], datetime] = _now
    ) -> None:
        self._scopes = frozenset(scopes)
        self._tolerance = tolerance
        self._now = now

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        now = self._now()
        return [Delivery(self._admitted(delivery, now), delivery.position) for delivery in batch]

    def _admitted(self, delivery: Delivery, now: datetime) -> Record:
        event = delivery.record
        if not isinstance(event, AtmEvent):
            return event
        try:
            self._check(event, now)
        except BadRecord as error:
            return _refused(event, error, self.name, delivery.position)
        return event

    def _check(self, event: AtmEvent, now: datetime) -> None:
        if event.scope not in self._scopes:
            raise BadRecord(Reason.UNKNOWN_SCOPE, f"The scope {event.scope!r} is not one of those configured.")
        check_clock(event, now, self._tolerance)
        if event.camera is not None and looks_at_cash_slot(event.camera):
            raise BadRecord(Reason.CASH_SLOT_CAMERA, Reason.CASH_SLOT_CAMERA.sentence)


class ScopeStage:
    """Keeps a scope's memory to itself: what belongs to another scope is refused, however it came here.

    ``event_of`` finds a record's event.  Rejections say their scope themselves.  Has no memory.
    """

    name = "scope"

    def __init__(self, scope: str, event_of: Callable[[Record], AtmEvent | None]) -> None:
        self._scope = scope
        self._event_of = event_of

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        return [Delivery(self._kept(delivery), delivery.position) for delivery in batch]

    def _kept(self, delivery: Delivery) -> Record:
        record = delivery.record
        strange = BadRecord(Reason.UNKNOWN_SCOPE, "The record lies in the partition of another scope than its own.")
        if isinstance(record, Rejection):
            if record.scope in {self._scope, None}:
                return record
            changed = {"reason": strange.reason, "detail": strange.detail, "stage": self.name}
            return record.model_copy(update=changed)
        event = self._event_of(record)
        if event is None or event.scope == self._scope:
            return record
        return _refused(event, strange, self.name, delivery.position)


def _refused(event: AtmEvent, error: BadRecord, stage: str, position: Position) -> Rejection:
    return Rejection(
        reason=error.reason,
        source=event.source,
        detail=error.detail,
        stage=stage,
        event_id=event.event_id,
        atm_id=event.atm_id,
        captured_at=event.captured_at,
        position=position,
    )
