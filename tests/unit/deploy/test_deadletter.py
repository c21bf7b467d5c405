from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.deadletter import DeadLetter, content_digest, origin, plan_of
from ingest.codec import Message
from ingest.kafka_bus.member import Place, Received
from ingest.kafka_bus.republish import REPLAYED, again
from ingest.reasons import Reason
from ingest.records import Position, Rejection


def letter(at: int, partition: str | None = "atm.events/0", offset: int = 0, **more: Any) -> DeadLetter:
    position = None if partition is None else Position(partition=partition, offset=offset)
    known = {"reason": Reason.BAD_RECORD, "source": "x", "detail": "Bad.", "stage": "ingest", "position": position}
    return DeadLetter(Position(partition="atm.deadletter/0", offset=at), Rejection(**(known | more)))


@pytest.mark.parametrize(
    ("partition", "place"),
    [
        ("atm.events/11", Place("atm.events", 11)),
        ("atm.faces/0", Place("atm.faces", 0)),
        ("atm.sightings/0", None),
        ("atm.alerts/0", None),
        ("atm.deadletter/0", None),
        ("replay", None),
        ("atm.events", None),
        ("atm.events/", None),
        ("atm.events/-1", None),
        ("atm.events/²", None),
        ("atm.events/99999999999", None),
        ("elsewhere/0", None),
        (None, None),
    ],
)
def test_only_inputs_may_be_given_in_again(partition: str | None, place: Place | None) -> None:
    assert origin(letter(0, partition).rejection) == place


def test_each_event_is_published_once_by_its_newest_dead_letter() -> None:
    letters = [
        letter(0, "atm.events/1", 5, event_id="e1"),
        letter(1, "atm.events/0", 9),
        letter(2, "atm.events/0", 3, event_id="e2"),
        letter(3, "atm.events/1", 7, event_id="e1"),
        letter(4, "atm.events/0", 9),
        letter(5, "atm.faces/0", 1, event_id="e1"),
        letter(6, None),
    ]
    plan = plan_of(letters)
    assert [found.position.offset for found in plan.originals] == [2, 4, 3, 5]
    assert plan.doubles == 2
    assert [found.position.offset for found in plan.nowhere] == [6]
    assert plan_of([]).originals == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["atm.events/0", "atm.events/1", "atm.faces/0", "atm.alerts/0", None]),
            st.integers(0, 9),
            st.sampled_from([None, "e1", "e2", "e3"]),
        )
    )
)
def test_every_dead_letter_is_accounted_for(drawn: list[tuple[str | None, int, str | None]]) -> None:
    letters = [letter(n, partition, offset, event_id=name) for n, (partition, offset, name) in enumerate(drawn)]
    plan = plan_of(letters)
    assert len(plan.originals) + plan.doubles + len(plan.nowhere) == len(letters)
    assert plan_of(plan.originals).originals == plan.originals
    events = {(origin(found.rejection), found.rejection.event_id) for found in plan.originals}
    named = [found for found in plan.originals if found.rejection.event_id]
    assert len({e for e in events if e[1]}) == len(named)


HEADERS = st.lists(st.tuples(st.sampled_from(["ce_id", "ce_type", "x"]), st.binary(max_size=4)), max_size=3).map(tuple)
MESSAGES = st.builds(Message, st.none() | st.binary(max_size=3), st.none() | st.binary(max_size=4), HEADERS)


@given(MESSAGES, MESSAGES)
def test_the_digest_is_the_contents(one: Message, other: Message) -> None:
    assert (content_digest(one) == content_digest(other)) == (one == other)


@given(MESSAGES)
def test_a_replayed_message_is_the_same_but_for_one_header(message: Message) -> None:
    first = again(Received(Place("atm.events", 3), 17, message))
    second = again(Received(Place("atm.events", 3), 99, first))
    assert content_digest(message) == content_digest(first) == content_digest(second)
    assert (first.key, first.value) == (message.key, message.value)
    assert first.headers == (*message.headers, (REPLAYED, b"atm.events/3@17"))
    assert second.headers == (*message.headers, (REPLAYED, b"atm.events/3@99"))
