"""Clustering as a stage: face embeddings in, sightings out; the one writer of a scope's roster."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from clustering import snapshot
from clustering.calibration import probability
from clustering.decide import Choice, Criteria, Policy, decide
from clustering.foresight import Foresight
from clustering.records import Decision, Sighting
from clustering.roster import Roster, flaws, identity_id_of
from embedder.cards import ModelCard
from embedder.records import FaceEmbedding
from embedder.scale import Scale
from ingest.errors import BadRecord
from ingest.reasons import Reason
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery

AHEAD = 2
"""Batches searched for before their turn, at most: the next one to be processed, and the one behind it."""
DUPLICATE = BadRecord(Reason.DUPLICATE_EVENT, Reason.DUPLICATE_EVENT.sentence)


@dataclass(frozen=True, slots=True)
class _Prospect:
    """A batch's ``faces`` before their turn: why some can't be compared, and what is foreseen of the others."""

    faces: list[FaceEmbedding]
    faults: list[BadRecord | None]
    foresight: Foresight


class ClusterStage:
    """Decides face by face, in order; its roster runs ahead of what the outbox has committed.

    A face that was counted before gives a rejection (``duplicate_event``), one of another model or with a damaged
    vector likewise: neither touches the roster.
    """

    name = "clusterer"

    def __init__(self, card: ModelCard, policy: Policy | None = None) -> None:
        self._card = card
        self._policy = policy or Policy()
        self._criteria = Criteria(card.linking, Scale(card.calibration), self._policy)
        self.roster = Roster(card.model_id, card.dim, self._policy.visit_gap)
        self._searcher = ThreadPoolExecutor(1, "search")
        self._foreseen: deque[tuple[_Prospect, Future[None]]] = deque(maxlen=AHEAD)

    def foresee(self, batch: Sequence[Delivery]) -> None:
        """Begin to search for the faces of ``batch``, in a thread of its own, most of it outside of Python."""
        faces = _faces(batch)
        if faces:
            prospect = self._prospect(faces, self._foreseen[-1][0].foresight if self._foreseen else None)
            self._foreseen.append((prospect, self._searcher.submit(prospect.foresight.look)))

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        prospect = self._foresaw(_faces(batch))
        faults = iter(prospect.faults)
        place = 0
        outputs = []
        for delivery in batch:
            outcome: Record = delivery.record
            if isinstance(outcome, FaceEmbedding):
                face, flaw = outcome, next(faults)
                fault = flaw or (DUPLICATE if face.face_id in self.roster.seen else None)
                outcome = (
                    _rejection(face, fault, delivery.position)
                    if fault
                    else self._sighting(face, prospect.foresight, place, delivery.position)
                )
                place += flaw is None
            outputs.append(Delivery(outcome, delivery.position))
        return outputs

    def apply(self, record: Record) -> None:
        if isinstance(record, Sighting):
            self.roster.apply(record)

    def snapshot(self) -> bytes:
        return snapshot.dump(self.roster)

    def restore(self, content: bytes) -> None:
        self.roster = snapshot.load(content, self.roster)
        self._foreseen.clear()

    def _prospect(self, faces: list[FaceEmbedding], before: Foresight | None = None) -> _Prospect:
        faults = self._faults(faces)
        sound = [face for face, fault in zip(faces, faults, strict=True) if fault is None]
        return _Prospect(faces, faults, Foresight(sound, self.roster, self._criteria, before))

    def _foresaw(self, faces: list[FaceEmbedding]) -> _Prospect:
        """What is known of ``faces``: what was foreseen, if these were the faces, else what is found now."""
        while faces and self._foreseen:
            prospect, search = self._foreseen.popleft()
            search.result()
            if prospect.faces == faces and prospect.foresight.settle():
                return prospect
        prospect = self._prospect(faces)
        prospect.foresight.look()
        prospect.foresight.settle()
        return prospect

    def _faults(self, faces: list[FaceEmbedding]) -> list[BadRecord | None]:
        """Why each face can't be compared with this roster; None for those that can."""
        return [self._fault(face, flaw) for face, flaw in zip(faces, flaws(faces, self._card.dim), strict=True)]

    def _fault(self, face: FaceEmbedding, flaw: str | None) -> BadRecord | None:
        if face.model_id != self._card.model_id:
            detail = f"The template is of model {face.model_id}; this roster is of {self._card.model_id}."
            return BadRecord(Reason.MODEL_MISMATCH, detail)
        return BadRecord(Reason.BAD_RECORD, flaw) if flaw else None

    def _sighting(self, face: FaceEmbedding, foresight: Foresight, place: int, position: Position) -> Sighting:
        choice = decide(face, foresight.candidates(place), self.roster, self._criteria)
        draft = self._written(face, choice, position)
        visits = self.roster.apply(draft)
        foresight.decided(place, draft.number, draft.slot)
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
            signs=face.signs,
            position=position,
        )


def _faces(batch: Sequence[Delivery]) -> list[FaceEmbedding]:
    return [delivery.record for delivery in batch if isinstance(delivery.record, FaceEmbedding)]


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
