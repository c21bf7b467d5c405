"""Alerts in a file: once each, whatever happens to the process that writes them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerts.records import Alert, Severity
from alerts.sinks import MAX_LINE, JsonlSink, Sink
from ingest.errors import Corrupt, Unavailable, UsageError
from ingest.records import Position

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)


def an_alert(number: int = 1) -> Alert:
    return Alert(
        alert_id=f"alert-{number}",
        rule_id="R1",
        title="Often seen",
        severity=Severity.HIGH,
        subject="pü",
        episode=number,
        raised_at=NOON,
        window_start=NOON,
        measured={"visits_24h": 3},
        limits={"visits_24h": 3},
        confidence=0.9,
        evidence=(),
        position=Position(offset=0),
    )


def ids(path: Path) -> list[str]:
    return [json.loads(line)["alert_id"] for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "alerts.jsonl"


def test_each_alert_is_there_once_and_whole(path: Path) -> None:
    sink: Sink = JsonlSink(path)
    for number in (1, 2, 1, 2, 3):
        sink.deliver(an_alert(number))
    sink.close()
    sink.close()
    assert ids(path) == ["alert-1", "alert-2", "alert-3"]
    assert Alert.model_validate_json(path.read_text("utf-8").splitlines()[0]) == an_alert(1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_on_the_disk_before_deliver_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = JsonlSink(path)
    synced: list[int] = []
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        plain(descriptor)
        synced.append(path.stat().st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    sink.deliver(an_alert())
    assert synced == [path.stat().st_size]
    assert ids(path) == ["alert-1"]
    sink.close()


def test_the_next_process_knows_what_is_there(path: Path) -> None:
    for numbers in ((1, 2), (2, 3), (1,)):
        sink = JsonlSink(path)
        for number in numbers:
            sink.deliver(an_alert(number))
        sink.close()
    assert ids(path) == ["alert-1", "alert-2", "alert-3"]


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_line_that_a_crash_tore_is_written_again(path: Path, cut: int) -> None:
    sink = JsonlSink(path)
    sink.deliver(an_alert(1))
    sink.deliver(an_alert(2))
    sink.close()
    os.truncate(path, path.stat().st_size - cut)
    sink = JsonlSink(path)
    sink.deliver(an_alert(2))
    sink.close()
    assert ids(path) == ["alert-1", "alert-2"]


@pytest.mark.parametrize("line", [b"no alert\n", b"{}\n", b"\n", b"x" * (MAX_LINE + 5)])
def test_a_file_of_something_else_is_left_alone(path: Path, line: bytes) -> None:
    sink = JsonlSink(path)
    sink.deliver(an_alert(1))
    sink.close()
    content = path.read_bytes() + line
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"alerts\.jsonl:2: "):
            JsonlSink(path)
    assert path.read_bytes() == content


def test_one_process_writes_at_a_time(path: Path) -> None:
    sink = JsonlSink(path)
    with pytest.raises(UsageError, match="another process"):
        JsonlSink(path)
    sink.deliver(an_alert())
    sink.close()
    JsonlSink(path).close()


def test_a_place_where_no_file_can_be_is_an_error_of_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "alerts.jsonl", tmp_path):
        with pytest.raises(UsageError, match="can't be used"):
            JsonlSink(path)


def failing_once(plain: Callable[[int], None], code: int) -> Callable[[int], None]:
    failures = [OSError(code, os.strerror(code))]

    def fsync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        plain(descriptor)

    return fsync


def test_a_full_disk_is_an_outage_that_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = JsonlSink(path)
    sink.deliver(an_alert(1))
    monkeypatch.setattr(os, "fsync", failing_once(os.fsync, errno.ENOSPC))
    with pytest.raises(Unavailable, match="No space"):
        sink.deliver(an_alert(2))
    sink.deliver(an_alert(2))
    sink.close()
    assert ids(path) == ["alert-1", "alert-2"]
