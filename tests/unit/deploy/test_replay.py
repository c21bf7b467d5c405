"""What a replay tells whoever watches it, and how it takes a stop.  What comes of it is tested in tests/modes."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest
from portraits import ALICE, ALICE_2, BOB, NOON, after, portrait, put

from alerts.records import Alert
from clustering.records import Sighting
from deploy.replay import ReplayOptions, Watcher, read_journal, replay
from deploy.settings import Settings, load_settings
from ingest.errors import Corrupt, UsageError
from ingest.jsonl_bus import Mode
from ingest.plan import Plan
from ingest.worker import Progress, Recovery


@pytest.fixture
def day(tmp_path: Path) -> Path:
    for number, name in enumerate((ALICE, ALICE_2, BOB)):
        put(tmp_path / "day" / f"{number}.jpg", portrait(name, 400), after(number), exif=True)
    return tmp_path / "day"


@pytest.fixture
def settings() -> Settings:
    return load_settings(batch=1, threads=1)


class Notes:
    """Everything that a replay tells."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.plans: list[Plan] = []
        self.recoveries: list[Recovery] = []
        self.batches: list[Progress] = []

    def watcher(self) -> Watcher:
        return Watcher(
            planned=self.plans.append,
            recovered=self.recoveries.append,
            batch=self.batches.append,
            phase=self.phases.append,
        )


def test_a_watcher_hears_of_everything(day: Path, tmp_path: Path, settings: Settings) -> None:
    notes = Notes()
    result = replay(day, tmp_path / "out", settings, watcher=notes.watcher())
    assert result.finished
    assert notes.phases == [
        "Looking for pictures",
        "Replaying",
        "Summing up",
        "Filing the pictures by person",
        "Writing the report",
    ]
    assert [len(plan) for plan in notes.plans] == [3]
    assert [recovery.committed for recovery in notes.recoveries] == [None]
    assert [progress.events for progress in notes.batches] == [1, 2, 3]
    assert all(isinstance(p.outputs[0], Sighting) for p in notes.batches)
    assert result.report == tmp_path / "out" / "report.html"


def test_a_stop_ends_it_after_the_batches_at_hand_and_it_goes_on_from_there(
    day: Path, tmp_path: Path, settings: Settings
) -> None:
    """One batch is heard of as committed when the next has been processed: that one is committed too."""
    out, stop, notes = tmp_path / "out", Event(), Notes()
    first = replay(day, out, settings, watcher=Watcher(batch=lambda _: stop.set()), stop=stop)
    assert (first.finished, first.summary.events) == (False, 2)
    assert "--resume goes on from there" in first.summary.notes[0]
    rest = replay(day, out, settings, ReplayOptions(Mode.RESUME), watcher=notes.watcher())
    assert (rest.finished, rest.summary.events, rest.summary.identities) == (True, 3, 2)
    [recovery] = notes.recoveries
    assert recovery.committed is not None
    assert recovery.committed.offset == 1
    assert recovery.snapshot == recovery.committed  # taken at the stop
    assert len(notes.batches) == 1


def test_a_stop_before_the_first_batch_leaves_a_run_that_can_be_resumed(
    day: Path, tmp_path: Path, settings: Settings
) -> None:
    stop = Event()
    stop.set()
    result = replay(day, tmp_path / "out", settings, stop=stop)
    assert (result.finished, result.summary.events, result.usages) == (False, 0, ())
    assert result.report.is_file()
    assert replay(day, tmp_path / "out", settings, ReplayOptions(Mode.RESUME)).summary.events == 3


def test_no_output_of_a_run_is_readable_by_others(day: Path, tmp_path: Path, settings: Settings) -> None:
    out = tmp_path / "out"
    replay(day, out, settings)
    for path in out.rglob("*"):
        exposed = path.stat().st_mode & 0o077
        assert not exposed or not path.is_file(), path.name


def test_a_picture_that_went_away_meanwhile_costs_its_copy_alone(day: Path, tmp_path: Path, settings: Settings) -> None:
    def gone(phase: str) -> None:
        if phase == "Summing up":
            (day / "2.jpg").unlink()

    result = replay(day, tmp_path / "out", settings, watcher=Watcher(phase=gone))
    assert (result.summary.accepted, result.folders.copied, result.folders.lost) == (3, 2, 1)
    assert result.report.is_file()


def test_a_journal_that_is_not_one_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "alerts.jsonl").write_text('{"schema_version":1}\n')
    with pytest.raises(Corrupt, match=r"alerts.jsonl, line 1: not a Alert record"):
        list(read_journal(tmp_path, Alert))


def test_wrong_input_is_told_before_anything_is_written(tmp_path: Path, settings: Settings) -> None:
    put(tmp_path / "day" / "1.jpg", portrait(), NOON)
    with pytest.raises(UsageError, match="is the input"):
        replay(tmp_path / "day", tmp_path / "day", settings)
    with pytest.raises(UsageError, match="can't be"):
        replay(tmp_path / "nowhere", tmp_path / "out", settings)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="can't be used as output folder"):
        replay(tmp_path / "day", tmp_path / "taken", settings)
    assert not (tmp_path / "out").exists()
