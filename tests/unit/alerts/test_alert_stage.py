from __future__ import annotations

import json
from datetime import timedelta

import pytest
from conftest import BERGEN, NOON, OSLO, Make, feed, moment

from alerts import ledger as ledger_module
from alerts.ledger import card_digest
from alerts.memory import EPISODES_KEPT
from alerts.records import Alert, Queue, Severity
from alerts.rulefile import load_rules
from alerts.stage import AlertStage
from ingest.errors import Corrupt
from ingest.reasons import Reason
from ingest.records import ClockSource, Position
from ingest.stage import Delivery, Stateful

THREE = "when: {any: [{window: 60m, visits: 3}]}"


def series(make: Make, *minutes: float, **more):
    return [make.sighting(at, **more) for at in minutes]


def times(alerts: list[Alert]) -> list[float]:
    return [(alert.raised_at - NOON).total_seconds() / 60 for alert in alerts]


def ids(alerts: list[Alert]) -> list[str]:
    return [alert.rule_id for alert in alerts]


# --- one rule


def test_an_alert_stands_right_behind_what_raised_it(make, book) -> None:
    stage = AlertStage(book("id: MANY\ntitle: Many\nadvice: Look.\ndismissal_codes: [A, B]\n" + THREE))
    sightings = series(make, 0, 10, 20, 100)
    batch = [Delivery(s, Position(offset=i)) for i, s in enumerate(sightings)]
    out = stage.process(batch)
    assert [d.record for d in out[:3]] == sightings[:3]
    assert (out[3].position.offset, out[4].record) == (2, sightings[3])
    alert = out[3].record
    assert isinstance(alert, Alert)
    assert (alert.rule_id, alert.title, alert.advice) == ("MANY", "Many", "Look. Dismiss as A, B.")
    assert (alert.subject, alert.identity_id, alert.number, alert.atm_id) == ("p1", "p1", 1, "a1")
    assert (alert.measured, alert.limits) == ({"visits_1h": 3.0}, {"visits_1h": 3.0})
    assert (alert.raised_at, alert.window_start) == (moment(20), moment(-40))
    assert (alert.episode, alert.held, alert.queue) == (1, None, Queue.FRAUD)
    assert alert.position.offset == 2
    assert [e.event_id for e in alert.evidence] == [s.event.event_id for s in sightings[:3]]
    assert {e.similarity for e in alert.evidence} == {0.5}
    assert isinstance(stage, Stateful)


def test_the_window_is_open_at_its_start(make, book) -> None:
    assert not feed(AlertStage(book(THREE)), *series(make, 0, 30, 60))
    assert feed(AlertStage(book(THREE)), *series(make, 0.1, 30, 60))


def test_people_machines_and_scopes_are_kept_apart(make, book) -> None:
    stage = AlertStage(book(THREE, "per: identity_atm\n" + THREE))
    mixed = [make.sighting(0), make.sighting(10, atm="a2"), make.sighting(20, "p2"), make.sighting(30, scope="north")]
    assert not feed(stage, *mixed)
    assert ids(feed(stage, make.sighting(40, atm="a3"))) == ["R0"]
    (alert,) = feed(stage, make.sighting(41, atm="a2"), make.sighting(44, atm="a2"))
    assert (alert.rule_id, alert.subject, alert.atm_id, alert.identity_id) == ("R1", "p1@a2", "a2", "p1")


def test_two_long_names_fit_one_field(make, book) -> None:
    stage = AlertStage(book("per: identity_atm\nwhen: {any: [{window: 60m, visits: 1}]}"))
    (alert,) = feed(stage, make.sighting(0, atm="a" * 200))
    assert len(alert.subject) < 200


def test_one_long_series_is_one_alert(make, book) -> None:
    stage = AlertStage(book("cooldown: 30m\n" + THREE))
    assert times(feed(stage, *series(make, *range(0, 600, 15)))) == [30]


def test_the_rule_speaks_anew_once_it_has_rearmed_and_cooled_down(make, book) -> None:
    stage = AlertStage(book("cooldown: 3h\n" + THREE))
    assert times(feed(stage, *series(make, 0, 5, 10))) == [10]
    assert not feed(stage, *series(make, 100, 105, 110))  # re-armed, but within the cooldown
    assert not feed(stage, *series(make, 150, 185))
    alerts = feed(stage, *series(make, 190, 300, 305, 310, 500, 505, 510))
    assert times(alerts) == [190, 510]
    assert [alert.episode for alert in alerts] == [2, 3]


