"""Publishing a folder: what is sent in which order, what is not, and how it goes on when the broker does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer
from time import monotonic
from typing import Any

import pytest
from command import run
from portraits import after, manifest

from deploy import publish as module
from deploy.cli import publish as command
from deploy.publish import Published, PublishOptions, publish
from ingest.errors import AtmwatchError, BadRecord, Unavailable, UsageError
from ingest.folder import plan
from ingest.plan import Plan, ScanOptions
from ingest.reasons import Reason
from ingest.records import AtmEvent
from ingest.trace_context import Headers

JPEG = b"\xff\xd8\xff\xe0" + bytes(500)
Done = Callable[[AtmwatchError | None], None]


class Broker:
    """Answers each event with what ``answers`` says for this try; ``None`` once they are used up."""

    def __init__(self, answers: dict[str, list[AtmwatchError | None]] | None = None, *, held: int = 0) -> None:
        self.tried: list[str] = []
        self.taken: list[AtmEvent] = []
        self.answers = answers or {}
        self.held = held
        self.holding: list[Callable[[], None]] = []
        self.most = 0
        self.closed = False

    def send(self, record: AtmEvent, done: Done, trace: Headers = ()) -> None:  # noqa: ARG002 - the protocol's
        self.tried.append(record.event_id)
        waiting = self.answers.get(record.event_id)
        answer = waiting.pop(0) if waiting else None
        if isinstance(answer, Unavailable) and answer.what == "at once":
            raise answer
        if answer is None:
            self.taken.append(record)
        if self.held:
            self.holding.append(lambda: done(answer))
            self.most = max(self.most, len(self.holding))
            if len(self.holding) >= self.held:
                Timer(0.01, self.let_go).start()
        else:
            done(answer)

    def let_go(self) -> None:
        while self.holding:
            self.holding.pop(0)()

    def close(self) -> None:
        self.closed = True


def pictures(folder: Path, *contents: bytes) -> Plan:
    """Events e0, e1 … of these contents, a minute apart."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number, content in enumerate(contents):
        (folder / f"p{number}.jpg").write_bytes(content)
        at = after(number).isoformat()
        rows.append({"path": f"p{number}.jpg", "event_id": f"e{number}", "atm_id": "ATM-1", "captured_at": at})
    manifest(folder, list(reversed(rows)))
    return plan(folder, ScanOptions())


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTEST_PAUSE_S", 0.001)


def test_events_go_in_order_with_their_pictures(tmp_path: Path) -> None:
    broker = Broker()
    seen: list[int] = []
    inputs = pictures(tmp_path / "day", *[JPEG] * 40)
    told = publish(inputs, broker, Event(), on_progress=lambda told: seen.append(told.acknowledged))
    assert [event.event_id for event in broker.taken] == [f"e{number}" for number in range(40)]
    assert all(event.image == JPEG for event in broker.taken)
    assert (told.inputs, told.acknowledged, told.unacknowledged, told.retries) == (40, 40, 0, 0)
    assert told.finished
    assert seen[-1] == 40


def test_pictures_that_can_not_be_used_are_told_and_not_sent(tmp_path: Path) -> None:
    broker = Broker()
    inputs = pictures(tmp_path / "day", JPEG, b"", b"no picture at all", JPEG * 100, JPEG)
    inputs = plan(tmp_path / "day", ScanOptions(limits=type(inputs.limits)(max_bytes=2000)))
    (tmp_path / "day" / "p4.jpg").unlink()
    told = publish(inputs, broker, Event())
    assert [event.event_id for event in broker.taken] == ["e0"]
    assert told.finished
    wanted = {Reason.EMPTY_FILE, Reason.NOT_AN_IMAGE, Reason.TOO_MANY_BYTES, Reason.UNREADABLE}
    assert dict(told.rejected) == dict.fromkeys(wanted, 1)
    assert {refused.event_id for refused in told.first_rejections} <= {"e1", "e2", "e3", "e4", None}


def test_what_is_refused_on_sight_counts_too(tmp_path: Path) -> None:
    folder = tmp_path / "day"
    pictures(folder, JPEG)
    with (folder / "manifest.csv").open("a") as file:
        file.write("missing-columns\n")
    told = publish(plan(folder, ScanOptions()), Broker(), Event())
    assert (told.acknowledged, told.rejected.total(), told.finished) == (1, 1, True)


@pytest.mark.parametrize("away", [Unavailable("Kafka"), Unavailable("at once")])
def test_what_fails_is_sent_again_before_anything_new(tmp_path: Path, away: Unavailable) -> None:
    broker = Broker({"e1": [away, away, away], "e2": [away]})
    told = publish(pictures(tmp_path / "day", *[JPEG] * 5), broker, Event())
    assert [event.event_id for event in broker.taken] == ["e0", "e1", "e2", "e3", "e4"]
    assert told.retries > 0
    assert told.finished


