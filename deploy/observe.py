"""A role's eyes and ears: metrics, health and logs, fed by what its loop tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import structlog
from prometheus_client import CollectorRegistry

from alerts.rulefile import load_rules
from deploy.health import Health, HealthOptions, HealthServer
from deploy.logs import configure_logging
from deploy.metrics import Dependency, Metrics, Role, Vocabulary
from deploy.roles import Watch
from deploy.settings import Settings, model_folder
from embedder.cards import load_model_card
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS
from ingest.worker import Progress


@contextmanager
def observed(role: Role, settings: Settings) -> Iterator[Watch]:
    """Logs, metrics and the HTTP port with /livez, /readyz and /metrics, for as long as the role runs."""
    configure_logging(settings.log.level, role=role.value)
    log = structlog.get_logger("atmwatch")
    card = load_model_card(model_folder(settings.model))
    words = Vocabulary(
        scopes=settings.kafka.scopes,
        topics=(EVENTS, FACES, SIGHTINGS, ALERTS, DEADLETTER),
        rules=[rule.id for rule in load_rules(settings.rules).rules],
        version=version("atmwatch"),
        models=(card.model_id,),
    )
    metrics = Metrics(CollectorRegistry(), role, words)
    health = Health(settings.http.patience_s)
    server = HealthServer(health, metrics.registry, HealthOptions(settings.http.host, settings.http.port))
    log.info("started", port=server.port, model_id=card.model_id)
    try:
        yield _watch(role, metrics, health, log)
    finally:
        log.info("stopped")
        server.close()


def _watch(role: Role, metrics: Metrics, health: Health, log: structlog.stdlib.BoundLogger) -> Watch:
    kafka = metrics.dependency_up.of(dependency=Dependency.KAFKA)

    def batch(progress: Progress) -> None:
        metrics.events.of(role=role).inc(progress.inputs)
        metrics.observe(progress.outputs)
        kafka.set(1)

    def ready() -> None:
        health.heartbeat()
        health.ready()
        kafka.set(1)

    def not_ready(reason: str) -> None:
        health.heartbeat()
        health.not_ready(reason)
        log.info("not ready", reason=reason)

    def restarted(reason: str) -> None:
        metrics.retries.of(dependency=Dependency.KAFKA).inc()
        kafka.set(0)
        log.warning("starting over", reason=reason)

    return Watch(health.heartbeat, batch, ready, not_ready, restarted)