def test_more_of_it_speaks_within_the_cooldown(make, book) -> None:
    stage = AlertStage(book("cooldown: 24h\nreopen_step: 2\n" + THREE))
    alerts = feed(stage, *series(make, *range(0, 40, 5)))
    assert times(alerts) == [10, 20, 30]
    assert [alert.measured["visits_1h"] for alert in alerts] == [3, 5, 7]


def test_graver_speaks_within_the_cooldown(make, book) -> None:
    stage = AlertStage(
        book("cooldown: 24h\nwhen: {any: [{window: 60m, visits: 3}, {window: 60m, visits: 5, severity: critical}]}")
    )
    alerts = feed(stage, *series(make, *range(0, 50, 5)))
    assert [(alert.severity, alert.limits["visits_1h"]) for alert in alerts] == [
        (Severity.MEDIUM, 3),
        (Severity.CRITICAL, 5),
    ]
    assert len({alert.alert_id for alert in alerts}) == 2


def test_a_late_picture_completes_a_window_that_ends_later(make, book) -> None:
    stage = AlertStage(book(THREE))
    assert not feed(stage, *series(make, 30, 50, 300))
    (alert,) = feed(stage, make.sighting(10))
    assert times([alert]) == [50]
    assert not feed(stage, make.sighting(20))  # earlier, but within the same series


def test_a_late_picture_shows_an_earlier_series(make, book) -> None:
    stage = AlertStage(book("cooldown: 60m\n" + THREE))
    assert times(feed(stage, *series(make, 0, 10, 500, 510, 520))) == [520]
    alerts = feed(stage, make.sighting(5))
    assert (times(alerts), alerts[0].episode) == ([10], 2)
    assert times(feed(stage, *series(make, 700, 710, 720))) == [720]


def test_a_late_picture_in_one_long_series_says_nothing_new(make, book) -> None:
    stage = AlertStage(book("cooldown: 30m\nwhen: {any: [{window: 2h, visits: 4}]}"))
    assert times(feed(stage, *series(make, 0, 30, 60, 119))) == [119]
    assert not feed(stage, make.sighting(45))


def test_late_growth_speaks_once(make, book) -> None:
    stage = AlertStage(book("cooldown: 24h\nreopen_step: 2\n" + THREE))
    assert times(feed(stage, *series(make, 0, 10, 100, 110, 120))) == [120]
    assert times(feed(stage, *series(make, 2.5, 5, 7.5))) == [10]  # five visits up to then
    assert not feed(stage, make.sighting(12))


def test_a_repeated_sighting_changes_nothing(make, book) -> None:
    stage = AlertStage(book(THREE))
    sightings = series(make, 0, 10)
    feed(stage, *sightings)
    before = stage.snapshot()
    assert not feed(stage, *sightings, *sightings)
    assert stage.snapshot() == before


def test_pictures_with_only_a_files_time_are_visits_of_their_own(make, book) -> None:
    stage = AlertStage(book(THREE))
    assert feed(stage, *series(make, 0, 0, 0, clock=ClockSource.FILE))
    assert not feed(AlertStage(book(THREE)), *series(make, 0, 0, 0))


def test_a_disabled_rule_is_silent(make, book) -> None:
    stage = AlertStage(book("enabled: false\n" + THREE))
    assert not feed(stage, *series(make, 0, 10, 20))
    assert (stage.report()[0].enabled, stage.report()[0].evaluated) == (False, 0)


def test_evidence_is_bounded_and_has_every_visits_best_first(make, book) -> None:
    stage = AlertStage(book("when: {any: [{window: 24h, visits: 30}]}"))
    sightings = []
    for i in range(30):
        sightings += [make.sighting(i * 10 + j, session_id=f"s{i}", confidence=(j + 1) / 10) for j in range(3)]
    (alert,) = feed(stage, *sightings)
    assert len(alert.evidence) == 50
    assert [e.captured_at for e in alert.evidence] == sorted(e.captured_at for e in alert.evidence)
    assert sum(e.confidence == 0.3 for e in alert.evidence) == 29
    assert sum(e.confidence == 0.2 for e in alert.evidence) == 20
    assert alert.confidence == 0.1  # the thirtieth visit's only picture so far


# --- not evaluable


