from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
from report_sample import alert, event, sighting

from alerts.records import Alert, Severity
from alerts.sinks import JsonlSink
from alerts.webhook import WebhookSink
from deploy import sink as sink_module
from deploy.cli.run import Runnable, runners_of
from deploy.settings import load_settings
from deploy.sink import Notifier, has_sink, opened_sinks
from deploy.watch import Watch
from ingest.codec import Message, encode
from ingest.errors import Superseded, Unavailable, UsageError
from ingest.kafka_bus.member import Place, Received

HERE, THERE = Place("atm.alerts", 0), Place("atm.alerts", 1)
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


class FakeMember:
    def __init__(self, *received: Received) -> None:
        self.received = list(received)
        self.commits: list[dict[Place, int]] = []
        self.sought: list[tuple[Place, int]] = []
        self.lost = False

    def poll(self, _max_records: int, _timeout_s: float) -> list[Received]:
        received, self.received = self.received, []
        return received

    def changes(self) -> list[object]:
        return []

    def commit(self, done: dict[Place, int]) -> None:
        self.commits.append(dict(done))

    def seek(self, place: Place, offset: int) -> None:
        if self.lost:
            message = "Unassigned partition"
            raise ValueError(message)
        self.sought.append((place, offset))


class Shelf:
    """Takes alerts, but for those whose ids it is told to be away for."""

    def __init__(self, *away: str) -> None:
        self.taken: list[str] = []
        self.away = set(away)

    def deliver(self, alert: Alert) -> None:
        if alert.alert_id in self.away:
            what = "the webhook's receiver"
            raise Unavailable(what, retry_after=2.0)
        self.taken.append(alert.alert_id)

    def close(self) -> None:
        pass


def received(place: Place, offset: int, name: str) -> Received:
    raised = alert([sighting(event(1), 1)], "R1", Severity.LOW, "Came", alert_id=name)
    return Received(place, offset, encode(raised))


def notifier(member: FakeMember, *sinks: Shelf, watch: Watch | None = None) -> Notifier:
    return Notifier(cast(Any, member), sinks, watch or Watch())


def test_what_was_delivered_to_all_is_committed() -> None:
    member = FakeMember(received(HERE, 4, "a"), received(THERE, 9, "b"), received(HERE, 6, "c"))
    one, two = Shelf(), Shelf()
    assert notifier(member, one, two).turn(Event()) == 0.0
    assert one.taken == two.taken == ["a", "b", "c"]
    assert member.commits == [{HERE: 6, THERE: 9}]
    assert member.sought == []
    assert notifier(member, one).turn(Event()) == 0.0
    assert len(member.commits) == 1


def test_while_a_sink_is_away_nothing_behind_is_delivered_and_all_of_it_comes_again() -> None:
    batch = [received(HERE, 4, "a"), received(THERE, 9, "b"), received(HERE, 6, "c"), received(THERE, 10, "d")]
    member = FakeMember(*batch)
    file, hook = Shelf(), Shelf("b")
    down: list[bool] = []
    busy = notifier(member, file, hook, watch=Watch(depends=lambda _, up: down.append(up)))
    waits = [busy.turn(Event())]
    assert (file.taken, hook.taken) == (["a", "b"], ["a"])
    assert member.commits == [{HERE: 4}]
    assert member.sought == [(THERE, 9), (HERE, 6)]
    assert down == [False]
    for _ in range(7):
        member.received = batch[1:2]
        waits.append(busy.turn(Event()))
    assert waits[1] > waits[0]
    assert max(waits) <= 30 * 1.25
    hook.away.clear()
    member.received = batch[1:]
    assert busy.turn(Event()) == 0.0
    assert hook.taken == ["a", "b", "c", "d"]
    assert busy.failures == 0


def test_what_is_no_alert_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    member = FakeMember(Received(HERE, 1, Message(b"k", b'{"secret": 1}', ())), received(HERE, 2, "a"))
    shelf = Shelf()
    notifier(member, shelf).turn(Event())
    assert shelf.taken == ["a"]
    assert member.commits == [{HERE: 2}]
    assert "atm.alerts/0@1 is no alert" in caplog.text
    assert "secret" not in caplog.text


def test_told_to_stop_it_leaves_the_rest() -> None:
    stop = Event()
    member = FakeMember(received(HERE, 1, "a"), received(HERE, 2, "b"))

    class Stopping(Shelf):
        def deliver(self, alert: Alert) -> None:
            super().deliver(alert)
            stop.set()

    notifier(member, Stopping()).turn(stop)
    assert member.commits == [{HERE: 1}]
    assert member.sought == [(HERE, 2)]


def test_a_long_batch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 50))
    monkeypatch.setattr(sink_module, "monotonic", lambda: next(clock))
    member = FakeMember(*(received(HERE, n, f"{n}") for n in range(5)))
    notifier(member, Shelf()).turn(Event())
    assert member.commits == [{HERE: 0}]
    assert member.sought == [(HERE, 1)]


def test_a_partition_taken_away_meanwhile_means_to_begin_anew() -> None:
    member = FakeMember(received(HERE, 1, "a"))
    member.lost = True
    with pytest.raises(Superseded, match=r"atm\.alerts/0 was given to another process"):
        notifier(member, Shelf("a")).turn(Event())


def test_a_full_disk_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Full(Shelf):
        def deliver(self, _alert: Alert) -> None:
            what = "/alerts.jsonl (No space left on device)"
            raise Unavailable(what, retry_after=5.0)

    assert notifier(FakeMember(received(HERE, 1, "a")), Full()).turn(Event()) > 3
    assert "No space left" in caplog.text


def test_sinks_are_those_of_the_settings(tmp_path: Path) -> None:
    def opened(**more: object) -> list[type]:
        settings = load_settings(state_dir=tmp_path / "state", **more)
        assert has_sink(settings)
        with opened_sinks(settings, Watch(), Event()) as sinks:
            return [type(sink) for sink in sinks]

    (tmp_path / "secret").write_text(SECRET)
    hook = {"url": "https://cases.example/hook", "secret_file": tmp_path / "secret"}
    assert opened(alerts_file=tmp_path / "a.jsonl") == [JsonlSink]
    assert opened(webhook=hook) == [WebhookSink]
    assert opened(alerts_file=tmp_path / "a.jsonl", webhook=hook) == [JsonlSink, WebhookSink]
    with pytest.raises(UsageError, match="ATMWATCH_WEBHOOK__SECRET_FILE"):
        opened(webhook={"url": "https://cases.example/hook"})
    settings = load_settings()
    assert not has_sink(settings)
    with pytest.raises(UsageError, match="ATMWATCH_ALERTS_FILE"), opened_sinks(settings, Watch(), Event()):
        pass


def test_a_process_runs_what_the_settings_suffice_for(tmp_path: Path) -> None:
    bare = load_settings()
    full = load_settings(redis={"url": "redis://host"}, alerts_file=tmp_path / "a.jsonl")
    assert list(runners_of(Runnable.ALERTER, bare)) == ["alerter"]
    assert list(runners_of(Runnable.ALERTER, full)) == ["alerter", "notifier"]
    assert list(runners_of(Runnable.CLUSTERER, full)) == ["clusterer"]
    assert list(runners_of(Runnable.VIEW, bare)) == ["view"], "which then says what is missing"
    assert list(runners_of(Runnable.ALL, bare)) == ["embedder", "clusterer", "alerter"]
    assert list(runners_of(Runnable.ALL, full)) == ["embedder", "clusterer", "alerter", "view", "notifier"]
