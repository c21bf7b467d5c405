"""A role's eyes and ears: metrics, health and logs, fed by what its loop tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import structlog
from prometheus_client import CollectorRegistry

from alerts.rulefile import load_rules
from deploy.health import Health, HealthOptions, HealthServer
from deploy.logs import configure_logging
from deploy.metrics import Dependency, Metrics, Role, Vocabulary
from deploy.settings import Settings, model_folder
from deploy.watch import COMMIT, Watch
from embedder.cards import load_model_card
from ingest.kafka_bus.config import ALERTS, DEADLETTER, EVENTS, FACES, SIGHTINGS
from ingest.kafka_bus.member import Place
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

    def batch_as(name: str) -> Callable[[Progress], None]:
        doing = Role(name)

        def batch(progress: Progress) -> None:
            metrics.events.of(role=doing).inc(progress.inputs)
            metrics.observe(progress.outputs, doing)
            kafka.set(1)

        return batch

    changes = Changes(log)

    def ready() -> None:
        health.heartbeat()
        health.ready()
        kafka.set(1)
        changes.ready()

    def not_ready(reason: str) -> None:
        health.heartbeat()
        health.not_ready(reason)
        changes.trouble(log.info, "not ready", reason)

    def restarted(reason: str) -> None:
        metrics.retries.of(dependency=Dependency.KAFKA).inc()
        kafka.set(0)
        changes.trouble(log.warning, "starting over", reason)

    def depends(dependency: Dependency, up: bool) -> None:
        metrics.dependency_up.of(dependency=dependency).set(up)
        if not up:
            metrics.retries.of(dependency=dependency).inc()

    def spent(step: str, seconds: float) -> None:
        histogram = metrics.commit_seconds if step == COMMIT else metrics.stage_seconds.of(stage=step)
        histogram.observe(seconds)

    def sized(scope: str, templates: int, identities: int) -> None:
        metrics.templates.of(scope=scope).set(templates)
        metrics.identities.of(scope=scope).set(identities)

    def answered(status: int, seconds: float) -> None:
        metrics.requests.of(code=status).inc()
        metrics.gateway_seconds.observe(seconds)

    return Watch(
        turning=health.heartbeat,
        batch=batch_as(role.value),
        batch_as=batch_as,
        ready=ready,
        not_ready=not_ready,
        restarted=restarted,
        depends=depends,
        spent=spent,
        restored=metrics.restore_seconds.set,
        sized=sized,
        lags=Lags(lambda place, lag: metrics.lag.of(topic=place.topic, partition=place.partition).set(lag)),
        view_lags=_ViewLags(metrics),
        sent=lambda outcome: metrics.webhook.of(outcome=outcome).inc(),
        answered=answered,
    )


class Changes:
    """Logs what changes about a role: attempts that fail alike are one line, until it is ready again."""

    def __init__(self, log: structlog.stdlib.BoundLogger) -> None:
        self._log = log
        self._ready = False
        self._reasons: dict[str, str] = {}

    def ready(self) -> None:
        """It works; may be told again and again."""
        if not self._ready:
            self._ready = True
            self._reasons.clear()
            self._log.info("ready")

    def trouble(self, say: Callable[..., object], event: str, reason: str) -> None:
        """It does not, for a reason; ``say`` is the log's method for the event."""
        self._ready = False
        if self._reasons.get(event) != reason:
            self._reasons[event] = reason
            say(event, reason=reason)


class Lags:
    """Shows how far behind each partition is, and forgets those that this process does not hold any more."""

    def __init__(self, show: Callable[[Place, int], None]) -> None:
        self._show = show
        self._shown: frozenset[Place] = frozenset()

    def __call__(self, topic: str, lags: Mapping[Place, int]) -> None:
        for place in self._shown - lags.keys():
            if place.topic == topic:
                self._show(place, 0)
        for place, lag in lags.items():
            self._show(place, lag)
        self._shown = frozenset(place for place in self._shown if place.topic != topic) | lags.keys()


class _ViewLags:
    """A scope's lag is that of its sightings and alerts together."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: dict[Place, int] = {}

    def __call__(self, lags: Mapping[Place, int]) -> None:
        self._known.update(lags)
        for number in {place.partition for place in lags}:
            total = sum(lag for place, lag in self._known.items() if place.partition == number)
            self._metrics.view_lag.of(partition=number).set(total)
