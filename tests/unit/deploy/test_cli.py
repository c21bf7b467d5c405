from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from command import run, start
from portraits import ALICE, BOB, NOON, after, crowd, manifest, portrait, put
from rich.console import Console

from alerts.records import Alert
from clustering.records import Sighting
from deploy.cli import app as root
from deploy.cli import console, main
from deploy.cli.demo import remove_day
from deploy.cli.lazy import loaded
from deploy.cli.replay import run_replay
from deploy.cli.schema import Subject
from deploy.replay import ReplayOptions, read_journal
from deploy.settings import load_settings
from deploy.simulator import FACES
from deploy.simulator.truth import ExpectedAlert, Who, read_truth
from embedder.cards import WEIGHTS
from ingest.errors import Corrupt, Unavailable

COMMANDS = (
    ("replay",),
    ("simulate",),
    ("demo",),
    ("schema",),
    ("evaluate",),
    ("evaluate", "verification"),
    ("evaluate", "clustering"),
    ("bench",),
    ("bench", "pipeline"),
    ("models",),
    ("models", "list"),
    ("models", "verify"),
    ("train",),
    ("train", "wear"),
    ("train", "eyes"),
    ("rules",),
    ("rules", "check"),
)


def one_object(*arguments: object) -> dict[str, Any]:
    """What a command prints under --json: one JSON object on standard output, and nothing else anywhere."""
    outcome = run(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert isinstance(found, dict)
    return found


def test_the_version_is_the_packages() -> None:
    assert run("--version").out == f"atmwatch {version('atmwatch')}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    outcome = run(*command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Usage: atmwatch {' '.join(command)}" in outcome.out
    assert len(outcome.out.splitlines()) > 6


@pytest.mark.parametrize("command", [(), ("evaluate",), ("bench",), ("models",), ("rules",)], ids=" ".join)
def test_a_command_alone_shows_what_it_can_do(command: tuple[str, ...]) -> None:
    outcome = run(*command)
    assert outcome.code == 2
    assert "Commands:" in outcome.out + outcome.err


def test_models_are_listed() -> None:
    found = one_object("models", "list", "--json")["models"]
    assert [model["name"] for model in found] == sorted(path.parent.name for path in WEIGHTS.glob("*/card.json"))
    assert {"eyes", "landmarks", "periocular", "sface", "wear", "yunet"} <= {model["name"] for model in found}
    assert all(model["licence"] and model["sha256"] and model["source"] for model in found)
    assert "Apache-2.0" in run("models", "list").out


def test_models_are_verified(tmp_path: Path) -> None:
    found = one_object("models", "verify", "--json")["verified"]
    assert {"eyes", "landmarks", "periocular", "sface", "wear", "yunet"} <= {model["name"] for model in found}
    assert run("models", "verify", "yunet").out.startswith("yunet: as its card says (sha256 ")
    shutil.copytree(WEIGHTS / "yunet", tmp_path / "mine")
    weights = tmp_path / "mine" / "yunet.onnx"
    weights.write_bytes(weights.read_bytes()[:-1])
    outcome = run("models", "verify", tmp_path / "mine")
    assert outcome.code == 1
    assert "its card says" in outcome.err
    assert run("models", "verify", "nowhere").code == 2


def test_the_shipped_rules_are_shown() -> None:
    found = one_object("rules", "check", "--json")
    rules = {rule["id"]: rule for rule in found["rules"]}
    assert rules["CARD_BURST"]["needs"] == ["card_token"]
    assert rules["COUNT_ONLY"]["needs"] == []
    assert len(found["digest"]) == 32
    table = run("rules", "check").out
    assert all(name in table for name in rules)


DOCUMENTS = {Subject.ASYNCAPI: "asyncapi", Subject.OPENAPI: "openapi"}


@pytest.mark.parametrize(("subject", "version"), DOCUMENTS.items())
def test_every_interface_has_a_document(subject: Subject, version: str) -> None:
    document = one_object("schema", subject.value)
    assert document[version].startswith("3.")
    assert document["info"]["title"]


@pytest.mark.parametrize("subject", [subject for subject in Subject if subject not in DOCUMENTS])
def test_every_record_has_a_schema(subject: Subject) -> None:
    schema = one_object("schema", subject.value)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["description"]


def test_a_schema_never_offers_pixels() -> None:
    assert "image" not in one_object("schema", "event")["properties"]
    assert run("schema", "everything").code == 2


@pytest.fixture
def day(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = []
    for number in range(5):
        put(tmp_path / "day" / f"{number}.jpg", portrait(ALICE, 200 + 10 * number))
        fields = {"card_token": f"t{number}", "session_id": f"s{number}"}
        rows.append({"path": f"{number}.jpg", "atm_id": "ATM-1", "captured_at": after(number).isoformat(), **fields})
    put(tmp_path / "day" / "bob.jpg", portrait(BOB, 400))
    put(tmp_path / "day" / "crowd.jpg", crowd(13))
    rows.append({"path": "bob.jpg", "atm_id": "ATM-[1]", "captured_at": after(9).isoformat()})
    rows.append({"path": "crowd.jpg", "atm_id": "ATM-2", "captured_at": after(9).isoformat()})
    manifest(tmp_path / "day", rows)
    return tmp_path / "day"


def test_a_replay_shows_people_alerts_and_rejections(day: Path, tmp_path: Path) -> None:
    outcome = run("replay", day, "--out", tmp_path / "out")
    assert (outcome.code, outcome.err) == (0, "")
    for part in ("7 events", "6 accepted, 1 rejected", "CARD_BURST", "critical", "too_many_faces", "report.html"):
        assert part in outcome.out
    assert "\x1b" not in outcome.out


def test_a_replay_prints_its_summary_as_json(day: Path, tmp_path: Path) -> None:
    found = one_object("replay", day, "--out", tmp_path / "out", "--json")
    assert found == json.loads((tmp_path / "out" / "summary.json").read_text())
    relied_on = {"events", "faces", "no_face", "rejected", "identities", "visits", "alerts", "seconds"}
    assert found.keys() >= relied_on | {"events_per_second", "stage_ms"}
    assert found["events"] == found["accepted"] + found["rejected"] == 7


def test_on_a_terminal_there_is_a_progress_bar(
    day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Console(stderr=True, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(console, "err", shown)
    result = run_replay(day, tmp_path / "out", load_settings(batch=2), ReplayOptions())
    assert result.finished
    told = capsys.readouterr().err
    assert "7/7" in told
    assert "1 rejected" in told
    assert "Writing the report" in told


def test_signals_are_as_they_were_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with console.stopping() as stop:
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # once more ends it at once
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_measurement_that_is_ended_tidies_up() -> None:
    before, tidied = signal.getsignal(signal.SIGTERM), []

    def measured() -> None:
        with console.tidying():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                tidied.append("roles")

    with pytest.raises(KeyboardInterrupt):
        measured()
    assert tidied == ["roles"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", root.COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    place = root.COMMANDS[name]
    own = str(loaded(place.module, name).help)
    assert own == place.help or own.startswith((f"{place.help}\n", f"{place.help} "))


@contextmanager
def failing(error: BaseException) -> Iterator[None]:
    """The command line, of which every command fails."""
    broken = typer.Typer()

    @broken.command()
    def fail() -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "app", broken)
        patch.setattr(sys, "argv", ["atmwatch"])
        yield


@pytest.mark.parametrize("error", [Corrupt("alerts.jsonl:3: [b]torn[/b]"), Unavailable("the broker")])
def test_what_goes_wrong_is_told_in_one_line_and_ends_with_1(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with failing(error), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"atmwatch: {error}\n"


def test_a_defect_is_not_hidden() -> None:
    with failing(ZeroDivisionError("a defect")), pytest.raises(ZeroDivisionError):
        main()


def test_a_reader_that_goes_away_is_no_defect() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", open(os.devnull, "w"))  # noqa: SIM115, PTH123
        with failing(BrokenPipeError()), pytest.raises(SystemExit) as ended:
            main()
        assert sys.stderr.closed
        assert ended.value.code == 1
        assert gone.writable()


def test_a_pipe_that_is_closed_early_shows_no_traceback() -> None:
    with start("schema", "alert") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        assert process.wait(timeout=60) in {0, 1}


def test_a_video_is_replayed_frame_by_frame(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    path = tmp_path / "hall.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (240, 300))
    for name in (ALICE, BOB):
        frame = np.ascontiguousarray(np.asarray(portrait(name, 400).resize((240, 300)))[:, :, ::-1])
        for _ in range(20):
            film.write(frame)
    film.release()
    put(path, path.read_bytes(), NOON)
    found = one_object("replay", path, "--out", tmp_path / "out", "--frame-every", "0.5", "--json")
    assert (found["events"], found["accepted"], found["identities"]) == (8, 8, 2)
    assert found["last_captured_at"] <= "2024-05-06T12:00:00Z"  # a file is written when its last frame is taken
    pictures = list((tmp_path / "out" / "identities").rglob("*.jpg"))
    assert len(pictures) == 8


def test_the_demo_raises_the_alerts_of_its_ground_truth_and_no_other(tmp_path: Path) -> None:
    outcome = run("demo", "--out", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    truth = read_truth(tmp_path / "day" / "truth.json")
    people = {event.event_id: event.person for event in truth.events}
    who = {s.identity_id: people[s.event.event_id] for s in read_journal(tmp_path / "result", Sighting)}
    alerts = list(read_journal(tmp_path / "result", Alert))
    assert {alert.atm_id or who[str(alert.identity_id)] for alert in alerts if alert.identity_id is None} <= {
        atm.atm_id for atm in truth.atms
    }
    raised = {
        ExpectedAlert(rule_id=alert.rule_id, about=Who.PERSON, subject=str(who[alert.identity_id]))
        if alert.identity_id
        else ExpectedAlert(rule_id=alert.rule_id, about=Who.ATM, subject=str(alert.atm_id))
        for alert in alerts
    }
    assert raised == set(truth.expected_alerts)
    assert len(raised) >= 4
    assert len(set(who.values())) == len(who) == len(truth.people)
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["events"] == len(truth.events) == summary["accepted"] + summary["rejected"]
    refused = [event.outcome for event in truth.events if event.reason is not None]
    assert summary["rejected"] == len(refused)
    assert str(tmp_path / "result" / "report.html") in outcome.out
    assert "alerts as the ground truth says: yes" in outcome.out


def test_a_simulated_day_is_described_and_can_be_replaced(tmp_path: Path) -> None:
    day = tmp_path / "day"
    found = one_object("simulate", FACES, "--out", day, "--people", "1", "--seed", "3", "--json")
    assert (found["seed"], len(found["people"])) == (3, 1)
    assert run("simulate", FACES, "--out", day).code == 2  # not empty
    (day / "notes.txt").write_text("mine")
    remove_day(day)
    assert [path.name for path in day.iterdir()] == ["notes.txt"]
    assert "is not a simulated day" in run("demo", "--out", tmp_path).err


@pytest.mark.parametrize("wished", [None, "3"])
def test_blas_works_in_one_thread_unless_wished_otherwise(monkeypatch: pytest.MonkeyPatch, wished: str | None) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", wished or "")
    if wished is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    with failing(Corrupt("x")), pytest.raises(SystemExit):
        main()
    assert os.environ["OPENBLAS_NUM_THREADS"] == (wished or "1")
