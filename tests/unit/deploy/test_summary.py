from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from report_sample import DAY, alert, event, rejection, sample_day, sighting, usage

from alerts.records import Severity
from deploy.summary import RuleStatus, Run, Summary, build_summary, by_use, write_summary
from embedder.records import Box
from ingest.reasons import Reason
from ingest.records import ClockSource

RUN = Run("pictures/", "sface-v1", 0.363, 2.0)


def summary_of(usages=(), sightings=(), alerts=(), rejections=(), run=RUN):
    return build_summary(list(usages), iter(sightings), iter(alerts), iter(rejections), run)


def test_a_day_adds_up() -> None:
    day = sample_day()
    summary = build_summary(day.usages, iter(day.sightings), iter(day.alerts), iter(day.rejections), day.run)
    assert summary.accepted == summary.faces == len(day.sightings)
    assert summary.events == summary.accepted + summary.rejected
    assert summary.rejected == len(day.rejections) == sum(summary.rejected_by_reason.values())
    assert summary.no_face == 20
    assert summary.unusable == 31
    assert summary.identities == 16
    assert summary.repeated_identities == 5
    assert summary.visits == sum(u.visits for u in day.usages)
    assert summary.alerts_by_rule == {"CARD_SPREAD": 1, "COUNT_ONLY": 2, "TRAVEL_GUARD": 1}
    assert summary.alerts_by_severity == {"critical": 1, "high": 1, "medium": 2}
    assert summary.alerts_held == 1
    assert [u.visits for u in summary.top_identities][:5] == [11, 6, 4, 3, 2]
    assert sum(atm.pictures for atm in summary.atms) + 2 == summary.events  # two inputs name no ATM


def test_json_has_the_keys_that_others_rely_on(tmp_path) -> None:
    day = sample_day()
    write_summary(
        tmp_path / "summary.json", build_summary(day.usages, day.sightings, day.alerts, day.rejections, day.run)
    )
    found = json.loads((tmp_path / "summary.json").read_text())
    relied_on = {"events", "faces", "no_face", "rejected", "identities", "visits", "alerts", "seconds"}
    assert found.keys() >= relied_on | {"events_per_second", "stage_ms"}
    assert found["stage_ms"]["embed"] == pytest.approx(1320 / found["events"])
    assert found["events_per_second"] == pytest.approx(found["events"] / 2.91)
    assert "vector" not in (text := json.dumps(found))
    assert "tok_" not in text
    assert Summary.model_validate_json((tmp_path / "summary.json").read_bytes()).events == found["events"]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_stages_keep_their_order() -> None:
    run = Run("x", "m", 0.3, 1.0, stage_seconds={"decode": 0.5, "align": 0.1})
    assert list(summary_of(run=run).stage_ms) == ["decode", "align"]


def test_rates_cover_only_the_events_that_were_timed() -> None:
    sightings = [sighting(event(n), 1) for n in range(10)]
    run = Run("x", "m", 0.3, 2.0, timed_events=4, stage_seconds={"embed": 0.4})
    summary = summary_of([usage(1, 10)], sightings, run=run)
    assert summary.events == 10
    assert summary.events_per_second == 2.0
    assert summary.stage_ms == {"embed": pytest.approx(100)}


def test_visits_come_from_the_roster_not_from_what_sightings_once_said() -> None:
    sightings = [sighting(event(n), 1, visits=n + 1) for n in range(3)]
    assert summary_of([usage(1, 2)], sightings).visits == 2


def test_an_identity_without_visits_is_not_counted() -> None:
    assert summary_of([usage(1, 1), usage(2, 0)]).identities == 1


def test_an_empty_run_says_so() -> None:
    summary = summary_of(run=Run("x", "m", 0.3, 0.0))
    assert summary.events_per_second == 0.0
    assert summary.first_captured_at is None
    assert summary.notes == ("The input holds no events.",)


def test_a_run_without_a_usable_face_says_so() -> None:
    summary = summary_of(rejections=[rejection(Reason.NO_FACE, "a.jpg")])
    assert summary.no_face == 1
    assert "nobody was counted" in summary.notes[0]


