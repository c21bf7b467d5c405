"""The stream's doorkeeper: events that can't be counted are refused before anything is spent on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from ingest.codec import check_clock
from ingest.errors import BadRecord
from ingest.manifest import looks_at_cash_slot
from ingest.reasons import Reason
from ingest.records import AtmEvent, Record, Rejection
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
            return Rejection(
                reason=error.reason,
                source=event.source,
                detail=error.detail,
                stage=self.name,
                event_id=event.event_id,
                atm_id=event.atm_id,
                captured_at=event.captured_at,
                position=delivery.position,
            )
        return event

    def _check(self, event: AtmEvent, now: datetime) -> None:
        if event.scope not in self._scopes:
            raise BadRecord(Reason.UNKNOWN_SCOPE, f"The scope {event.scope!r} is not one of those configured.")
        check_clock(event, now, self._tolerance)
        if event.camera is not None and looks_at_cash_slot(event.camera):
            raise BadRecord(Reason.CASH_SLOT_CAMERA, Reason.CASH_SLOT_CAMERA.sentence)
