"""What Prometheus scrapes: every metric of every role, in one place, with labels from closed sets.

Names have the prefix ``atmwatch_``, base units, and ``_total`` for counters.  A label's values come from sets that
are known when a role starts; anything else shows as ``other``, so that no identity, card or event id can get into a
label by mistake, and no stranger can make series without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

from alerts.records import Alert, Severity
from alerts.webhook import Outcome
from clustering.records import Decision, Sighting
from ingest.reasons import UNUSABLE, Reason
from ingest.records import Record, Rejection

OTHER = "other"
"""What a label shows in place of a value that is not in its set."""

FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of a batch's stages, and of requests: a millisecond to ten seconds."""

COMMIT_S = (0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
"""Buckets of commits, close to each other where an alert's 150 ms are decided."""

MAX_PARTITIONS = 1024
NOT_DEAD = UNUSABLE | {Reason.DUPLICATE_EVENT}
"""Rejections that are no dead letters: an outcome that is counted, and an event that was counted before."""


class Role(StrEnum):
    """What a process does."""

    EMBEDDER = "embedder"
    CLUSTERER = "clusterer"
    ALERTER = "alerter"
    VIEW = "view"
    NOTIFIER = "notifier"
    GATEWAY = "gateway"
    ALL = "all"


class Dependency(StrEnum):
    """What a role needs, and can be without for a while."""

    KAFKA = "kafka"
    REDIS = "redis"
    OBJECT_STORE = "object_store"
    WEBHOOK = "webhook"


STAGES = frozenset(
    {
        *("embedder", "clusterer", "alerts"),
        *(
            "fetch",
            "decode",
            "detect",
            "align",
            "embed",
            "decide",
            "apply",
            "poll",
            "write",
            "snapshot",
            "view",
            "sink",
        ),
    }
)
"""The steps whose seconds are measured: stages by their names, and the parts of their work."""

Wrapped = TypeVar("Wrapped", bound=MetricWrapperBase)


class Family(Generic[Wrapped]):
    """One metric with labels.  Safe to use from several threads."""

    def __init__(self, metric: Wrapped, allowed: Mapping[str, Iterable[str]]) -> None:
        self._metric = metric
        self._allowed = {name: frozenset(values) for name, values in allowed.items()}

    def of(self, **labels: str | int) -> Wrapped:
        """The series with these ``labels``, which must be all of the metric's.  Raises ``ValueError``."""
        if labels.keys() != self._allowed.keys():
            message = f"the labels are {', '.join(self._allowed)}"
            raise ValueError(message)
        shown = {name: str(labels[name]) for name in self._allowed}
        return self._metric.labels(**{n: v if v in self._allowed[n] else OTHER for n, v in shown.items()})


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the values of labels may be that depend on the installation.

    ``rules`` are the ids of the rules file, ``models`` the ids of the models that are loaded.
    """

    scopes: Sequence[str] = ("default",)
    topics: Sequence[str] = ()
    rules: Sequence[str] = ()
    version: str = ""
    models: Sequence[str] = ()


class Metrics:
    """All metrics, registered in ``registry``, which must not hold them yet.  Safe to use from several threads.

    ``role`` is this process's: what passes through several roles is counted by the one that makes it.
    """

    def __init__(self, registry: CollectorRegistry, role: Role, words: Vocabulary | None = None) -> None:
        words = words or Vocabulary()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter, read by nobody
        self.registry = registry
        self.role = role
        scopes, topics = words.scopes, words.topics
        partitions = [str(number) for number in range(MAX_PARTITIONS)]
        codes = [str(code) for code in range(100, 600)]

        def counter(name: str, text: str, **allowed: Iterable[str]) -> Family[Counter]:
            return Family(Counter(f"atmwatch_{name}", text, tuple(allowed), registry=registry), allowed)

        def gauge(name: str, text: str, **allowed: Iterable[str]) -> Family[Gauge]:
            return Family(Gauge(f"atmwatch_{name}", text, tuple(allowed), registry=registry), allowed)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"atmwatch_{name}", text, buckets=buckets, registry=registry)

        self.events = counter("events_total", "Inputs committed.", role=Role)
        self.rejects = counter(
            "rejects_total", "Inputs refused, but for pictures without a usable face.", reason=Reason
        )
        self.unusable = counter("unusable_pictures_total", "Pictures without a usable face.", reason=UNUSABLE)
        self.dead_letters = counter("dead_letters_total", "Records sent to the dead letters.", reason=Reason)
        self.decisions = counter("decisions_total", "Faces assigned to an identity.", kind=Decision)
        self.alerts = counter("alerts_total", "Alerts raised.", rule=words.rules, severity=Severity)
        self.retries = counter("retries_total", "Tries that a dependency failed.", dependency=Dependency)
        self.rebalances = Counter("atmwatch_rebalances_total", "Changes of the partitions held.", registry=registry)
        self.webhook = counter("webhook_deliveries_total", "Tries to deliver an alert by HTTP.", outcome=Outcome)
        self.requests = counter("gateway_requests_total", "Requests answered by the gateway.", code=codes)
        self.lag = gauge("lag_records", "Records not yet read.", topic=topics, partition=partitions)
        self.view_lag = gauge("view_lag_records", "Records of the journal not yet in the view.", partition=partitions)
        self.templates = gauge("index_templates", "Templates in the index.", scope=scopes)
        self.identities = gauge("identities", "Unknown people known by number.", scope=scopes)
        self.dependency_up = gauge("dependency_up", "Whether a dependency answers.", dependency=Dependency)
        self.restore_seconds = Gauge(
            "atmwatch_restore_seconds", "Seconds that the last restore took.", registry=registry
        )
        self.stage_seconds = Family(
            Histogram("atmwatch_stage_seconds", "Seconds of a batch.", ("stage",), buckets=FAST_S, registry=registry),
            {"stage": STAGES},
        )
        self.commit_seconds = histogram("commit_seconds", "Seconds of a commit.", COMMIT_S)
        self.gateway_seconds = histogram("gateway_seconds", "Seconds from request to answer.", FAST_S)
        about = gauge("build_info", "What runs here; always 1.", version=(words.version,), model_id=("", *words.models))
        for model_id in words.models or ("",):
            about.of(version=words.version, model_id=model_id).set(1)

    def observe(self, outputs: Iterable[Record], role: Role | None = None) -> None:
        """Count the records that a batch gave, as far as ``role``, this process's without it, makes them."""
        does = role or self.role
        embeds, decides, raises = (does in (one, Role.ALL) for one in (Role.EMBEDDER, Role.CLUSTERER, Role.ALERTER))
        for record in outputs:
            if isinstance(record, Sighting):
                if decides:
                    self.decisions.of(kind=record.decision).inc()
            elif isinstance(record, Alert):
                if raises:
                    self.alerts.of(rule=record.rule_id, severity=record.severity).inc()
            elif isinstance(record, Rejection):
                self._reject(record.reason, embeds=embeds)

    def _reject(self, reason: Reason, *, embeds: bool) -> None:
        if reason in UNUSABLE:  # passed on as far as the view, so that each role would count it
            if embeds:
                self.unusable.of(reason=reason).inc()
            return
        self.rejects.of(reason=reason).inc()
        if reason not in NOT_DEAD:
            self.dead_letters.of(reason=reason).inc()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure the seconds of a ``stage``, failed or not."""
        start = perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.of(stage=stage).observe(perf_counter() - start)