def test_pictures_that_say_nothing_are_assumed_to_be_visits() -> None:
    bare = event(1, clock=ClockSource.FILE)
    joined = event(2, clock=ClockSource.FILE, session_id="s1")
    summary = summary_of([usage(1, 3)], [sighting(e, 1) for e in (bare, joined, event(3))])
    assert summary.assumed_visits == 1
    assert summary.notes[0].startswith("1 of 3 accepted pictures bring neither")


def test_bystanders_are_given_apart() -> None:
    box = Box(x=1, y=1, width=2, height=2)
    summary = summary_of([usage(1, 1)], [sighting(event(1), 1, bystanders=(box, box))])
    assert (summary.faces, summary.bystanders) == (1, 2)


def test_the_period_leaves_out_what_a_broken_record_claims() -> None:
    later = DAY + timedelta(hours=5)
    refused = [
        rejection(Reason.NO_FACE, "a.jpg", captured_at=later),
        rejection(Reason.CAPTURED_AT_IN_FUTURE, "b.jpg", captured_at=datetime(2099, 1, 1, tzinfo=UTC)),
    ]
    summary = summary_of([usage(1, 1)], [sighting(event(1), 1)], rejections=refused)
    assert (summary.first_captured_at, summary.last_captured_at) == (DAY, later)


def test_rules_without_their_fields_and_held_alerts_are_noted() -> None:
    rules = (
        RuleStatus(rule_id="CARD_TEST", title="Card testing", not_evaluable=3, missing=("card_token",)),
        RuleStatus(rule_id="COUNT_ONLY", title="Visits", evaluated=3),
    )
    seen = [sighting(event(1), 1)]
    held = [alert(seen, "R", Severity.LOW, "T", held="why"), alert(seen, "R", Severity.LOW, "T", held="why")]
    notes = summary_of([usage(1, 1)], seen, held, run=Run("x", "m", 0.3, 1.0, rules=rules, notes=["First."])).notes
    assert notes[0] == "First."
    assert "1 rule could not be evaluated" in notes[1]
    assert "CARD_TEST needs card_token" in notes[1]
    assert notes[2].startswith("2 alerts are held")


def test_poor_cameras_are_named_and_the_rest_counted() -> None:
    refused = [rejection(Reason.BLURRED, f"{a}-{n}.jpg", atm_id=f"atm-{a}") for a in range(7) for n in range(20)]
    refused += [rejection(Reason.BLURRED, f"{n}.jpg", atm_id="atm-few") for n in range(5)]
    summary = summary_of(rejections=refused)
    assert sum("check the camera" in note for note in summary.notes) == 5
    assert summary.notes[-1] == "2 more ATMs have a camera as poor as these."
    few = next(atm for atm in summary.atms if atm.atm_id == "atm-few")
    assert few.unusable == {"blurred": 5}
    assert not few.is_poor


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ("off", {"enabled": False, "evaluated": 3}),
        ("not evaluable", {"not_evaluable": 2}),
        ("partly evaluated", {"not_evaluable": 2, "evaluated": 1}),
        ("evaluated", {"evaluated": 1}),
        ("not asked", {}),
    ],
)
def test_a_rules_state(state: str, fields: dict) -> None:
    assert RuleStatus(rule_id="R", title="T", **fields).state == state


def test_a_broken_atm_file_is_no_camera_fault() -> None:
    summary = summary_of(rejections=[rejection(Reason.EMPTY_FILE, "a.jpg", atm_id="atm-1")])
    assert (summary.atms[0].broken, summary.atms[0].unusable_share) == (1, 0.0)


def test_figures_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValidationError, match="accepted plus rejected"):
        Summary.model_validate(summary_of().model_dump() | {"events": 3})


def test_identities_are_ranked_by_visits_then_by_founding() -> None:
    assert [u.number for u in by_use([usage(3, 2), usage(2, 5), usage(1, 2), usage(4, 0)])] == [2, 1, 3]
