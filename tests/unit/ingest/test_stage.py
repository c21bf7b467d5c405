from __future__ import annotations

from collections.abc import Sequence

import pytest
from toys import Counted, Milestone, Punch, Tally

from ingest.errors import Unavailable
from ingest.records import Position
from ingest.stage import Chain, Delivery, Stage, Stateful, stateful_in


class Renamer:
    def __init__(self, name: str, suffix: str) -> None:
        self.name = name
        self.suffix = suffix

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        return [
            Delivery(d.record.model_copy(update={"badge": d.record.badge + self.suffix}), d.position)
            if isinstance(d.record, Punch)
            else d
            for d in batch
        ]


class Absent:
    name = "absent"

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        what = f"{self.name} for {len(batch)} records,"
        raise Unavailable(what)


BATCH = [Delivery(Punch(key=f"k{n}", badge="b"), Position(offset=n)) for n in range(3)]


def test_a_chain_is_a_stage_and_hands_on_in_order() -> None:
    inner: Stage = Chain(Renamer("one", "1"), Renamer("two", "2"))
    chain = Chain(inner, Tally())
    records = [delivery.record for delivery in chain.process(BATCH)]
    assert [type(record) for record in records] == [Counted, Counted, Counted, Milestone]
    assert {record.badge for record in records if isinstance(record, Counted)} == {"b12"}
    assert [delivery.position for delivery in chain.process([])] == []


def test_a_chain_changes_no_batch_and_keeps_the_time() -> None:
    chain = Chain(Renamer("one", "1"), Tally())
    batch = list(BATCH)
    chain.process(batch)
    assert batch == BATCH
    assert chain.seconds.keys() == {"one", "tally"}
    assert all(seconds > 0 for seconds in chain.seconds.values())


def test_the_stages_with_a_memory_are_found_at_any_depth() -> None:
    first, second = Tally("first"), Tally("second")
    chain = Chain(first, Chain(Renamer("one", "1"), Chain(second)))
    assert chain.stateful == [first, second]
    assert stateful_in(first) == [first]
    assert stateful_in(Renamer("one", "1")) == []
    assert isinstance(first, Stateful)


def test_unavailable_before_any_memory_changed_can_be_tried_again() -> None:
    with pytest.raises(Unavailable):
        Chain(Renamer("one", "1"), Absent(), Tally()).process(BATCH)


def test_unavailable_after_a_memory_changed_is_the_end() -> None:
    with pytest.raises(RuntimeError, match="absent gave up"):
        Chain(Chain(Tally()), Absent()).process(BATCH)


def test_a_chain_foresees_through_the_stages_that_can() -> None:
    class Prophet(Tally):
        foreseen: Sequence[Delivery] = ()

        def foresee(self, batch: Sequence[Delivery]) -> None:
            self.foreseen = batch

    prophet = Prophet()
    Chain(Renamer("one", "1"), Chain(prophet)).foresee(BATCH)
    assert prophet.foreseen is BATCH
