"""The composition root: the one place that knows how the parts fit together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from alerts.records import Alert
from alerts.rulefile import load_rules
from alerts.stage import AlertStage
from clustering.records import Sighting
from clustering.stage import ClusterStage
from deploy.settings import Settings, model_folder
from deploy.summary import RuleStatus
from embedder.cards import ModelCard
from embedder.detect import Detector
from embedder.embed import Embedder
from embedder.landmarks import Landmarker
from embedder.onnx_model import OnnxModel
from embedder.quality import GateOptions
from embedder.signs import SignReader
from embedder.stage import EmbedOptions, EmbedStage
from ingest.bus import Outbox
from ingest.records import Position, Record, Rejection
from ingest.stage import Chain

JOURNALS: dict[type[Record], str] = {
    Sighting: "sightings.jsonl",
    Alert: "alerts.jsonl",
    Rejection: "rejected.jsonl",
}
"""Which file of an output folder takes which records."""
READ_AHEAD = 8
"""Commits' worth of inputs read at a time: while there is a backlog, all but the first are prepared meanwhile."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of the embedded mode, and the chain that they form."""

    embed: EmbedStage
    cluster: ClusterStage
    alerts: AlertStage
    chain: Chain
    card: ModelCard

    def stage_seconds(self, written: float) -> dict[str, float]:
        """Seconds by step, those of the embedder summed over its threads; ``written`` is the outbox's share."""
        return {
            **dict(self.embed.embedder.clock.seconds),
            "decide": self.chain.seconds[self.cluster.name],
            "alerts": self.chain.seconds[self.alerts.name],
            "write": written,
        }

    def rule_statuses(self) -> list[RuleStatus]:
        """What each rule could do, for the summary."""
        return [
            RuleStatus(
                rule_id=report.rule_id,
                title=report.title,
                enabled=report.enabled,
                alerts=report.alerts,
                evaluated=report.evaluated,
                not_evaluable=report.not_evaluable,
                missing=tuple(report.missing),
            )
            for report in self.alerts.report()
        ]

    def close(self) -> None:
        """Let go of the embedder's threads."""
        self.embed.close()


def build_embedder(settings: Settings, detector: Detector | None = None) -> Embedder:
    """The embedder with the models that the settings name, loaded and checked; with ``detector``, if one is given."""
    model = OnnxModel(model_folder(settings.model))
    detector = detector or Detector(model_folder(settings.detector))
    reader = SignReader(model_folder(settings.wear_model), model_folder(settings.eyes_model))
    placer = Landmarker(model_folder(model.card.landmarks)) if model.card.landmarks else None
    return Embedder(detector, model, GateOptions(eye_distance=settings.min_eye_distance), reader, placer)


def linked_card(card: ModelCard, settings: Settings) -> ModelCard:
    """The model's card, with the settings' threshold where they have one."""
    if settings.threshold is None:
        return card
    return card.model_copy(update={"linking": card.linking.model_copy(update={"threshold": settings.threshold})})


def build_pipeline(settings: Settings) -> Pipeline:
    """The embedded pipeline.  Raises ``UsageError`` for a rules file or model that can't be used."""
    rules = load_rules(settings.rules)
    embedder = build_embedder(settings)
    card = linked_card(embedder.model.card, settings)
    embed = EmbedStage(embedder, EmbedOptions(settings.threads, settings.limits))
    cluster = ClusterStage(card, settings.policy)
    alerts = AlertStage(rules, settings.policy.visit_gap)
    return Pipeline(embed, cluster, alerts, Chain(embed, cluster, alerts), card)


class TimedOutbox:
    """An outbox that keeps the ``seconds`` spent on commits."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.seconds = 0.0

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:
        start = perf_counter()
        self._outbox.commit(outputs, *upto)
        self.seconds += perf_counter() - start

    def committed(self) -> Position | None:
        return self._outbox.committed()

    def journal(self, after: Position | None = None) -> Iterator[Record]:
        return self._outbox.journal(after)

    def close(self) -> None:
        self._outbox.close()
