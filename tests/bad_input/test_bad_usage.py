"""What a person got wrong is told before anything is read or written, by the place, and ends with exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import run, spawn
from portraits import ALICE_2, BOB, NOON, masked, portrait, put

RULE = """version: 1
rules:
  - id: OFTEN
    title: Came often
    severity: medium
    per: identity
    when:
      any:
        - {{window: {window}, {measure}: 2}}
    cooldown: 1h
    {extra}
"""


def rules(folder: Path, window: str = "24h", measure: str = "visits", extra: str = "advice: Look.") -> Path:
    path = folder / "my_rules.yaml"
    path.write_text(RULE.format(window=window, measure=measure, extra=extra))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    put(tmp_path / "day" / "alice.jpg", portrait(), NOON)
    put(tmp_path / "day" / "alice_2.jpg", portrait(ALICE_2), NOON)
    return tmp_path / "day"


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"extra": "serverity: high"}, "rules[0].serverity: unknown key; did you mean severity? (line 11)"),
        ({"measure": "visit"}, "rules[0].when.any[0].visit: unknown key; did you mean visits? (line 9)"),
        ({"window": "-24h"}, "rules[0].when.any[0].window: "),
        ({"window": "0s"}, "rules[0].when.any[0].window: "),
        ({"window": "soon"}, "rules[0].when.any[0].window: "),
        ({"extra": "enabled: maybe"}, "rules[0].enabled: "),
        ({"extra": "id: AGAIN"}, "the key 'id' is there twice (line 11)"),
        ({"extra": "advice: [unclosed"}, "(line 1"),
    ],
    ids=["unknown key", "misspelt measure", "negative window", "empty window", "no window", "type", "twice", "no YAML"],
)
def test_a_wrong_rules_file_is_named_with_its_place(
    pictures: Path, tmp_path: Path, wrong: dict[str, str], place: str
) -> None:
    path = rules(tmp_path, **wrong)
    for command in (("replay", pictures, "--out", tmp_path / "out", "--rules", path), ("rules", "check", path)):
        outcome = run(*command)
        assert (outcome.code, outcome.out) == (2, "")
        assert str(path) in outcome.err
        assert place in outcome.err
    assert not (tmp_path / "out").exists()


def test_good_rules_are_used(pictures: Path, tmp_path: Path) -> None:
    outcome = run("replay", pictures, "--out", tmp_path / "out", "--rules", rules(tmp_path), "--json")
    assert json.loads(outcome.out)["alerts_by_rule"] == {"OFTEN": 1}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("replay", "{tmp}/nowhere", "--out", "{tmp}/out"), "nowhere: It can't be read: no such file or directory"),
        (("replay", "{tmp}/empty", "--out", "{tmp}/out"), "holds no pictures"),
        (("replay", "{tmp}/notes.txt", "--out", "{tmp}/out"), "is not a picture, video, manifest"),
        (("replay", "{day}", "--out", "{tmp}/notes.txt"), "notes.txt can't be used as output folder"),
        (("replay", "{day}", "--out", "{day}"), "is the input: choose another folder"),
        (("replay", "{day}", "--out", "{tmp}/out", "--timezone", "Mars/Base"), "not an IANA time zone"),
        (("replay", "{day}", "--out", "{tmp}/out", "--model", "vgg"), "no model 'vgg'"),
        (("replay", "{day}", "--out", "{tmp}/out", "--rules", "{tmp}/none.yaml"), "none.yaml: can't be read"),
        (("replay", "{day}", "--out", "{tmp}/out", "--resume", "--force"), "give one of them"),
        (("replay", "{day}", "--out", "{tmp}/out", "--threshold", "1.5"), "threshold: Input should be less than 1"),
        (("replay", "{day}", "--out", "{tmp}/out", "--threads", "-1"), "--threads"),
        (("replay", "{day}", "--out", "{tmp}/out", "--frame-every", "0"), "--frame-every"),
        (("replay", "{day}", "--out", "{tmp}/out", "--pictures", "some"), "--pictures"),
        (("replay", "{day}"), "--out"),
        (("replay", "{day}", "--out", "{tmp}/out", "--colour"), "--colour"),
        (("replai",), "replai"),
    ],
    ids=lambda value: " ".join(map(str, value[-2:])) if isinstance(value, tuple) else "",
)
def test_wrong_arguments_are_bad_usage(pictures: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    outcome = run(*(argument.format(tmp=tmp_path, day=pictures) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "notes.txt").read_text() == "notes"
    assert sorted(path.name for path in pictures.iterdir()) == ["alice.jpg", "alice_2.jpg"]


def test_an_output_folder_of_another_run_is_left_alone(pictures: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    put(other / "bob.jpg", portrait(BOB, 400), NOON)
    assert run("replay", pictures, "--out", out).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    again = run("replay", pictures, "--out", out)
    assert again.code == 2
    assert "--resume goes on with it, --force starts anew" in again.err
    foreign = run("replay", other, "--out", out, "--resume")
    assert foreign.code == 2
    assert "journal of another input" in foreign.err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

    forced = run("replay", other, "--out", out, "--force", "--json")
    assert forced.code == 0
    assert json.loads(forced.out)["accepted"] == 1
    [person] = (path for path in (out / "identities").iterdir() if path.is_dir())
    assert len(list(person.glob("*.jpg"))) == 1


def test_an_output_folder_within_the_input_is_no_input(pictures: Path) -> None:
    out = pictures / "result"
    first = json.loads(run("replay", pictures, "--out", out, "--json").out)
    again = run("replay", pictures, "--out", out, "--force", "--json")
    assert again.code == 0
    assert json.loads(again.out)["events"] == first["events"] == 2
    assert run("replay", pictures, "--out", out, "--resume").code == 0


def test_two_runs_at_once_keep_out_of_each_others_way(pictures: Path, tmp_path: Path) -> None:
    import fcntl

    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = run("replay", pictures, "--out", out)
    assert outcome.code == 2
    assert "another run is writing into" in outcome.err


def test_settings_come_from_the_environment_and_a_wrong_one_is_named(pictures: Path, tmp_path: Path) -> None:
    wrong = run("replay", pictures, "--out", tmp_path / "out", environment={"ATMWATCH_BATCH": "many"})
    assert wrong.code == 2
    assert "batch: Input should be a valid integer" in wrong.err
    nested = run("replay", pictures, "--out", tmp_path / "out", environment={"ATMWATCH_POLICY__VISIT_GAP": "-PT1S"})
    assert nested.code == 2
    assert "policy.visit_gap" in nested.err
    assert not (tmp_path / "out").exists()


def test_a_program_sees_the_same_exit_codes(pictures: Path, tmp_path: Path) -> None:
    put(pictures / "masked.jpg", masked(), NOON)
    assert spawn("replay", pictures, "--out", tmp_path / "notes.txt" / "x", "--threads", "none").code == 2
    outcome = spawn("replay", pictures, "--out", tmp_path / "out", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["accepted"] == 3