def test_a_rule_without_its_fields_is_not_evaluable(make, book) -> None:
    cards = "when: {any: [{window: 60m, distinct_cards: 2}]}"
    stage = AlertStage(book(cards, "per: card\nwhen: {any: [{window: 1h, distinct_persons: 2}]}", THREE))
    feed(stage, make.sighting(0), make.sighting(5, card="c1"))
    first, second, third = stage.report()
    assert [first.evaluated, first.not_evaluable] == [0, 2]
    assert (first.missing, first.needs) == ({"card_token": 2}, ("card_token",))
    assert (second.evaluated, second.not_evaluable, second.missing) == (1, 1, {"card_token": 1})
    assert (third.evaluated, third.not_evaluable, third.missing) == (2, 0, {})
    assert feed(stage, make.sighting(9, card="c2"))
    assert (stage.report()[0].evaluated, stage.report()[0].alerts) == (1, 1)


# --- the shipped rules


@pytest.fixture
def shipped() -> AlertStage:
    return AlertStage(load_rules())


def test_card_burst(make, shipped) -> None:
    alerts = feed(shipped, *[make.sighting(i, card=f"c{i}") for i in range(8)])
    found = [(a.severity.value, a.measured["distinct_cards_15m"]) for a in alerts if a.rule_id == "CARD_BURST"]
    assert found == [("high", 3), ("critical", 5), ("critical", 8)]


def test_card_spread(make, shipped) -> None:
    quick = feed(shipped, *[make.sighting(i * 9, atm=f"a{i}", card=f"c{i}") for i in range(3)])
    assert [(a.rule_id, a.severity.value) for a in quick] == [("CARD_SPREAD", "high")]
    slow = feed(shipped, *[make.sighting(i * 200, "p2", card=f"c{i}") for i in range(4)])
    assert [(a.rule_id, a.severity.value) for a in slow] == [("CARD_SPREAD", "medium")]


def test_night_return(make, shipped) -> None:
    zone = {"zone": "Asia/Taipei"}  # noon UTC is 20:00 there
    assert not feed(shipped, make.sighting(170, card="c1", **zone), make.sighting(10, card="c2", **zone))
    assert ids(feed(shipped, make.sighting(190, card="c1", **zone), make.sighting(300, card="c2", **zone))) == [
        "NIGHT_RETURN"
    ]
    assert ids(feed(shipped, *series(make, 200, 300, 400, who="p2", **zone))) == ["NIGHT_RETURN"]


def test_count_only(make, shipped) -> None:
    assert ids(feed(shipped, *series(make, *range(0, 54, 9)))) == ["COUNT_ONLY"]
    assert ids(feed(shipped, *series(make, *range(0, 1400, 140), who="p2"))) == ["COUNT_ONLY"]


def test_card_test(make, shipped) -> None:
    kinds = ["DECLINED", "withdrawal", "balance_enquiry"]
    tried = [make.sighting(i * 5, card=f"c{i}", transaction_type=kind) for i, kind in enumerate(kinds)]
    assert ids(feed(shipped, *tried)) == ["CARD_BURST", "CARD_TEST"]


def test_one_card_many_faces(make, shipped) -> None:
    seen = [make.sighting(i * 60, f"p{i + 1}", card="c") for i in range(3)]
    (alert,) = feed(shipped, *seen)
    assert (alert.rule_id, alert.subject, alert.identity_id) == ("ONE_CARD_MANY_FACES", card_digest("c"), None)
    assert {e.identity_id for e in alert.evidence} == {"p1", "p2", "p3"}


def test_reversal_repeat_and_deposit_drain(make, shipped) -> None:
    def kinds(*named: str, who: str) -> list[str]:
        return ids(
            feed(shipped, *[make.sighting(i * 60, who, card="c", transaction_type=k) for i, k in enumerate(named)])
        )

    assert kinds("jam", "reversal", who="p1") == ["REVERSAL_REPEAT"]
    assert kinds("deposit", "withdrawal", "withdrawal", who="p2") == ["DEPOSIT_DRAIN"]
    many = [make.sighting(i * 600, "p7", card=f"c{i}", transaction_type="deposit") for i in range(3)]
    assert ids(feed(shipped, *many)) == ["DEPOSIT_DRAIN"]


