"""From a submission to an event that may go into the stream: pure, and the same for the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256

from pydantic_core import from_json, to_json

from ingest.admission import AdmissionStage
from ingest.codec import decode, read_event
from ingest.errors import BadRecord
from ingest.gateway.receive import Submission
from ingest.images import picture_format
from ingest.limits import ImageLimits
from ingest.plan import micros, path_id
from ingest.reasons import Reason
from ingest.records import AtmEvent, Position, Rejection
from ingest.stage import Delivery

_NOWHERE = Position(partition="gateway", offset=0)
_TO_BE_DERIVED = "to-be-derived"


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes events of submissions.  ``admission`` is the stream's own doorkeeper, asked before anything is sent."""

    admission: AdmissionStage
    limits: ImageLimits

    def read(self, submission: Submission) -> tuple[AtmEvent, bytes]:
        """The event, and a digest (16 bytes) of all that it says, by which a retry is told from another event.

        An event without an id gets one that is derived from its ATM, its time and its picture's sha256, so that the
        same picture sent again has the same id.  Raises BadRecord: what ``codec.decode`` and the admission raise,
        NOT_AN_IMAGE, CHECKSUM_MISMATCH.
        """
        derived = False
        if submission.message is not None:
            event = decode(submission.message, AtmEvent)
        else:
            content, derived = _with_id(submission.event)
            event = read_event(content, submission.image)
        picture = self._check_picture(event)
        if derived:
            parts = (event.atm_id, str(micros(event.captured_at)), picture)
            event = event.model_copy(update={"event_id": path_id(*parts)})
        self._admit(event)
        said = event.model_dump_json(exclude_none=True, exclude={"received_at"})
        return event, blake2b(f"{said}\0{picture}".encode(), digest_size=16).digest()

    def _check_picture(self, event: AtmEvent) -> str:
        """The sha256 (hex) of the picture, which the event may only name."""
        if event.image is None:
            return event.sha256 or ""
        if not event.image:
            raise BadRecord(Reason.EMPTY_FILE, "The event's picture has no bytes.")
        if len(event.image) > self.limits.max_bytes:
            raise BadRecord(Reason.TOO_MANY_BYTES, f"The picture is larger than {self.limits.max_bytes:,} bytes.")
        if picture_format(event.image) is None:
            raise BadRecord(Reason.NOT_AN_IMAGE, Reason.NOT_AN_IMAGE.sentence)
        found = sha256(event.image).hexdigest()
        if event.sha256 not in (None, found):
            raise BadRecord(Reason.CHECKSUM_MISMATCH, Reason.CHECKSUM_MISMATCH.sentence)
        return found

    def _admit(self, event: AtmEvent) -> None:
        (delivery,) = self.admission.process([Delivery(event, _NOWHERE)])
        if isinstance(delivery.record, Rejection):  # its detail may name what the event says
            reason = delivery.record.reason
            raise BadRecord(reason, reason.sentence)


def reader(scopes: Sequence[str], limits: ImageLimits) -> Reader:
    """A reader for an installation with these scopes."""
    return Reader(AdmissionStage(scopes), limits)


def _with_id(content: bytes) -> tuple[bytes, bool]:
    """JSON with an event_id, and whether that is still to be derived; what is no JSON object goes back as it came."""
    try:
        fields = from_json(content, allow_inf_nan=False)
    except ValueError:
        return content, False
    if not isinstance(fields, dict) or "event_id" in fields:
        return content, False
    return to_json({**fields, "event_id": _TO_BE_DERIVED}), True