def test_a_window_that_fails_is_sent_again_in_order(tmp_path: Path) -> None:
    away = Unavailable("Kafka")
    answers: dict[str, list[AtmwatchError | None]] = {f"e{number}": [away] for number in range(4)}
    answers["e0"].append(Unavailable("at once"))
    broker = Broker(answers, held=4)
    told = publish(pictures(tmp_path / "day", *[JPEG] * 8), broker, Event(), PublishOptions(in_flight=4))
    assert broker.most == 4
    assert [event.event_id for event in broker.taken] == [f"e{number}" for number in range(8)]
    assert (told.retries, told.finished) == (5, True)


def test_bytes_in_flight_are_bounded(tmp_path: Path) -> None:
    broker = Broker(held=2)
    options = PublishOptions(in_flight_bytes=2 * len(JPEG))
    assert publish(pictures(tmp_path / "day", *[JPEG] * 6), broker, Event(), options).finished
    assert broker.most == 2


def test_it_gives_up_when_nothing_is_acknowledged(tmp_path: Path) -> None:
    broker = Broker({"e1": [Unavailable("Kafka")] * 10_000})
    options = PublishOptions(give_up_s=0.05)
    told = publish(pictures(tmp_path / "day", *[JPEG] * 4), broker, Event(), options)
    assert (told.acknowledged, told.unacknowledged, told.finished) == (1, 3, False)


def test_it_stops_when_told_to(tmp_path: Path) -> None:
    stop = Event()

    def watch(told: Published) -> None:
        if told.acknowledged == 2:
            stop.set()

    inputs = pictures(tmp_path / "day", *[JPEG] * 5)
    told = publish(inputs, Broker(), stop, on_progress=watch)
    assert (told.acknowledged, told.unacknowledged, told.finished) == (2, 3, False)

    broker = Broker({"e4": [Unavailable("Kafka")] * 10_000})
    stop = Event()
    Timer(0.1, stop.set).start()
    assert publish(inputs, broker, stop).unacknowledged == 1


def test_what_the_broker_finds_too_large_is_rejected(tmp_path: Path) -> None:
    broker = Broker({"e0": [BadRecord(Reason.TOO_MANY_BYTES, "Too large.")]})
    told = publish(pictures(tmp_path / "day", JPEG, JPEG), broker, Event())
    assert (told.acknowledged, told.rejected[Reason.TOO_MANY_BYTES], told.finished) == (1, 1, True)


@pytest.mark.parametrize("number", [0, 4])
def test_what_kafka_refuses_for_good_ends_it(tmp_path: Path, number: int) -> None:
    broker = Broker({f"e{number}": [UsageError("Kafka refuses")]})
    with pytest.raises(UsageError, match="Kafka refuses"):
        publish(pictures(tmp_path / "day", *[JPEG] * 5), broker, Event())
    assert len(broker.tried) <= number + 1


def test_a_rate_spreads_events_over_time(tmp_path: Path) -> None:
    began = monotonic()
    assert publish(pictures(tmp_path / "day", *[JPEG] * 6), Broker(), Event(), PublishOptions(rate=50)).finished
    assert 0.1 <= monotonic() - began < 2


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """What the command connects to."""
    made = Broker()
    made_of: list[Any] = []
    monkeypatch.setattr(command, "check_topics", lambda *given: made_of.append(given))
    monkeypatch.setattr(command, "Publisher", lambda *_: made)
    return made


def test_the_command_prints_one_object(tmp_path: Path, broker: Broker) -> None:
    pictures(tmp_path / "day", JPEG, b"", JPEG)
    done = run("publish", tmp_path / "day", "--json", "--rate", "1000")
    assert done.code == 0
    told = json.loads(done.out)
    assert (told["inputs"], told["published"], told["rejected"], told["unacknowledged"]) == (3, 2, 1, 0)
    assert told["rejected_by_reason"] == {"empty_file": 1}
    assert broker.closed


def test_the_command_prints_text_and_names_what_was_rejected(tmp_path: Path, broker: Broker) -> None:
    pictures(tmp_path / "day", JPEG, b"")
    done = run(
        "publish", tmp_path / "day", "--scope", "north", environment={"ATMWATCH_KAFKA__SCOPES": '["south","north"]'}
    )
    assert done.code == 0
    assert "1 of 2 events published, 1 rejected" in done.out
    assert "p1.jpg" in done.out
    assert broker.taken[0].scope == "north"
    unknown = run("publish", tmp_path / "day", "--scope", "west")
    assert (unknown.code, "--scope" in unknown.err) == (2, True)


def test_the_command_fails_when_events_are_not_acknowledged(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "day", JPEG)
    broker.answers = {"e0": [Unavailable("Kafka")] * 10_000}
    monkeypatch.setattr(command, "PublishOptions", lambda rate, _: PublishOptions(rate, 0.02))
    done = run("publish", tmp_path / "day")
    assert done.code == 1
    assert "1 events are not known to be in the stream" in done.err


def test_the_command_says_when_there_is_nothing_to_publish(tmp_path: Path, broker: Broker) -> None:
    done = run("publish", tmp_path)
    assert done.code == 2
    assert "no pictures" in done.err
