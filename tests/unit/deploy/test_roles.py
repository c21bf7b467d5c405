"""How a role keeps at its work: over again when it is cut off, never when it can't be, and ending in time."""

from __future__ import annotations

import time
from threading import Event

import pytest

from deploy import roles
from deploy.roles import ending_in_time, keep_at
from deploy.watch import Watch
from ingest.errors import Corrupt, Superseded, Unavailable, UsageError


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
