"""The embedder as a stage: events in; embeddings, or rejections that say why not, out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.embed import Embedder, Probe
from embedder.records import Box, FaceEmbedding, pack
from ingest.claim_check import fetch
from ingest.errors import BadRecord, ErrorAnswer
from ingest.images import decode
from ingest.limits import ImageLimits
from ingest.records import AtmEvent, Position, Record, Rejection
from ingest.stage import Delivery


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """``threads`` pictures are worked on at a time (0: one per core).

    ``fetch`` gets an event's encoded picture, called from several threads; by default from any local file.
    """

    threads: int = 0
    limits: ImageLimits = field(default_factory=ImageLimits)
    fetch: Callable[[AtmEvent], bytes] | None = None


AHEAD = 2
"""Batches begun with before their turn, at most: the next one to be processed, and the one behind it."""
_Begun = dict[Position, tuple[Record, Future[Delivery | ErrorAnswer]]]
"""What was begun with, of which record, by where that stood."""


class EmbedStage:
    """Decodes and embeds the pictures of a batch side by side; keeps their order.

    Those of a batch that it is told to foresee are begun with as soon as a thread is free, so that none waits while
    later stages are at work.  Holds its worker threads until ``close``.
    """

    name = "embedder"

    def __init__(self, embedder: Embedder, options: EmbedOptions | None = None) -> None:
        self.embedder = embedder
        self._options = options or EmbedOptions()
        self._fetch = self._options.fetch or partial(fetch, limits=self._options.limits)
        # Pictures run in parallel; OpenCV's own threads would only compete with them.
        cv2.setNumThreads(1)
        self.threads = self._options.threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="embed")
        self._foreseen: deque[_Begun] = deque(maxlen=AHEAD)

    def foresee(self, batch: Sequence[Delivery]) -> None:
        """Begin with the pictures of ``batch``."""
        self._foreseen.append(
            {delivery.position: (delivery.record, self._pool.submit(self._one, delivery)) for delivery in batch}
        )

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        """What became of each.  Raises ``Unavailable``; for single pictures that fail, after a try of all others."""
        begun = self._begun(batch)
        futures = []
        for delivery in batch:
            record, future = begun.get(delivery.position, (None, None))
            # Another record stands there where an earlier stage has refused the one that was foreseen.
            kept = future if record is delivery.record else None
            futures.append(kept or self._pool.submit(self._one, delivery))
        outcomes = [future.result() for future in futures]
        if failed := [outcome for outcome in outcomes if isinstance(outcome, ErrorAnswer)]:
            raise max(failed, key=attrgetter("retry_after"))
        return [outcome for outcome in outcomes if isinstance(outcome, Delivery)]

    def close(self) -> None:
        """Let go of the threads, after the work at hand."""
        self._pool.shutdown(cancel_futures=True)

    def _begun(self, batch: Sequence[Delivery]) -> _Begun:
        """What was begun with of ``batch``: the oldest that was foreseen, if it was this one.

        What is tried again was not: the first try has taken it.
        """
        if self._foreseen and any(delivery.position in self._foreseen[0] for delivery in batch):
            return self._foreseen.popleft()
        return {}

    def _one(self, delivery: Delivery) -> Delivery | ErrorAnswer:
        if not isinstance(delivery.record, AtmEvent):
            return delivery
        outcome: Record
        try:
            outcome = self._embedded(delivery.record)
        except BadRecord as error:
            outcome = rejected(delivery.record, error, self.name, delivery.position)
        except ErrorAnswer as error:  # several that fail must wait side by side, not one after the other
            return error
        return Delivery(outcome, delivery.position)

    def _embedded(self, event: AtmEvent) -> FaceEmbedding:
        with self.embedder.clock.time("decode"):
            image = decode(self._fetch(event), self._options.limits)
        probe = self.embedder.embed(image)
        return embedding_of(event.model_copy(update={"image": None}), probe, self.embedder.model.card.model_id)


def embedding_of(event: AtmEvent, probe: Probe, model_id: str) -> FaceEmbedding:
    """The record of a probe: what the event's picture gave, without its pixels."""
    return FaceEmbedding(
        face_id=f"{event.event_id}#0",
        event=event,
        model_id=model_id,
        vector=pack(probe.vector),
        box=_box(probe.face.box),
        landmarks=tuple((round(float(x), 2), round(float(y), 2)) for x, y in probe.face.landmarks),
        quality=probe.quality,
        bystanders=tuple(_box(face.box) for face in probe.bystanders),
        signs=probe.signs,
    )


def rejected(event: AtmEvent, error: BadRecord, stage: str, position: Position) -> Rejection:
    """The line that says why ``event`` was not used."""
    return Rejection(
        reason=error.reason,
        source=event.source,
        detail=error.detail,
        stage=stage,
        event_id=event.event_id,
        atm_id=event.atm_id,
        scope=event.scope,
        captured_at=event.captured_at,
        position=position,
    )


def _box(box: NDArray[np.float32]) -> Box:
    x, y, width, height = (round(float(value), 1) for value in box)
    return Box(x=x, y=y, width=max(width, 0.1), height=max(height, 0.1))
