"""How a role keeps at its work: over again when it is cut off, never when it can't be, and ending in time."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event

import pytest

from deploy import roles
from deploy.roles import _fetch_policy, ending_in_time, keep_at
from deploy.settings import load_settings
from deploy.watch import Watch, fetching
from ingest.errors import BadRecord, Corrupt, Superseded, Unavailable, UsageError
from ingest.patience import Patience
from ingest.reasons import Reason
from ingest.records import AtmEvent


class Attempts:
    """A loop that fails as it was told to, then is told to stop."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.stop = Event()
        self.said: list[str] = []
        self.watch = Watch(
            not_ready=lambda why: self.said.append(f"not ready: {why}"),
            restarted=lambda why: self.said.append(f"restarted: {why}"),
        )

    def loop(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.stop.set()

    def run(self) -> None:
        keep_at(self.loop, self.watch, self.stop)


def test_being_cut_off_or_superseded_is_tried_again_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "SHORTEST_PAUSE_S", 0.001)
    attempts = Attempts(Unavailable("Kafka"), Superseded("gone"), Unavailable("Kafka"))
    attempts.run()
    assert attempts.errors == []
    assert [said.partition(":")[0] for said in attempts.said] == ["not ready", "restarted"] * 3


@pytest.mark.parametrize("error", [UsageError("wrong password"), Corrupt("the journal"), ValueError("a defect")])
def test_what_trying_again_can_not_heal_ends_the_role(error: Exception) -> None:
    attempts = Attempts(error, Unavailable("never tried"))
    with pytest.raises(type(error)):
        attempts.run()
    assert len(attempts.errors) == 1


def test_pauses_double_while_the_cluster_is_away_and_are_short_when_superseded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float | None] = []

    class Told(Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout is not None:
                pauses.append(timeout)
            return super().wait(None if timeout is None else 0)

    monkeypatch.setattr(roles.random, "uniform", lambda *_: 1.0)
    attempts = Attempts(*[Unavailable("Kafka")] * 8, *[Superseded("gone")] * 2)
    attempts.stop = Told()
    attempts.run()
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 15, 15, 1, 1]


def test_a_role_that_hangs_when_it_is_to_stop_is_ended() -> None:
    stop, left = Event(), Event()
    stop.set()
    with ending_in_time(stop, 0.01, left.set):
        assert left.wait(5)


def test_a_role_that_stops_in_time_is_left_alone() -> None:
    stop, left = Event(), Event()
    with ending_in_time(stop, 0.05, left.set):
        stop.set()
    time.sleep(0.2)
    assert not left.is_set()


def test_it_is_told_whether_the_store_of_pictures_answers() -> None:
    told: list[bool] = []
    turns: list[None] = []
    outcome: list[BadRecord | Unavailable | bytes] = []
    watch = Watch(turning=lambda: turns.append(None), depends=lambda _, up: told.append(up))

    def fetch(_: AtmEvent) -> bytes:
        found = outcome.pop()
        if isinstance(found, bytes):
            return found
        raise found

    fetched = fetching(watch, fetch)

    def after(found: BadRecord | Unavailable | bytes, **picture: object) -> list[bool]:
        told.clear()
        outcome.append(found)
        event = AtmEvent(event_id="e", atm_id="a", captured_at=datetime(2024, 5, 1, tzinfo=UTC), **picture)
        with suppress(BadRecord, Unavailable):
            assert fetched(event) == found
        return told

    remote = {"image_uri": "https://store/1.jpg", "sha256": "0" * 64}
    assert after(b"x", **remote) == [True]
    assert turns == []
    assert after(Unavailable("the store"), **remote) == [False]
    assert len(turns) == 1
    assert after(BadRecord(Reason.UNFETCHABLE, "-"), **remote) == [True]
    assert after(BadRecord(Reason.OUTSIDE_ROOT, "-"), **remote) == []
    assert after(b"x", image=b"x") == []
    assert after(BadRecord(Reason.TOO_MANY_BYTES, "-"), image=b"x") == []


def test_the_settings_say_how_long_a_picture_is_waited_for() -> None:
    wanted = load_settings(fetch={"tries": 7, "patience_s": 9, "longest_patience_s": 11, "total_s": 3})
    policy = _fetch_policy(wanted)
    assert policy.patience == Patience(7, 9.0, 11.0)
    assert policy.total_s == 3
    assert _fetch_policy(load_settings()).patience == Patience()
