"""What every store of the view owes its writer and its readers: in memory and in Redis, on any journal."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.records import Queue, Severity
from alerts.redis_view import Client, RedisOptions, RedisView, connect
from alerts.view import Change, OpenAlert, Order, Raised, Seen, Unusable, ViewLost, ViewStore
from alerts.view_fold import ViewOptions
from alerts.view_memory import MemoryView
from clustering.visits import Frame, fold
from ingest.reasons import UNUSABLE

pytest_plugins = ["servers.plugin"]

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
OPTIONS = ViewOptions(visits_kept=4, alerts_kept=3)
PARTITION, OTHER = "atm.sightings-0", "atm.alerts-0"
ATMS = ["a1", "a2", "ä 3"]
PEOPLE = {"p1": 1, "p2": 2, "pö": 3}
Make = Callable[[], ViewStore]


@pytest.fixture(scope="session")
def client(redis_url: str) -> Client:
    return connect(redis_url)


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes stores of the kind, each of a scope of its own."""
    if request.param == "memory":
        return lambda: MemoryView(OPTIONS)
    client = request.getfixturevalue("client")
    options = RedisOptions(prefix=f"contract-{uuid.uuid4().hex}", view=OPTIONS)
    return lambda: RedisView(client, f"s}} {uuid.uuid4().hex}", options)


@pytest.fixture
def store(make: Make) -> ViewStore:
    return make()


def seen(offset: int, minutes: float = 0, who: str = "p1", atm: str = "a1", **more: str | int | None) -> Seen:
    card = more.get("card")
    return Seen(
        offset,
        who,
        PEOPLE[who],
        int(more.get("visits") or 1),
        atm,
        NOON + timedelta(minutes=minutes),
        None if more.get("session") is None else str(more["session"]),
        f"e{offset}",
        f"atm {who} {atm}",
        None if card is None else f"card {who} {card}",
    )


def raised(offset: int, rule: str = "R1", subject: str = "p1", episode: int = 1, minutes: float = 0) -> Raised:
    at = NOON + timedelta(minutes=minutes)
    alert = OpenAlert(
        alert_id=f"alert {rule} {subject} {episode}",
        rule_id=rule,
        title="Often seen",
        severity=Severity.HIGH if episode % 2 else Severity.LOW,
        queue=Queue.FRAUD,
        subject=subject,
        episode=episode,
        identity_id=subject,
        number=1,
        raised_at=at,
        window_start=at,
        measured={"visits_24h": 3.0},
        limits={"visits_24h": 3.0},
        confidence=0.9,
        pictures=3,
    )
    return Raised(offset, alert)


def everything(store: ViewStore) -> dict[str, object]:
    """All that a reader can see."""
    return {
        "published": store.published(),
        "positions": [store.position(PARTITION), store.position(OTHER)],
        "totals": store.totals(),
        "usages": [store.usages(order, 100) for order in Order],
        "pages": [store.usages(Order.VISITS, 1, offset) for offset in range(3)],
        "usage": [store.usage(who) for who in PEOPLE],
        "visits": [store.visits(who) for who in PEOPLE],
        "recent": [store.recent_visits(limit) for limit in (1, 3, 100)],
        "alerts": [store.alerts(limit) for limit in (0, 1, 100)],
        "atms": [store.atms(100), store.atms(2, 1), store.atms(0), [store.atm(atm) for atm in ATMS]],
    }


def test_a_new_one_is_empty(store: ViewStore) -> None:
    assert not store.published()
    assert store.position(PARTITION) is None
    assert store.totals().pictures == 0
    assert store.usage("p1") is None
    assert store.atm("a1") is None
    everything_else = [store.usages(Order.VISITS, 5), store.visits("p1"), store.recent_visits(5), store.alerts(5)]
    assert everything_else == [[], [], [], []]
    assert store.atms(5) == []


