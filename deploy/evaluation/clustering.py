"""Acquired pictures as a stream through the production clusterer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from clustering.decide import Policy
from clustering.evaluation import ClusteringReport, evaluate_clustering
from clustering.records import Sighting
from clustering.stage import ClusterStage
from deploy.evaluation.acquire import Acquired
from deploy.settings import Settings
from deploy.wiring import linked_card
from embedder.cards import ModelCard
from embedder.embed import Probe
from embedder.evaluation.bootstrap import DRAWS
from embedder.stage import embedding_of
from ingest.errors import UsageError
from ingest.records import AtmEvent, Position
from ingest.stage import Delivery

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
APART = timedelta(minutes=10)
"""Between two pictures of a shuffled stream: more than any visit gap, so that each is a visit."""


def stream_order(acquired: Acquired, shuffle_seed: int | None) -> list[int]:
    """The numbers of the pictures in the order of their stream: as the files are named, or shuffled by the seed."""
    numbers = np.array([picture.number for picture in acquired.pictures], np.int64)
    if shuffle_seed is not None:
        numbers = np.random.default_rng(shuffle_seed).permutation(numbers)
    return [int(number) for number in numbers]


def evaluate_stream(
    acquired: Acquired,
    card: ModelCard,
    settings: Settings,
    order: Sequence[int],
    *,
    on_progress: Callable[[int], None],
    draws: int = DRAWS,
) -> ClusteringReport:
    """Cluster the probes of the model of ``card`` as a stream in ``order`` (numbers of pictures).

    ``draws`` of people make the intervals.  Raises ``UsageError`` when there is nothing to cluster.
    """
    card = linked_card(card, settings)
    policy = settings.policy.model_copy(update={"horizon": None})
    stage = ClusterStage(card, Policy.model_validate(policy.model_dump()))
    pictures = {picture.number: picture for picture in acquired.pictures}
    usable = [number for number in order if number in acquired.probes]
    if not usable:
        message = "no picture shows a usable face, so there is nothing to cluster"
        raise UsageError(message)
    found: list[int] = []
    batch = settings.batch
    for start in range(0, len(usable), batch):
        deliveries = [
            _delivery(place, acquired.probes[number], card.model_id)
            for place, number in enumerate(usable[start : start + batch], start=start)
        ]
        for outcome in stage.process(deliveries):
            if not isinstance(outcome.record, Sighting):
                message = f"a picture was refused by the clusterer: {outcome.record}"
                raise TypeError(message)
            found.append(outcome.record.number)
        on_progress(min(start + batch, len(usable)))
    names = {name: i for i, name in enumerate(sorted({picture.person for picture in acquired.pictures}))}
    truth = np.array([names[pictures[number].person] for number in usable], np.int64)
    templates = np.stack([acquired.probes[number].vector for number in usable])
    return evaluate_clustering(truth, np.array(found, np.int64), templates, failed=len(acquired.failures), draws=draws)


def _delivery(place: int, probe: Probe, model_id: str) -> Delivery:
    event = AtmEvent(event_id=f"picture-{place}", atm_id="evaluation", captured_at=EPOCH + place * APART)
    return Delivery(embedding_of(event, probe, model_id), Position(partition="evaluation", offset=place))
