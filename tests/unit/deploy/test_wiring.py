from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.records import Alert
from clustering.records import Sighting
from deploy.settings import load_settings
from deploy.wiring import JOURNALS, Pipeline, TimedOutbox, build_pipeline, linked_card
from ingest.errors import UsageError
from ingest.memory_bus import MemoryOutbox
from ingest.reasons import Reason
from ingest.records import Position, Rejection
from ingest.stage import Delivery

REFUSED = Rejection(reason=Reason.NO_FACE, source="1.jpg", detail="No face.", stage="embedder")


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    built = build_pipeline(load_settings(threads=1, threshold=0.42))
    yield built
    built.close()


def test_each_kind_of_output_has_its_file() -> None:
    expected = {Sighting: "sightings.jsonl", Alert: "alerts.jsonl", Rejection: "rejected.jsonl"}
    assert expected == JOURNALS


def test_the_stages_follow_the_data(pipeline: Pipeline) -> None:
    assert [stage.name for stage in pipeline.chain.stages] == ["embedder", "clusterer", "alerts"]
    assert [stage.name for stage in pipeline.chain.stateful] == ["clusterer", "alerts"]
    assert pipeline.embed.threads == 1
    assert pipeline.card.linking.threshold == 0.42
    assert pipeline.cluster.roster.model_id == pipeline.card.model_id


def test_what_a_stage_does_not_know_goes_through(pipeline: Pipeline) -> None:
    refused = Delivery(REFUSED, Position(offset=0))
    assert pipeline.chain.process([refused]) == [refused]
    seconds = pipeline.stage_seconds(1.5)
    assert (seconds["write"], seconds.keys() >= {"decide", "alerts"}) == (1.5, True)


def test_every_rule_says_what_it_could_do(pipeline: Pipeline) -> None:
    statuses = {status.rule_id: status for status in pipeline.rule_statuses()}
    assert len(statuses) == 11
    assert statuses["COUNT_ONLY"].state == "not asked"


def test_a_threshold_replaces_the_cards(pipeline: Pipeline) -> None:
    plain = linked_card(pipeline.card, load_settings())
    assert plain is pipeline.card
    other = linked_card(pipeline.card, load_settings(threshold=0.9))
    assert other.linking.threshold == 0.9
    assert other.linking.cohort == pipeline.card.linking.cohort


def test_rules_are_read_before_models_are_loaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        build_pipeline(load_settings(rules=tmp_path / "none.yaml", model="none"))


def test_an_outbox_with_a_clock_is_an_outbox() -> None:
    inner = MemoryOutbox()
    outbox = TimedOutbox(inner)
    assert outbox.committed() is None
    outbox.commit([REFUSED], Position(offset=3))
    outbox.commit([REFUSED], Position(offset=4))
    assert outbox.committed() == inner.committed() == Position(offset=4)
    assert list(outbox.journal()) == [REFUSED, REFUSED]
    assert list(outbox.journal(Position(offset=3))) == [REFUSED]
    assert outbox.seconds > 0
    outbox.close()