def test_what_was_seen_can_be_read(store: ViewStore) -> None:
    changes: list[Change] = [
        seen(3, 0, card="c1"),
        seen(4, 1, card="c1"),
        Unusable(6, sorted(UNUSABLE)[0], "a1", NOON + timedelta(minutes=9)),
        Unusable(7, sorted(UNUSABLE)[0], None, None),
        seen(8, 60, atm="a2", card="c2", visits=2),
        seen(9, 30, "p2"),
    ]
    store.apply(PARTITION, 12, changes, after=None)
    assert store.position(PARTITION) == 12
    usage = store.usage("p1")
    assert usage is not None
    assert (usage.number, usage.visits, usage.pictures, usage.atms, usage.cards) == (1, 2, 3, 2, 2)
    assert (usage.first_seen, usage.last_seen) == (NOON, NOON + timedelta(minutes=60))
    assert [u.identity_id for u in store.usages(Order.VISITS, 9)] == ["p1", "p2"]
    assert [(v.atm_id, v.pictures, v.event_id) for v in store.visits("p1")] == [("a2", 1, "e8"), ("a1", 2, "e4")]
    assert [(v.identity_id, v.atm_id) for v in store.recent_visits(2)] == [("p1", "a2"), ("p2", "a1")]
    health = store.atm("a1")
    assert health is not None
    assert (health.pictures, health.accepted, sum(health.unusable.values())) == (4, 3, 1)
    assert health.last_picture == NOON + timedelta(minutes=30)
    totals = store.totals()
    assert (totals.pictures, totals.accepted, totals.identities, totals.visits) == (6, 4, 2, 3)
    assert totals.unusable == {sorted(UNUSABLE)[0]: 2}


def test_the_last_alert_of_each_rule_and_subject_stays_and_the_newest_of_them(store: ViewStore) -> None:
    alerts = [
        raised(0, "R1", "p1", 1, minutes=1),
        raised(1, "R1", "p1", 2, minutes=5),
        raised(2, "R1", "p1", 1, minutes=9),  # not news
        raised(3, "R2", "p1", 1, minutes=2),
        raised(4, "R2", "p2", 1, minutes=3),
        raised(5, "R3", "p2", 1, minutes=4),
    ]
    store.apply(OTHER, 5, alerts, after=None)
    kept = [(alert.rule_id, alert.subject, alert.episode) for alert in store.alerts(9)]
    assert kept == [("R1", "p1", 2), ("R3", "p2", 1), ("R2", "p2", 1)]
    assert store.totals().alerts == 5
    assert store.totals().severities == {Severity.HIGH: 4, Severity.LOW: 1}


def test_a_stretch_that_comes_again_changes_nothing(store: ViewStore) -> None:
    store.apply(PARTITION, 5, [seen(1), seen(5, 1)], after=None)
    before = everything(store)
    store.apply(PARTITION, 5, [seen(1), seen(5, 1)], after=None)
    store.apply(PARTITION, 3, [seen(1)], after=0)
    assert everything(store) == before
    store.apply(PARTITION, 8, [seen(1), seen(5, 1), seen(7, 2)], after=None)
    assert store.totals().pictures == 3


def test_positions_are_of_their_partition(store: ViewStore) -> None:
    store.apply(PARTITION, 5, [seen(5)], after=None)
    store.apply(OTHER, 2, [raised(2)], after=None)
    assert (store.position(PARTITION), store.position(OTHER)) == (5, 2)
    assert store.totals().pictures == store.totals().alerts == 1


def test_a_stretch_without_changes_moves_the_position(store: ViewStore) -> None:
    store.apply(PARTITION, 5, [], after=None)
    assert store.position(PARTITION) == 5
    assert store.published()


def test_a_gap_is_refused(store: ViewStore) -> None:
    with pytest.raises(ViewLost):
        store.apply(PARTITION, 9, [seen(9)], after=4)
    assert not store.published()
    store.apply(PARTITION, 3, [seen(3)], after=None)
    before = everything(store)
    with pytest.raises(ViewLost):
        store.apply(PARTITION, 9, [seen(9)], after=4)
    assert everything(store) == before


def test_clearing_forgets_everything(store: ViewStore, make: Make) -> None:
    store.apply(PARTITION, 3, [seen(3)], after=None)
    draft = store.draft()
    store.clear()
    assert everything(store) == everything(make())
    with pytest.raises(ViewLost):
        draft.publish()
    store.clear()


def test_a_draft_is_not_seen_before_it_is_published(store: ViewStore) -> None:
    store.apply(PARTITION, 9, [seen(3, who="p1")], after=None)
    before = everything(store)
    draft = store.draft()
    assert draft.position(PARTITION) is None
    draft.apply(PARTITION, 3, [seen(3, who="p2")], after=None)
    draft.apply(PARTITION, 3, [seen(3, who="p2")], after=None)
    draft.apply(PARTITION, 4, [seen(4, who="p2")], after=3)
    with pytest.raises(ViewLost):
        draft.apply(PARTITION, 9, [seen(9)], after=8)
    assert everything(store) == before
    draft.publish()
    assert store.position(PARTITION) == 4
    assert [usage.identity_id for usage in store.usages(Order.VISITS, 9)] == ["p2"]
    assert store.totals().pictures == 2
    store.apply(PARTITION, 5, [seen(5)], after=4)
    assert store.totals().pictures == 3


