"""The doorkeepers: what is refused, with which words, and what is let through untouched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingest.admission import TOLERANCE, AdmissionStage, ScopeStage
from ingest.reasons import Reason
from ingest.records import AtmEvent, Position, Record, Rejection
from ingest.stage import Delivery

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
AT = Position(partition="p", offset=3)


def event(**more: object) -> AtmEvent:
    return AtmEvent.model_validate({"event_id": "e", "atm_id": "a", "captured_at": NOON, **more})


def admitted(record: Record) -> Record:
    (out,) = AdmissionStage({"default", "north"}, now=lambda: NOON).process([Delivery(record, AT)])
    assert out.position == AT
    return out.record


@pytest.mark.parametrize(
    "record",
    [
        event(),
        event(scope="north"),
        event(captured_at=NOON + TOLERANCE),
        event(captured_at=NOON - timedelta(days=4000)),
        event(camera="front"),
        Rejection(reason=Reason.BAD_RECORD, source="x", detail="-", stage="ingest"),
    ],
)
def test_what_is_in_order_goes_on_as_it_is(record: Record) -> None:
    assert admitted(record) is record


@pytest.mark.parametrize(
    ("refused", "reason", "word"),
    [
        (event(scope="south"), Reason.UNKNOWN_SCOPE, "'south'"),
        (event(captured_at=NOON + timedelta(hours=3)), Reason.CAPTURED_AT_IN_FUTURE, "clock"),
        (event(camera="cash slot"), Reason.CASH_SLOT_CAMERA, "cash slot"),
    ],
)
def test_what_can_not_be_counted_is_refused_with_its_place(refused: AtmEvent, reason: Reason, word: str) -> None:
    rejection = admitted(refused)
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.stage, rejection.position) == (reason, "admission", AT)
    assert (rejection.event_id, rejection.atm_id, rejection.captured_at) == ("e", "a", refused.captured_at)
    assert word in rejection.detail


def test_now_is_now() -> None:
    stage = AdmissionStage({"default"})
    late, early = event(captured_at=datetime.now(UTC)), event(captured_at=datetime.now(UTC) + timedelta(hours=1))
    outs = stage.process([Delivery(late, AT), Delivery(early, AT)])
    assert [type(out.record) for out in outs] == [AtmEvent, Rejection]


def in_scope(record: Record) -> Record:
    stage = ScopeStage("north", lambda found: found if isinstance(found, AtmEvent) else None)
    (out,) = stage.process([Delivery(record, AT)])
    return out.record


def test_a_scope_keeps_to_itself() -> None:
    mine, unheard = event(scope="north"), Position(partition="q", offset=0)
    assert in_scope(mine) is mine
    assert in_scope(unheard) is unheard
    stranger = in_scope(event(scope="south"))
    assert isinstance(stranger, Rejection)
    assert (stranger.reason, stranger.stage, stranger.position) == (Reason.UNKNOWN_SCOPE, "scope", AT)


@pytest.mark.parametrize(("scope", "kept"), [("north", True), (None, True), ("south", False)])
def test_rejections_say_their_scope_themselves(scope: str | None, kept: bool) -> None:
    rejection = Rejection(reason=Reason.NO_FACE, source="x", detail="-", stage="embedder", scope=scope)
    out = in_scope(rejection)
    assert isinstance(out, Rejection)
    assert out.reason is (Reason.NO_FACE if kept else Reason.UNKNOWN_SCOPE)
