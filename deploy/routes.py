"""Which topic takes which record of which role."""

from __future__ import annotations

from alerts.records import Alert
from clustering.records import Sighting
from embedder.records import FaceEmbedding
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.outbox import Route, Routes
from ingest.reasons import UNUSABLE, Reason
from ingest.records import AtmEvent, Record, Rejection


def publisher_route(record: Record) -> Route | None:
    """Events are divided by machine."""
    return Route(EVENTS) if isinstance(record, AtmEvent) else None


def embedder_routes(config: KafkaConfig) -> Routes:
    """Faces, and pictures without one (a counted outcome), by scope; every other rejection is a dead letter."""

    def route(record: Record) -> Route | None:
        if isinstance(record, FaceEmbedding):
            return Route(FACES, config.partition_of(record.event.scope))
        return _rejection(record, FACES, config)

    return route


def clusterer_routes(config: KafkaConfig) -> Routes:
    """Sightings, and the pictures without a face that came along, into the journal."""

    def route(record: Record) -> Route | None:
        if isinstance(record, Sighting):
            return Route(SIGHTINGS, config.partition_of(record.event.scope))
        return _rejection(record, SIGHTINGS, config)

    return route


def alerter_routes(config: KafkaConfig) -> Routes:
    """Alerts; what they were judged from ends here."""

    def route(record: Record) -> Route | None:
        return Route(ALERTS, config.partition_of(record.scope)) if isinstance(record, Alert) else None

    return route


def _rejection(record: Record, outcome_topic: str, config: KafkaConfig) -> Route | None:
    if not isinstance(record, Rejection):
        return None
    if record.reason in UNUSABLE and record.scope is not None:
        return Route(outcome_topic, config.partition_of(record.scope))
    # A camera's or producer's retry is no fault: it was counted, and that is all.
    return None if record.reason is Reason.DUPLICATE_EVENT else Route(DEADLETTER)