def test_impossible_travel_holds_what_depends_on_it(make, shipped) -> None:
    route = [
        make.sighting(0, card="c1", atm_location=OSLO),
        make.sighting(10, atm="a2", card="c2", atm_location=BERGEN),
        make.sighting(20, atm="a2", card="c3", atm_location=BERGEN),
        make.sighting(25, "p2", card="c3", atm_location=BERGEN),
        make.sighting(28, "p3", card="c3", atm_location=BERGEN),
    ]
    guard, spread, faces = feed(shipped, *route)
    assert (guard.rule_id, guard.queue, guard.held) == ("TRAVEL_GUARD", Queue.DATA_QUALITY, None)
    assert guard.measured["speed_kmh_24h"] == pytest.approx(1830, abs=20)
    assert (spread.rule_id, faces.rule_id) == ("CARD_SPREAD", "ONE_CARD_MANY_FACES")
    for alert in (spread, faces):
        assert (
            alert.held
            == "impossible travel: TRAVEL_GUARD at 2024-03-04 12:10 UTC tells of a false match or a wrong clock"
        )
    days_later = feed(shipped, *[make.sighting(5000 + i * 5, atm="a2", card=f"d{i}") for i in range(3)])
    assert ids(days_later) == ["CARD_BURST"]
    assert days_later[0].held is None


def test_an_alert_is_held_by_travel_that_the_same_picture_shows(make, book) -> None:
    stage = AlertStage(
        book(
            "per: identity\nwhen: {any: [{window: 1h, distinct_atms: 2}]}",
            "queue: data_quality\ncooldown: 1h\nwhen: {any: [{window: 1h, speed_kmh: 150}]}",
        )
    )
    alerts = feed(stage, make.sighting(0, atm_location=OSLO), make.sighting(9, atm="a2", atm_location=BERGEN))
    assert ids(alerts) == ["R1", "R0"]
    assert alerts[1].held is not None


def test_a_crew_is_several_people_with_bursts_at_one_atm(make, shipped) -> None:
    alerts = []
    for person in range(1, 4):
        cards = [make.sighting(person * 6 + i, f"p{person}", card=f"{person}{i}") for i in range(3)]
        alerts += feed(shipped, *cards)
    assert ids(alerts) == ["CARD_BURST"] * 3 + ["CREW"]
    crew = alerts[-1]
    assert (crew.subject, crew.atm_id, crew.identity_id) == ("a1", "a1", None)
    assert crew.severity is Severity.CRITICAL
    assert {e.identity_id for e in crew.evidence} == {"p1", "p2", "p3"}
    assert [e.event_id for e in crew.evidence] == [a.evidence[-1].event_id for a in alerts[:3]]


# --- unusable pictures


def test_camera_obscured(make, shipped) -> None:
    dark = [make.rejection(i, event_id=None if i % 2 else f"d{i}") for i in range(10)]
    (alert,) = feed(shipped, *dark)
    assert (alert.rule_id, alert.queue, alert.subject) == ("CAMERA_OBSCURED", Queue.DATA_QUALITY, "a1")
    assert alert.measured == {"unusable_pictures_15m": 10.0}
    assert alert.evidence[1].event_id == "1.jpg"
    before = shipped.snapshot()
    assert not feed(shipped, *dark)
    assert shipped.snapshot() == before


def test_other_rejections_do_not_count(make, shipped) -> None:
    blank = shipped.snapshot()
    for more in ({"reason": Reason.EMPTY_FILE}, {"atm_id": None}, {"captured_at": None}):
        assert not feed(shipped, *[make.rejection(i, **more) for i in range(20)])
    assert shipped.snapshot() == blank


def test_a_broken_rejections_names_are_made_safe(make, book) -> None:
    stage = AlertStage(book("per: atm\nwhen: {any: [{window: 1h, unusable_pictures: 1}]}"))
    odd = make.rejection(0, atm="\x00bad " * 50, event_id=None, source="4111 1111 1111 1111\n.jpg", scope="north")
    (alert,) = feed(stage, odd)
    assert "4111" not in alert.to_json()
    assert alert.scope == "north"
    assert len(alert.subject) <= 200
    assert ids(feed(stage, make.rejection(0, atm="a2", event_id=" "))) == ["R0"]


# --- memory


def test_a_snapshot_brings_everything_back(make, shipped) -> None:
    history = [make.sighting(i, card=f"c{i}", amount=i, atm_location=OSLO, zone="Europe/Oslo") for i in range(4)]
    feed(shipped, *history, make.rejection(5))
    again = AlertStage(load_rules())
    again.restore(shipped.snapshot())
    assert again.snapshot() == shipped.snapshot()
    assert again.report() == shipped.report()
    more = [make.sighting(6, card="c9"), *history]
    assert feed(again, *more) == feed(shipped, *more)
    assert again.snapshot() == shipped.snapshot()


