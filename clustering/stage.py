"""Clustering as a stage: face embeddings in, sightings out; the one writer of a scope's roster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clustering import snapshot
from clustering.calibration import probability
from clustering.decide import Choice, Policy, decide
from clustering.records import Decision, Sighting
from clustering.roster import Roster, identity_id_of, usable
from embedder.cards import ModelCard
from embedder.records import FaceEmbedding
from ingest.errors import BadRecord
from ingest.reasons import Reason
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery


class ClusterStage:
    """Decides face by face, in order; its roster runs ahead of what the outbox has committed.

    A face that was counted before gives a rejection (``duplicate_event``), one of another model or with a damaged
    vector likewise: neither touches the roster.
    """

    name = "clusterer"

    def __init__(self, card: ModelCard, policy: Policy | None = None) -> None:
        self._card = card
        self._policy = policy or Policy()
        self.roster = Roster(card.model_id, card.dim, self._policy.visit_gap)

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        nearest = self._search([d.record for d in batch if isinstance(d.record, FaceEmbedding)])
        # Templates that this very batch has written are not in the search's answer: they are added to it.
        fresh: list[int] = []
        outputs = []
        for delivery in batch:
            face = delivery.record
            outcome: Record = face
            if isinstance(face, FaceEmbedding):
                try:
                    outcome = self._sighting(face, nearest, fresh, delivery.position)
                except BadRecord as error:
                    outcome = _rejection(face, error, delivery.position)
            outputs.append(Delivery(outcome, delivery.position))
        return outputs

    def apply(self, record: Record) -> None:
        if isinstance(record, Sighting):
            self.roster.apply(record)

    def snapshot(self) -> bytes:
        return snapshot.dump(self.roster)

    def restore(self, content: bytes) -> None:
        self.roster = snapshot.load(content, self.roster)

    def _search(self, faces: list[FaceEmbedding]) -> dict[str, NDArray[np.int64]]:
        """The rows of each usable face's nearest templates, by one search for the whole batch."""
        sound = [face for face in faces if face.model_id == self._card.model_id and not usable(face, self.roster)]
        if not sound:
            return {}
        # Each face of the batch may overwrite one row: so many more, and the nearest of then are among those of now.
        reach = self._policy.nearest + len(sound)
        _, rows = self.roster.index.search(np.stack([face.template for face in sound]), reach)
        found: dict[str, NDArray[np.int64]] = {}
        for face, line in zip(sound, rows, strict=True):
            found.setdefault(face.face_id, line[line >= 0])  # a second one of this id is not decided
        return found

    def _sighting(
        self,
        face: FaceEmbedding,
        nearest: dict[str, NDArray[np.int64]],
        fresh: list[int],
        position: Position,
    ) -> Sighting:
        if face.model_id != self._card.model_id:
            raise BadRecord(
                Reason.MODEL_MISMATCH,
                f"The template is of model {face.model_id}; this roster is of {self._card.model_id}.",
            )
        if wrong := usable(face, self.roster):
            raise BadRecord(Reason.BAD_RECORD, wrong)
        if face.face_id in self.roster.seen:
            raise BadRecord(Reason.DUPLICATE_EVENT, Reason.DUPLICATE_EVENT.sentence)
        rows = np.union1d(nearest[face.face_id], np.array(fresh, np.int64)).astype(np.int64)
        choice = decide(face, rows, self.roster, self._card.linking, self._policy)
        draft = self._written(face, choice, position)
        visits = self.roster.apply(draft)
        if draft.slot is not None:
            fresh.append(self.roster.identities[draft.number].rows[draft.slot])
        return draft.model_copy(update={"visits": visits})

    def _written(self, face: FaceEmbedding, choice: Choice, position: Position) -> Sighting:
        """The record of a decision; ``visits`` is filled in once it has been applied."""
        founded = choice.number is None
        number = self.roster.next_number if choice.number is None else choice.number
        identity_id = identity_id_of(face.face_id) if founded else self.roster.identities[number].identity_id
        return Sighting(
            face_id=face.face_id,
            identity_id=identity_id,
            number=number,
            decision=Decision.FOUNDED if founded else Decision.JOINED,
            similarity=choice.similarity,
            runner_up=choice.runner_up,
            confidence=1.0
            if choice.similarity is None
            else probability(choice.similarity, len(self.roster), self._card.calibration),
            slot=choice.slot,
            visits=1,
            event=face.event,
            model_id=face.model_id,
            vector=face.vector,
            box=face.box,
            quality=face.quality,
            bystanders=face.bystanders,
            position=position,
        )


def _rejection(face: FaceEmbedding, error: BadRecord, position: Position) -> Rejection:
    event = face.event
    return Rejection(
        reason=error.reason,
        source=event.source,
        detail=error.detail,
        stage=ClusterStage.name,
        event_id=event.event_id,
        atm_id=event.atm_id,
        scope=event.scope,
        captured_at=event.captured_at,
        position=position,
    )
