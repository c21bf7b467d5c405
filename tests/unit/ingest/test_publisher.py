"""The publisher, with the client library's producer replaced: what is sent, and what each error becomes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from kafka import errors
from kafka.future import Future

from ingest.cloudevents import kind_of
from ingest.errors import AtmwatchError, BadRecord, Superseded, Unavailable, UsageError
from ingest.kafka_bus import client
from ingest.kafka_bus import publisher as module
from ingest.kafka_bus.config import EVENTS, KafkaConfig
from ingest.kafka_bus.outbox import Route
from ingest.kafka_bus.publisher import Publisher, PublisherOptions
from ingest.reasons import Reason
from ingest.records import AtmEvent, Record, Rejection

EVENT = AtmEvent(event_id="e1", atm_id="ATM-1", captured_at=datetime(2026, 3, 1, tzinfo=UTC), image=b"\xff\xd8\xff")
TRACE = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)


class Producer:
    """Takes what is sent; ``made`` is the last one."""

    made: Producer
    unknown: errors.KafkaError | None = None

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sent: list[dict[str, Any]] = []
        self.futures: list[Future] = []
        self.refuse: errors.KafkaError | None = None
        self.closed: float | None = None
        self.known: list[str] = []
        Producer.made = self

    def partitions_for(self, topic: str) -> set[int]:
        self.known.append(topic)
        if Producer.unknown is not None:
            raise Producer.unknown
        return {0}

    def send(self, topic: str, **message: Any) -> Future:
        if self.refuse is not None:
            raise self.refuse
        self.sent.append({"topic": topic, **message})
        self.futures.append(Future())
        return self.futures[-1]

    def close(self, timeout: float) -> None:
        self.closed = timeout


def route(record: Record) -> Route | None:
    return Route(EVENTS) if isinstance(record, AtmEvent) else None


@pytest.fixture(autouse=True)
def _no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "check_login", lambda _: None)
    monkeypatch.setattr(module, "KafkaProducer", Producer)


@pytest.fixture
def publisher() -> Publisher:
    config = KafkaConfig(topic_prefix="mine.", request_timeout_s=5)
    return Publisher(config, route, (EVENTS,), PublisherOptions(delivery_timeout_s=2, silent_s=0.0))


def test_an_event_is_sent_idempotently_to_its_topic(publisher: Publisher) -> None:
    outcomes: list[AtmwatchError | None] = []
    publisher.send(EVENT, outcomes.append, TRACE)
    producer = Producer.made
    assert producer.options["acks"] == "all"
    assert producer.options["enable_idempotence"] is True
    assert producer.options["allow_auto_create_topics"] is False
    assert producer.options["delivery_timeout_ms"] > producer.options["request_timeout_ms"]
    assert producer.known == ["mine.atm.events"]
    (sent,) = producer.sent
    assert (sent["topic"], sent["key"], sent["value"]) == ("mine.atm.events", b"ATM-1", EVENT.image)
    assert ("ce_type", kind_of(AtmEvent).ce_type.encode()) in sent["headers"]
    assert TRACE[0] in sent["headers"]
    assert outcomes == []
    producer.futures[0].success(None)
    assert outcomes == [None]
    assert not publisher.failing
    publisher.check()
    publisher.close()
    assert producer.closed == 5.0


@pytest.mark.parametrize(
    ("error", "kind", "ends"),
    [
        (errors.KafkaTimeoutError(), Unavailable, False),
        (errors.NotLeaderForPartitionError(), Unavailable, False),
        (errors.MessageSizeTooLargeError(), BadRecord, False),
        (errors.InvalidProducerEpochError(), Superseded, True),
        (errors.TopicAuthorizationFailedError(), UsageError, True),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_errors_become_ours(
    publisher: Publisher, error: errors.KafkaError, kind: type[AtmwatchError], ends: bool, at_once: bool
) -> None:
    outcomes: list[AtmwatchError | None] = []
    if at_once:
        Producer.made.refuse = error
        with pytest.raises(kind):
            publisher.send(EVENT, outcomes.append)
        assert outcomes == []
    else:
        publisher.send(EVENT, outcomes.append)
        Producer.made.futures[0].failure(error)
        assert [type(outcome) for outcome in outcomes] == [kind]
    if kind is BadRecord:
        assert not publisher.failing
        publisher.check()
        return
    assert publisher.failing
    with pytest.raises(kind):  # silence is not borne at all here
        publisher.check()
    Producer.made.refuse = None
    publisher.send(EVENT, outcomes.append)
    Producer.made.futures[-1].success(None)
    assert not publisher.failing
    if ends:
        with pytest.raises(kind):
            publisher.check()
    else:
        publisher.check()


def test_what_can_not_be_sent_is_told_before(publisher: Publisher) -> None:
    with pytest.raises(BadRecord):
        publisher.send(EVENT.model_copy(update={"image": b""}), lambda _: None)
    refused = Rejection(reason=Reason.NO_FACE, source="x", detail="x", stage="x")
    with pytest.raises(ValueError, match="Rejection has no topic"):
        publisher.send(refused, lambda _: None)


def test_a_topic_that_is_not_known_is_found_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Producer, "unknown", errors.KafkaTimeoutError())
    with pytest.raises(Unavailable):
        Publisher(KafkaConfig(), route, (EVENTS,))
    assert Producer.made.closed == 0
