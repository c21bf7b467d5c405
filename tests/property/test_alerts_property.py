"""Alerts against a plain oracle, under repetition, lateness and recovery at any cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.records import Alert
from alerts.rulefile import load_rules, parse_rules
from alerts.rules import RuleBook
from alerts.stage import AlertStage
from clustering.records import Decision, Sighting
from embedder.records import Box, Quality
from ingest.reasons import Reason
from ingest.records import AtmEvent, GeoPoint, Position, Record, Rejection
from ingest.stage import Delivery

NOON = datetime(2024, 3, 4, 22, tzinfo=UTC)
GAP = timedelta(minutes=3)
WINDOW = timedelta(minutes=20)
NEED = 3
SHIPPED = load_rules()
QUALITY = Quality(eye_distance_px=60, sharpness=9, brightness=9, contrast=9, yaw=0, detection=1, score=1)
PLACES = {"a1": GeoPoint(lat=60, lon=10), "a2": GeoPoint(lat=60, lon=11), "a3": None}
RULE = """
version: 1
rules:
  - {{id: R, title: t, severity: low, per: identity, cooldown: {cooldown}m, {step}
     when: {{any: [{{window: 20m, {measure}: 3}}]}}}}
"""


def rules(measure: str = "visits", cooldown: int = 0, step: str = "") -> RuleBook:
    return parse_rules(RULE.format(measure=measure, cooldown=cooldown, step=step).encode())


def sighting(n: int, minutes: float, who: int, atm: str, card: str | None, **more: str | None) -> Sighting:
    event = AtmEvent(
        event_id=f"e{n}",
        atm_id=atm,
        captured_at=NOON + timedelta(minutes=minutes),
        card_token=card,
        atm_location=PLACES[atm],
        **more,
    )
    return Sighting(
        face_id=f"e{n}#0",
        identity_id=f"p{who}",
        number=who,
        decision=Decision.JOINED,
        similarity=0.5,
        confidence=0.9,
        visits=1,
        event=event,
        model_id="m",
        vector=b"",
        box=Box(x=0, y=0, width=1, height=1),
        quality=QUALITY,
        position=Position(offset=n),
    )


def dark(n: int, minutes: float, atm: str) -> Rejection:
    at = NOON + timedelta(minutes=minutes)
    return Rejection(
        reason=Reason.NO_FACE, source="s", detail="d", stage="e", event_id=f"e{n}", atm_id=atm, captured_at=at
    )


@st.composite
def histories(draw: st.DrawFn, *, people: int = 3, size: int = 30) -> list[Record]:
    """Sightings in any order, dense enough that the shipped rules find something; some pictures are unusable."""
    found: list[Record] = []
    for n in range(draw(st.integers(0, size))):
        minutes, atm = draw(st.integers(0, 90)), draw(st.sampled_from(["a1", "a1", "a2", "a3"]))
        if draw(st.integers(0, 5)) == 0:
            found.append(dark(n, minutes / 4, "a1"))
            continue
        more = {
            "session_id": draw(st.sampled_from([None, f"s{n}", "s"])),
            "zone": draw(st.sampled_from([None, "Europe/Oslo"])),
            "transaction_type": draw(st.sampled_from([None, "deposit", "withdrawal", "declined", "jam"])),
        }
        card = draw(st.sampled_from([None, "c1", "c2", "c3", "c4", "c5"]))
        found.append(sighting(n, minutes, draw(st.integers(1, people)), atm, card, **more))
    return found


def run(stage: AlertStage, records: list[Record], batch: int = 1) -> list[Record]:
    """All that comes out, in order."""
    out: list[Record] = []
    for i in range(0, len(records), batch):
        inputs = [Delivery(record, Position(offset=i + j)) for j, record in enumerate(records[i : i + batch])]
        out += [delivery.record for delivery in stage.process(inputs)]
    return out


def alerts_of(records: list[Record]) -> list[Alert]:
    return [record for record in records if isinstance(record, Alert)]


def measured(seen: list[Sighting], measure: str) -> int:
    """What one person did, counted pair by pair and set by set."""
    if measure == "distinct_atms":
        return len({one.event.atm_id for one in seen})
    if measure == "distinct_cards":
        return len({one.event.card_token for one in seen if one.event.card_token})
    group = {one.face_id: {one.face_id} for one in seen}
    for a, b in combinations(seen, 2):
        x, y = a.event, b.event
        near = x.session_id is not None or abs(x.captured_at - y.captured_at) < GAP
        if (x.atm_id, x.session_id) == (y.atm_id, y.session_id) and near:
            merged = group[a.face_id] | group[b.face_id]
            for name in merged:
                group[name] = merged
    return len({frozenset(names) for names in group.values()})


def window(seen: list[Sighting], end: datetime, *, before: bool = False) -> list[Sighting]:
    def inside(at: datetime) -> bool:
        return end - WINDOW <= at < end if before else end - WINDOW < at <= end

    return [one for one in seen if inside(one.event.captured_at)]


MEASURES = st.sampled_from(["visits", "distinct_atms", "distinct_cards"])


@settings(max_examples=60, deadline=None)
@given(histories(people=1), MEASURES, st.integers(0, 60))
def test_in_time_the_alerts_are_the_oracles(history: list[Record], measure: str, cooldown: int) -> None:
    """No alert without a crossing, and every crossing is alerted once."""
    seen = sorted((r for r in history if isinstance(r, Sighting)), key=lambda s: s.event.captured_at)
    expected: list[tuple[datetime, int]] = []
    rearmed = False
    for i, one in enumerate(seen):
        at = one.event.captured_at
        if expected and at > expected[-1][0]:
            rearmed |= measured(window(seen[:i], at, before=True), measure) < NEED
        value = measured(window(seen[: i + 1], at), measure)
        cool = not expected or (rearmed and at - expected[-1][0] >= timedelta(minutes=cooldown))
        if value >= NEED and cool:
            expected.append((at, value))
            rearmed = False
    alerts = alerts_of(run(AlertStage(rules(measure, cooldown), GAP), list(seen)))
    assert [(alert.raised_at, next(iter(alert.measured.values()))) for alert in alerts] == expected
    assert [alert.episode for alert in alerts] == list(range(1, len(alerts) + 1))


@settings(max_examples=60, deadline=None)
@given(histories(), MEASURES, st.sampled_from(["", "reopen_step: 1,"]))
def test_late_or_not_what_an_alert_measured_is_true(history: list[Record], measure: str, step: str) -> None:
    stage = AlertStage(rules(measure, 30, step), GAP)
    seen: list[Sighting] = []
    spoken: set[str] = set()
    for record in history:
        if isinstance(record, Sighting):
            seen.append(record)
        alerts = alerts_of(run(stage, [record]))
        for alert in alerts:
            own = [one for one in seen if one.identity_id == alert.identity_id]
            inside = window(own, alert.raised_at)
            assert alert.measured == {f"{measure}_20m": measured(inside, measure)}
            assert min(alert.measured.values()) >= NEED
            assert {e.event_id for e in alert.evidence} == {one.event.event_id for one in inside}
            assert record in inside
            assert alert.alert_id not in spoken
            spoken.add(alert.alert_id)
        for person in {one.identity_id for one in seen}:  # whoever crossed was spoken of
            own = [one for one in seen if one.identity_id == person]
            crossed = any(measured(window(own, one.event.captured_at), measure) >= NEED for one in own)
            assert crossed <= any(person == key for _, key in stage._memory.scope("default").episodes)


@settings(max_examples=25, deadline=None)
@given(histories(), st.data())
def test_repeated_deliveries_raise_the_same_alerts(history: list[Record], data: st.DataObject) -> None:
    once, twice = AlertStage(SHIPPED, GAP), AlertStage(SHIPPED, GAP)
    repeated: list[Record] = []
    for i, record in enumerate(history):
        repeated += [record, *data.draw(st.lists(st.sampled_from(history[: i + 1]), max_size=2))]
    key = [alert.alert_id for alert in alerts_of(run(once, history))]
    assert [alert.alert_id for alert in alerts_of(run(twice, repeated))] == key
    assert twice.snapshot() == once.snapshot()
    assert twice.report() == once.report()


@settings(max_examples=25, deadline=None)
@given(histories(), st.integers(1, 7), st.data())
def test_state_is_a_fold_over_the_journal_at_any_cut(history: list[Record], batch: int, data: st.DataObject) -> None:
    live = AlertStage(SHIPPED, GAP)
    journal: list[Record] = []
    cuts = {0: live.snapshot()}
    for i in range(0, len(history), batch):
        journal += run(live, history[i : i + batch], batch)
        cuts[len(journal)] = live.snapshot()
    written = [type(record).model_validate_json(record.to_json()) for record in journal]

    cut = data.draw(st.sampled_from(sorted(cuts)))
    replayed = AlertStage(SHIPPED, GAP)
    for record in written[:cut]:
        replayed.apply(record)
    assert replayed.snapshot() == cuts[cut]

    anywhere = data.draw(st.integers(0, len(written)))  # even between a sighting and its alert
    early = AlertStage(SHIPPED, GAP)
    for record in written[:anywhere]:
        early.apply(record)
    restored = AlertStage(SHIPPED, GAP)
    restored.restore(early.snapshot())
    for record in written[anywhere:]:
        restored.apply(record)
        restored.apply(record)
    assert restored.snapshot() == live.snapshot()
    assert restored.report() == live.report()


@settings(max_examples=25, deadline=None)
@given(histories(), st.integers(1, 9))
def test_batches_change_nothing(history: list[Record], batch: int) -> None:
    one, many = AlertStage(SHIPPED, GAP), AlertStage(SHIPPED, GAP)
    ids = [alert.alert_id for alert in alerts_of(run(one, history))]
    assert [alert.alert_id for alert in alerts_of(run(many, history, batch))] == ids
    assert one.snapshot() == many.snapshot()
