"""The same scenarios in every mode in which the pipeline runs; each must give the same result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from scenarios import CITY_RESULT, CITY_WALK, SCENARIOS, Result, Scenario, summed_up, tabled

from alerts.records import Alert
from clustering.records import Sighting
from deploy.identities import PictureMode
from deploy.replay import ReplayOptions, ReplayResult, read_journal, replay
from deploy.settings import load_settings
from ingest.records import Rejection

RunMode = Callable[[Scenario, Path], Result]


def embedded(scenario: Scenario, base: Path) -> Result:
    """One process, a folder as source, and JSONL journals."""
    _, out = replayed(scenario, base)
    return summed_up(*(list(read_journal(out, kind)) for kind in (Sighting, Alert, Rejection)))


def replayed(scenario: Scenario, base: Path, options: ReplayOptions | None = None) -> tuple[ReplayResult, Path]:
    folder, out, rules = base / "in", base / "out", None
    folder.mkdir(parents=True)
    if scenario.rules is not None:
        rules = base / "rules.yaml"
        rules.write_text(scenario.rules)
    return replay(scenario.lay_out(folder), out, load_settings(rules=rules), options), out


@pytest.fixture(params=["embedded"])
def run_mode(request: pytest.FixtureRequest) -> RunMode:
    return {"embedded": embedded}[request.param]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_gives_its_result(run_mode: RunMode, scenario: Scenario, tmp_path: Path) -> None:
    assert run_mode(scenario, tmp_path) == scenario.expected


def test_what_the_views_say_is_what_the_journals_say(tmp_path: Path) -> None:
    scenario = Scenario("the views", tabled(*CITY_WALK), CITY_RESULT)
    result, out = replayed(scenario, tmp_path)
    summary = json.loads((out / "summary.json").read_text())
    assert result.finished
    assert [usage.visits for usage in result.usages] == list(CITY_RESULT.visits)
    assert (summary["events"], summary["accepted"], summary["rejected"]) == (10, 9, 1)
    assert (summary["faces"], summary["no_face"], summary["identities"]) == (9, 1, 3)
    assert (summary["visits"], summary["repeated_identities"], summary["assumed_visits"]) == (7, 3, 0)
    assert list(summary["stage_ms"]) == ["decode", "detect", "align", "embed", "signs", "decide", "alerts", "write"]
    assert summary["seconds"] > 0
    assert (summary["first_captured_at"], summary["last_captured_at"]) == (
        "2024-05-06T12:00:00Z",
        "2024-05-06T13:30:00Z",
    )
    for usage in result.usages:
        folder = out / "identities" / usage.identity_id
        described = json.loads((folder / "identity.json").read_text())
        assert described["usage"]["visits"] == usage.visits
        shown = [line["file"] for line in described["sightings"]]
        assert sorted(shown) == sorted(path.name for path in folder.glob("*.jpg"))
        assert len(shown) == usage.pictures
    report = (out / "report.html").read_text()
    assert all(usage.identity_id in report or f"identity {usage.number}" in report for usage in result.usages)
    assert "http://" not in report.replace("http://www.w3.org/", "")
    assert 'src="http' not in report
    assert "https://" not in report


def test_journals_are_in_the_order_of_event_time(tmp_path: Path) -> None:
    scenario = Scenario("order", tabled(*reversed(CITY_WALK)), CITY_RESULT)
    _, out = replayed(scenario, tmp_path)
    times = [sighting.event.captured_at for sighting in read_journal(out, Sighting)]
    assert times == sorted(times)


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.notes], ids=lambda scenario: scenario.name)
def test_a_run_says_what_it_had_to_assume(scenario: Scenario, tmp_path: Path) -> None:
    result, out = replayed(scenario, tmp_path)
    report = (out / "report.html").read_text()
    for note in scenario.notes:
        assert any(note in said for said in result.summary.notes)
        assert note in report
    assert result.summary.assumed_visits == sum(scenario.expected.pictures)


@pytest.mark.parametrize("mode", PictureMode)
def test_pictures_are_copied_linked_or_left(mode: PictureMode, tmp_path: Path) -> None:
    scenario = SCENARIOS[-2]
    result, out = replayed(scenario, tmp_path, ReplayOptions(pictures=mode))
    files = list((out / "identities").rglob("*.jpg"))
    assert len(files) == {PictureMode.NONE: 0}.get(mode, 6)
    assert all((path.stat().st_nlink == 2) == (mode is PictureMode.LINK) for path in files)
    folders = result.folders
    assert (folders.identities, folders.lost) == (3, 0)
    assert (folders.copied, folders.linked) == {
        PictureMode.COPY: (6, 0),
        PictureMode.LINK: (0, 6),
        PictureMode.NONE: (0, 0),
    }[mode]
