"""Which record goes where."""

from __future__ import annotations

from pathlib import Path

import pytest
from crowd import crowd
from verdict import undisturbed

from alerts.records import Alert
from clustering.records import Sighting
from deploy.routes import alerter_routes, clusterer_routes, embedder_routes, publisher_route
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.outbox import Route
from ingest.reasons import UNUSABLE, Reason
from ingest.records import Record, Rejection

CONFIG = KafkaConfig(scopes=("north", "south"))
RULES = Path(__file__).parents[2] / "chaos" / "rules.yaml"
SENT = crowd(60, 3, "south")
MADE = undisturbed(SENT, RULES)
FACE, SIGHTING, ALERT = SENT[0], MADE.journal[0], MADE.alerts[0]


def rejection(reason: Reason, scope: str | None = "south") -> Rejection:
    return Rejection(reason=reason, source="x", detail="-", stage="s", scope=scope)


def test_events_are_divided_by_machine() -> None:
    assert publisher_route(FACE.event) == Route(EVENTS)
    assert publisher_route(FACE) is None


@pytest.mark.parametrize(
    ("role", "record", "route"),
    [
        ("embedder", FACE, Route(FACES, 1)),
        ("clusterer", SIGHTING, Route(SIGHTINGS, 1)),
        ("alerter", ALERT, Route(ALERTS, 1)),
        ("embedder", SIGHTING, None),
        ("clusterer", FACE, None),
        ("alerter", SIGHTING, None),
        ("alerter", rejection(Reason.NO_FACE), None),
    ],
)
def test_a_scope_has_one_partition_everywhere(role: str, record: Record, route: Route | None) -> None:
    assert isinstance(SIGHTING, Sighting)
    assert isinstance(ALERT, Alert)
    routes = {"embedder": embedder_routes, "clusterer": clusterer_routes, "alerter": alerter_routes}
    assert routes[role](CONFIG)(record) == route


@pytest.mark.parametrize("reason", Reason)
def test_rejections_are_outcomes_or_dead_letters_but_duplicates_are_neither(reason: Reason) -> None:
    for routes, topic in ((embedder_routes, FACES), (clusterer_routes, SIGHTINGS)):
        route = routes(CONFIG)(rejection(reason))
        if reason in UNUSABLE:
            assert route == Route(topic, 1)
        else:
            assert route == (None if reason is Reason.DUPLICATE_EVENT else Route(DEADLETTER))


def test_an_outcome_of_no_scope_is_a_dead_letter() -> None:
    assert embedder_routes(CONFIG)(rejection(Reason.NO_FACE, None)) == Route(DEADLETTER)
