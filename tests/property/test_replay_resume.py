"""A replay that is killed or stopped, whenever that is, and resumed ends as if nothing had been."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from command import run, start
from portraits import ALICE, ALICE_2, ALICE_3, BOB, CAROL, NOON, after, manifest, masked, nobody, portrait, put

JOURNALS = ("sightings.jsonl", "alerts.jsonl", "rejected.jsonl")
TIMED = ("seconds", "events_per_second", "stage_ms")
ENVIRONMENT = {"ATMWATCH_BATCH": "2", "ATMWATCH_THREADS": "1"}
PICTURES, EMPTIES = 40, 100
BATCHES = (PICTURES + EMPTIES) // 2
"""More than there are between two snapshots, so that late resumptions start from one."""


@dataclass(frozen=True)
class Day:
    """Pictures, and what an undisturbed replay makes of them."""

    folder: Path
    out: Path
    journals: dict[str, bytes]
    summary: dict[str, Any]
    identities: dict[str, bytes]


def journals_of(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in JOURNALS}


def summary_of(out: Path) -> dict[str, Any]:
    summary = json.loads((out / "summary.json").read_text())
    return {name: value for name, value in summary.items() if name not in TIMED}


def identities_of(out: Path) -> dict[str, bytes]:
    folder = out / "identities"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    base = tmp_path_factory.mktemp("resume")
    folder = base / "day"
    looks = [portrait(name, 200) for name in (ALICE, ALICE_2)] + [masked(ALICE_3, "cloth", 320), portrait(CAROL, 240)]
    looks += [masked(CAROL, "n95", 240), portrait(BOB, 300), nobody(160)]
    rows: list[dict[str, object]] = []
    for number in range(PICTURES + EMPTIES):
        if number % 7 in (0, 3):
            name, content = f"{number}.jpg", looks[(number // 7 * 2 + (number % 7 == 3)) % len(looks)]
            put(folder / name, content)
        else:
            name = f"{number}.jpg"
            put(folder / name, b"")
        fields = {"card_token": f"tok{number % 9}", "event_id": f"e{number - number % 50 // 49}"}
        at = after(number * 1.5).isoformat()
        rows.append({"path": name, "atm_id": f"ATM-{number % 3}", "captured_at": at, **fields})
    manifest(folder, rows)
    out = base / "undisturbed"
    assert run("replay", folder, "--out", out, environment=ENVIRONMENT).code == 0
    return Day(folder, out, journals_of(out), summary_of(out), identities_of(out))


def commits(out: Path) -> int:
    """How many batches are durable; the log's first line is its header."""
    log = out / "commits.jsonl"
    return log.read_bytes().count(b"\n") - 1 if log.exists() else -1


def interrupt(process: subprocess.Popen[str], number: int, when: Callable[[], bool]) -> tuple[int, str]:
    """Send the signal as soon as it is time; the exit code, and what was said on standard error."""
    with process:
        deadline = time.monotonic() + 60
        while not when() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        return process.returncode, err


def test_the_day_is_worth_the_trouble(day: Day) -> None:
    assert day.summary["alerts"] >= 2
    assert day.summary["identities"] == 3
    assert day.summary["rejected_by_reason"].keys() >= {"empty_file", "no_face", "duplicate_event"}
    assert day.summary["events"] == PICTURES + EMPTIES


def test_killed_again_and_again_it_ends_as_if_nothing_had_been(day: Day, tmp_path: Path) -> None:
    rng = random.Random()
    out = tmp_path / "out"
    done = -1
    for goal in (0, 20, BATCHES - 4, BATCHES):

        def due(goal: int = goal) -> bool:
            if commits(out) < goal:
                return False
            time.sleep(rng.uniform(0, 0.05))
            return True

        process = start("replay", day.folder, "--out", out, "--resume", environment=ENVIRONMENT)
        code, _ = interrupt(process, signal.SIGKILL, due)
        assert code in {-signal.SIGKILL, 0}
        assert commits(out) >= max(goal, done)
        done = commits(out)
    last = run("replay", day.folder, "--out", out, "--resume", "--json", environment=ENVIRONMENT)
    assert last.code == 0
    assert journals_of(out) == day.journals
    assert summary_of(out) == day.summary
    assert identities_of(out) == day.identities
    assert json.loads(last.out)["events"] == day.summary["events"]


def test_told_to_stop_it_ends_after_the_batch_at_hand_and_says_how_to_go_on(day: Day, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("replay", day.folder, "--out", out, environment=ENVIRONMENT)
    code, err = interrupt(process, signal.SIGTERM, lambda: commits(out) >= 3)
    assert code == 1
    assert "Stopping after the batch at hand" in err
    assert "the same command with --resume goes on from there" in err
    stopped = json.loads((out / "summary.json").read_text())
    assert 0 < stopped["events"] == 2 * commits(out) < PICTURES + EMPTIES
    assert stopped["notes"][0] == (
        f"The run was stopped after {stopped['events']} of {PICTURES + EMPTIES} inputs; --resume goes on from there."
    )
    assert (out / "report.html").is_file()

    assert run("replay", day.folder, "--out", out, environment=ENVIRONMENT).code == 2
    resumed = run("replay", day.folder, "--out", out, "--resume")  # another size of batches changes nothing
    assert resumed.code == 0
    assert f"Going on behind {stopped['events']} of {PICTURES + EMPTIES} inputs." in resumed.err
    assert journals_of(out) == day.journals
    assert summary_of(out) == day.summary


def test_resuming_a_finished_run_writes_its_views_again_and_nothing_else(day: Day, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copytree(day.out, out)
    (out / "report.html").unlink()
    (out / "summary.json").write_text("{")
    next((out / "identities").rglob("*.jpg")).unlink()
    before = commits(out)
    again = run("replay", day.folder, "--out", out, "--resume", "--json", environment=ENVIRONMENT)
    assert again.code == 0
    assert json.loads(again.out)["events_per_second"] == 0
    assert (out / "report.html").is_file()
    assert journals_of(out) == day.journals
    assert summary_of(out) == day.summary
    assert identities_of(out) == day.identities
    assert commits(out) == before


def test_other_pictures_or_another_model_can_not_go_on_with_a_journal(tmp_path: Path) -> None:
    folder, out = tmp_path / "day", tmp_path / "out"
    put(folder / "1.jpg", portrait(ALICE), NOON)
    assert run("replay", folder, "--out", out).code == 0
    before = journals_of(out)
    put(folder / "2.jpg", portrait(BOB, 400), NOON)
    changed = run("replay", folder, "--out", out, "--resume")
    assert changed.code == 2
    assert "journal of another input" in changed.err
    (folder / "2.jpg").unlink()
    put(folder / "1.jpg", portrait(ALICE), after(1))
    assert run("replay", folder, "--out", out, "--resume").code == 2
    put(folder / "1.jpg", portrait(ALICE), NOON)
    assert run("replay", folder, "--out", out, "--resume").code == 0
    assert journals_of(out) == before


def test_a_damaged_journal_is_not_gone_on_with(tmp_path: Path) -> None:
    folder, out = tmp_path / "day", tmp_path / "out"
    put(folder / "1.jpg", portrait(ALICE), NOON)
    assert run("replay", folder, "--out", out).code == 0
    damaged = (out / "sightings.jsonl").read_bytes()
    (out / "sightings.jsonl").write_bytes(damaged[: len(damaged) // 2])
    outcome = run("replay", folder, "--out", out, "--resume")
    assert outcome.code == 1
    assert "sightings.jsonl: " in outcome.err
    assert "were committed" in outcome.err
    assert "Traceback" not in outcome.err