def test_no_card_token_is_in_snapshot_or_alert(make, shipped) -> None:
    alerts = feed(shipped, *[make.sighting(i, f"p{i + 1}", card="secret-token") for i in range(4)])
    assert alerts
    assert b"secret-token" not in shipped.snapshot()
    assert not any("secret-token" in alert.to_json() for alert in alerts)


def test_a_damaged_snapshot_is_refused_and_changes_nothing(make, shipped) -> None:
    feed(shipped, *series(make, 0, 10))
    good = shipped.snapshot()
    head, body = good.split(b"\n", 1)
    newer = head.replace(b" 1 ", b" 2 ") + b"\n" + body
    for bad in (b"", b"{}", good[:-1], good.replace(b"p1", b"p2", 1), newer, b"\xff" + good):
        with pytest.raises(Corrupt):
            shipped.restore(bad)
    assert shipped.snapshot() == good


@pytest.mark.parametrize("part", ["scopes", "tallies"])
def test_a_snapshot_that_does_not_fit_is_refused(make, shipped, monkeypatch, part) -> None:
    feed(shipped, *series(make, 0, 10))
    content = json.loads(shipped.snapshot().split(b"\n", 1)[1])
    content[part] = {"default": {"newest": 3}}
    body = json.dumps(content).encode()
    monkeypatch.setattr("alerts.memory._first_line", lambda _: b"head\n")
    with pytest.raises(Corrupt, match="schema"):
        shipped.restore(b"head\n" + body)


def test_a_snapshot_of_other_rules_is_taken(make, book) -> None:
    cards = "per: card\nwhen: {any: [{window: 1h, visits: 2}]}"
    old, new = AlertStage(book(cards, THREE)), AlertStage(book("id: NEW\n" + THREE))
    feed(old, make.sighting(0, card="c"), make.sighting(5, card="c"))
    new.restore(old.snapshot())
    assert ids(feed(new, make.sighting(10))) == ["NEW"]


def test_pictures_too_old_for_any_window_are_forgotten(make, book) -> None:
    stage = AlertStage(book(THREE), lateness=timedelta(hours=2))
    feed(stage, *series(make, *range(0, 6000, 50)))
    assert stage.snapshot().count(b"#0") <= 5
    before = stage.snapshot()
    assert not feed(stage, *series(make, 1, 2, 3))  # later than allowed
    assert stage.snapshot() == before


def test_people_who_stay_away_are_forgotten(make, book) -> None:
    stage = AlertStage(book(THREE), lateness=timedelta(hours=1))
    feed(stage, *[make.sighting(i * 30, f"p{i + 1}") for i in range(40)])
    people = json.loads(stage.snapshot().split(b"\n", 1)[1])["scopes"]["default"]["ledgers"]
    assert len(people) <= 5


def test_an_alerts_number_outlives_its_pictures(make, book) -> None:
    stage = AlertStage(book(THREE), lateness=timedelta(hours=1))
    (first,) = feed(stage, *series(make, 0, 10, 20))
    feed(stage, *[make.sighting(1000 + i * 10, "p2") for i in range(4)])
    (second,) = feed(stage, *series(make, 2000, 2010, 2020))
    assert (first.episode, second.episode) == (1, 2)
    later = EPISODES_KEPT.total_seconds() / 60 + 3000
    feed(stage, *series(make, later, later + 100, later + 200, who="p3"))
    assert b'"R0","p1"' not in stage.snapshot()


def test_a_film_does_not_fill_the_memory(make, book, monkeypatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_PICTURES", 10)
    stage = AlertStage(book(THREE))
    film = [make.sighting(i / 60) for i in range(30)]
    assert not feed(stage, *film)
    assert stage.snapshot().count(b"#0") == 10
    before = stage.snapshot()
    assert not feed(stage, *film)
    assert stage.snapshot() == before


def test_a_backfill_from_long_ago_is_judged_without_harm(make, book) -> None:
    stage = AlertStage(book(THREE), lateness=timedelta(hours=1))
    feed(stage, make.sighting(100_000, "p2"))
    for one in series(make, 0, 10, 20):
        feed(stage, one)


def test_foreign_records_pass_through(make, book) -> None:
    stage = AlertStage(book(THREE))
    alert = feed(stage, *series(make, 0, 10, 20))[0]
    blank = AlertStage(book(THREE))
    before = blank.snapshot()
    assert not feed(blank, Position(offset=1), alert)
    blank.apply(Position(offset=1))
    assert blank.snapshot() == before
    blank.apply(alert)
    assert blank.snapshot() != before
    once = blank.snapshot()
    blank.apply(alert)
    assert blank.snapshot() == once