def test_an_empty_draft_is_a_view_too(store: ViewStore) -> None:
    store.draft().publish()
    assert store.published()
    assert store.position(PARTITION) is None
    store.apply(PARTITION, 0, [seen(0)], after=None)
    assert store.totals().pictures == 1


def test_a_writer_whose_view_was_replaced_by_an_older_one_is_told(store: ViewStore) -> None:
    store.apply(PARTITION, 9, [seen(9)], after=None)
    draft = store.draft()
    draft.apply(PARTITION, 4, [seen(4)], after=None)
    draft.publish()
    with pytest.raises(ViewLost):
        store.apply(PARTITION, 10, [seen(10)], after=9)


STEPS = st.tuples(
    st.sampled_from(list(PEOPLE)),
    st.sampled_from(ATMS),
    st.floats(0, 30).map(lambda minutes: round(minutes, 1)),
    st.sampled_from([None, None, "s1", "s2"]),
    st.sampled_from([None, "c1", "c2"]),
)
JOURNALS = st.lists(
    st.one_of(
        STEPS.map(lambda s: seen(0, s[2], s[0], s[1], session=s[3], card=s[4], visits=1 + len(s[1]))),
        st.builds(
            Unusable,
            st.just(0),
            st.sampled_from(sorted(UNUSABLE)),
            st.sampled_from([None, *ATMS]),
            st.none() | st.floats(0, 30).map(lambda minutes: NOON + timedelta(minutes=round(minutes, 1))),
        ),
        st.builds(
            raised,
            st.just(0),
            st.sampled_from(["R1", "R2"]),
            st.sampled_from(list(PEOPLE)),
            st.integers(1, 3),
            st.integers(0, 9),
        ),
        st.none(),
    ),
    max_size=14,
)


def at_offsets(steps: list[Change | None], gaps: list[int]) -> list[tuple[int, Change | None]]:
    offset, journal = 0, []
    for step, gap in zip(steps, gaps, strict=True):
        offset += gap
        journal.append((offset, step and type(step)(offset, *(getattr(step, n) for n in type(step).__slots__[1:]))))
    return journal


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=JOURNALS, data=st.data())
def test_any_journal_in_any_stretches_gives_the_same_view(make: Make, steps: list[Change], data: st.DataObject) -> None:
    journal = at_offsets(list(steps), data.draw(st.lists(st.integers(1, 3), min_size=len(steps), max_size=len(steps))))
    store, oracle = make(), MemoryView(OPTIONS)
    for offset, change in journal:
        oracle.apply(PARTITION, offset, [change] if change else [], after=oracle.position(PARTITION))
    draft = store.draft() if data.draw(st.booleans()) else None
    target = draft or store
    done = 0
    while done < len(journal):  # a stretch begins at or before what is done, as after a crash
        start = data.draw(st.integers(0, done))
        end = data.draw(st.integers(start + 1, len(journal)))
        stretch = journal[start:end]
        after = journal[start - 1][0] if start else None
        target.apply(PARTITION, stretch[-1][0], [change for _, change in stretch if change], after=after)
        done = max(done, end)
    if draft:
        draft.publish()
    if journal:
        assert everything(store) == everything(oracle)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
def test_the_visits_kept_are_those_that_clustering_counts(
    steps: list[tuple[str, str, float, str | None, str | None]],
) -> None:
    view = MemoryView(ViewOptions(visits_kept=50))
    frames = []
    for offset, (_, atm, minutes, session, _) in enumerate(steps):
        view.apply(PARTITION, offset, [seen(offset, minutes, "p1", atm, session=session)], after=None)
        frames.append(Frame(f"e{offset}#0", atm, NOON + timedelta(minutes=minutes), session))
    expected = {(v.atm_id, v.session_id, v.start, v.end, len(v.frames)) for v in fold(frames)}
    assert {(v.atm_id, v.session_id, v.start, v.end, v.pictures) for v in view.visits("p1")} == expected
