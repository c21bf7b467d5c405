"""A library that complains without end is told of when it begins, now and then, and when it has ended."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog

from deploy import complaints
from deploy.complaints import BEGUN, GOING_ON, OVER, QUIET_S, REMIND_S, Complaints
from deploy.logs import CleanHandler, configure_logging, message_of


def record(name: str = "kafka.net", level: int = logging.ERROR, message: str = "lost") -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, (), None)


class Outage:
    """A filter, its clock and its timer, and what it told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[int, str, dict[str, object]]] = []
        self.waiting: list[tuple[float, Callable[[], None]]] = []
        self.filter = Complaints(
            "kafka", self._tell, lambda record: record.msg, clock=lambda: self.now, later=self._later
        ).filter

    def _tell(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        self.told.append((level, event, dict(fields)))

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.waiting.append((self.now + seconds, call))

    def pass_time(self, seconds: float) -> None:
        """Let the timer ring at its times."""
        end = self.now + seconds
        while self.waiting and self.waiting[0][0] <= end:
            self.now, call = self.waiting.pop(0)
            call()
        self.now = end


def test_an_outage_is_two_lines() -> None:
    outage = Outage()
    for number in range(500):
        assert outage.filter(record(message=f"lost {number}")) is False
        outage.pass_time(0.05)
    assert outage.told == [(logging.WARNING, BEGUN, {"library": "kafka", "said": "lost 0"})]
    outage.pass_time(2 * QUIET_S)
    assert outage.told[1:] == [
        (logging.INFO, OVER, {"library": "kafka", "lines": 500, "seconds": pytest.approx(25, 0.01)})
    ]
    assert outage.waiting == []
    assert outage.filter(record(message="again")) is False
    assert outage.told[-1][1] == BEGUN


def test_a_long_one_is_remembered() -> None:
    outage = Outage()
    for _ in range(round(2.5 * REMIND_S)):
        outage.filter(record())
        outage.pass_time(1.0)
    assert [event for _, event, _ in outage.told] == [BEGUN, GOING_ON, GOING_ON]
    assert outage.told[1][2] == {"library": "kafka", "said": "lost", "lines": REMIND_S + 1, "seconds": REMIND_S}


def test_others_and_what_ends_a_program_pass() -> None:
    outage = Outage()
    assert outage.filter(record("atmwatch"))
    assert outage.filter(record("kafkaesque"))
    assert outage.filter(record(level=logging.CRITICAL))
    assert outage.told == []


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
def test_kafkas_client_is_heard_in_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complaints, "QUIET_S", 0.2)
    stream = io.StringIO()
    configure_logging("INFO", stream=stream, role="alerter")

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    client = logging.getLogger("kafka.net.connection")
    for _ in range(100):
        client.error("%s: Connection lost: %s", object(), ConnectionError("refused"))
    client.info("Connected")
    (begun,) = lines()
    assert begun.pop("timestamp")
    assert begun == {
        "event": BEGUN,
        "level": "warning",
        "logger": "atmwatch",
        "role": "alerter",
        "library": "kafka",
        "said": "[object]: Connection lost: ConnectionError: refused",
    }
    limit = complaints.monotonic() + 10
    while len(lines()) < 2:
        assert complaints.monotonic() < limit
    assert (lines()[1]["event"], lines()[1]["lines"]) == (OVER, 100)
    configure_logging("DEBUG", stream=stream)
    client.error("lost")
    assert lines()[2]["event"] == "lost"
    assert len([handler for handler in logging.getLogger().handlers if isinstance(handler, CleanHandler)]) == 1


def test_a_message_that_does_not_fit_its_arguments_is_shown_as_it_is() -> None:
    assert message_of(logging.LogRecord("kafka", 30, "", 0, "%d of %d", ("x",), None)) == "%d of %d"
    assert message_of(logging.LogRecord("kafka", 30, "", 0, "100 %", None, None)) == "100 %"
