from __future__ import annotations

import time
from threading import Event
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from templates import face, model_card, sighting

from clustering.stage import ClusterStage
from deploy.health import Health
from deploy.metrics import Metrics, Role, Vocabulary
from deploy.observe import _watch
from deploy.settings import Settings, load_settings
from deploy.together import Runner, run_together
from deploy.watch import Measured, Watch, polling
from ingest.errors import Unavailable, UsageError
from ingest.kafka_bus.member import Place
from ingest.records import Position
from ingest.stage import Chain
from ingest.worker import Progress


def runner(*steps: str, until: Event | None = None) -> Runner:
    """A role that tells ``steps``, and then waits for ``until``, or to be stopped."""

    def run(settings: Settings, watch: Watch, stop: Event) -> None:
        for step in steps:
            {"turn": watch.turning, "ready": watch.ready}.get(step, lambda: watch.not_ready("busy"))()
        if until is None:
            assert stop.wait(10)
        else:
            until.set()

    return run


def test_all_end_when_one_does_and_its_error_is_raised() -> None:
    def fails(settings: Settings, watch: Watch, stop: Event) -> None:
        message = "wrong"
        raise UsageError(message)

    stop = Event()
    with pytest.raises(UsageError, match="wrong"):
        run_together({"a": runner(), "b": fails}, load_settings(), Watch(), stop)
    assert stop.is_set()


def test_all_end_when_told_to() -> None:
    stop = Event()
    run_together({"a": runner(), "b": runner(until=stop)}, load_settings(), Watch(), stop)


def test_the_process_is_ready_when_all_roles_are_and_lives_while_all_turn() -> None:
    told: list[str] = []
    watch = Watch(
        ready=lambda: told.append("ready"),
        not_ready=told.append,
        turning=lambda: told.append("turning"),
        restarted=told.append,
    )
    known: dict[str, Watch] = {}

    def role(settings: Settings, mine: Watch, stop: Event) -> None:
        known[f"{len(known)}"] = mine
        while len(known) < 2 and not stop.is_set():
            time.sleep(0.001)

    run_together({"a": role, "b": role}, load_settings(), watch, Event())
    one, two = known.values()
    one.turning()
    one.turning()
    assert told == []
    two.turning()
    assert told == ["turning"]
    one.ready()
    assert told == ["turning"]
    two.not_ready("restoring")
    two.ready()
    assert told[1].endswith(": restoring")
    assert told[2:] == ["ready", "turning"]
    one.restarted("lost")
    assert told[-1] in ("a: lost", "b: lost")
    two.not_ready("again")
    one.ready()
    assert "ready" not in told[4:]


def test_a_batch_tells_what_each_stage_spent_and_how_large_the_roster_is() -> None:
    told: list[tuple[Any, ...]] = []
    watch = Watch(
        batch=lambda p: told.append((p.inputs,)), spent=lambda *a: told.append(a), sized=lambda *a: told.append(a)
    )
    chain = Chain(ClusterStage(model_card()))
    measured = Measured(watch, chain, "north")
    chain.seconds["clusterer"] = 0.5
    progress = Progress(Position(offset=1), 3, (), 3, 0)
    measured.batch(progress)
    chain.seconds["clusterer"] = 0.75
    measured.batch(progress)
    assert told == [(3,), ("clusterer", 0.5), ("north", 0, 0), (3,), ("clusterer", 0.25), ("north", 0, 0)]
    watch.commit(0.1)
    assert told[-1] == ("commit", 0.1)


def test_polls_tell_of_lags_now_and_then() -> None:
    told: list[object] = []

    class Member:
        def lags(self) -> dict[Place, int]:
            return {Place("atm.faces", 0): 4}

    poll = polling(
        Watch(turning=lambda: told.append("turn"), lags=lambda *args: told.append(args)),
        cast(Any, Member()),
        "atm.faces",
    )
    poll()
    poll()
    assert told == ["turn", ("atm.faces", {Place("atm.faces", 0): 4}), "turn"]


class Log:
    def info(self, *_: object, **__: object) -> None:
        pass

    warning = info


def test_what_is_told_can_be_scraped() -> None:
    registry = CollectorRegistry()
    words = Vocabulary(scopes=("north",), topics=("atm.faces", "atm.sightings", "atm.alerts"))
    metrics, health = Metrics(registry, Role.ALL, words), Health()
    watch = _watch(Role.ALL, metrics, health, cast(Any, Log()))
    faces = [Place("atm.faces", n) for n in range(2)]
    sightings = [sighting(face("e1", [1.0, 0.0]))]
    for role in ("clusterer", "alerter"):  # which passes them on
        watch.batch_as(role)(Progress(Position(offset=1), 3, tuple(sightings), 3, 0))
    watch.lags("atm.faces", {faces[0]: 5, faces[1]: 6})
    watch.lags("atm.sightings", {Place("atm.sightings", 0): 8})
    watch.lags("atm.faces", {faces[1]: 7})
    watch.view_lags({Place("atm.sightings", 0): 10, Place("atm.alerts", 0): 3})
    watch.view_lags({Place("atm.alerts", 0): 1})
    watch.sized("north", 20, 4)
    watch.restored(1.5)
    watch.commit(0.02)
    watch.spent("clusterer", 0.5)
    watch.depends(cast(Any, "redis"), False)
    watch.restarted("gone")
    assert health.reasons
    watch.ready()
    assert not health.reasons
    text = generate_latest(registry).decode()
    for line in (
        'atmwatch_lag_records{partition="0",topic="atm.faces"} 0.0',
        'atmwatch_lag_records{partition="1",topic="atm.faces"} 7.0',
        'atmwatch_lag_records{partition="0",topic="atm.sightings"} 8.0',
        'atmwatch_view_lag_records{partition="0"} 11.0',
        'atmwatch_decisions_total{kind="founded"} 1.0',
        'atmwatch_events_total{role="alerter"} 3.0',
        'atmwatch_index_templates{scope="north"} 20.0',
        'atmwatch_identities{scope="north"} 4.0',
        "atmwatch_restore_seconds 1.5",
        "atmwatch_commit_seconds_sum 0.02",
        'atmwatch_stage_seconds_sum{stage="clusterer"} 0.5',
        'atmwatch_dependency_up{dependency="redis"} 0.0',
        'atmwatch_retries_total{dependency="redis"} 1.0',
        'atmwatch_retries_total{dependency="kafka"} 1.0',
        'atmwatch_dependency_up{dependency="kafka"} 1.0',
    ):
        assert line in text, line


def test_an_unavailable_role_is_not_swallowed() -> None:
    def away(settings: Settings, watch: Watch, stop: Event) -> None:
        what = "Redis"
        raise Unavailable(what)

    with pytest.raises(Unavailable):
        run_together({"a": away, "b": away}, load_settings(), Watch(), Event())
