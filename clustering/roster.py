"""All that is known of the unknown people of one scope.  It changes only by ``apply``."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from clustering.gallery import Gallery, Templates
from clustering.index import FaissIndex, VectorIndex
from clustering.places import LastSeen, Whereabouts
from clustering.records import Sighting, Usage
from clustering.visits import VISIT_GAP, VisitBook, frame_of
from embedder.records import FaceEmbedding
from embedder.scale import is_covered
from ingest.errors import Corrupt
from ingest.records import AtmEvent


def identity_id_of(face_id: str) -> str:
    """The id of the identity that ``face_id`` founds: the same in every replay, and telling nothing.

    Base 32, because hexadecimal digits can come out as what looks like a card number.
    """
    digest = blake2b(face_id.encode(), digest_size=10).digest()
    return f"person-{b32encode(digest).decode().lower()}"


@dataclass(slots=True)
class Identity:
    """One unknown person; the templates are in the gallery."""

    identity_id: str
    number: int
    visits: VisitBook
    first_seen: datetime
    last: Whereabouts

    @property
    def usage(self) -> Usage:
        """How often this person came, summed up."""
        return Usage(
            identity_id=self.identity_id,
            number=self.number,
            visits=self.visits.count,
            pictures=len(self.visits),
            atms=len(self.visits.atms),
            cards=len(self.visits.cards),
            first_seen=self.first_seen,
            last_seen=self.last.at,
        )


class Roster:
    """The identities of one scope and their templates.  Owned by one thread.

    All state is a fold over the journal's sightings: applying the same ones again, in the same order, gives the
    same roster, and applying one twice changes nothing.
    """

    def __init__(self, model_id: str, dim: int, gap: timedelta = VISIT_GAP, index: VectorIndex | None = None) -> None:
        self.model_id = model_id
        self.gap = gap
        self.gallery = Gallery(FaissIndex(dim) if index is None else index)  # a blank one is falsy
        self.identities: dict[int, Identity] = {}
        self.last_seen = LastSeen()
        self.seen: dict[str, int] = {}
        """Every face counted so far, with its identity's number."""

    def __len__(self) -> int:
        return len(self.identities)

    @property
    def next_number(self) -> int:
        """The number that the next founder gets."""
        return len(self.identities) + 1

    def usages(self) -> Iterable[Usage]:
        """How often each identity came, in the order of founding."""
        return (identity.usage for identity in self.identities.values())

    def apply(self, sighting: Sighting) -> int:
        """Fold one sighting in; the identity's visits after it.

        Raises ``Corrupt`` when the sighting can't follow on what is known: another model, a number or slot that
        leaves a gap.  Nothing has changed then.
        """
        known = self.seen.get(sighting.face_id)
        if known is not None:
            return self.identities[known].visits.count
        self._check(sighting)
        event = sighting.event
        identity = self.identities.get(sighting.number)
        if identity is None:
            identity = Identity(
                sighting.identity_id,
                sighting.number,
                VisitBook(self.gap),
                event.captured_at,
                whereabouts(event),
            )
            self.identities[sighting.number] = identity
        self.seen[sighting.face_id] = sighting.number
        if sighting.slot is not None:
            covered = is_covered(sighting.signs)
            self.gallery.write(
                identity.number, sighting.slot, sighting.template, sighting.quality.score, covered=covered
            )
        identity.first_seen = min(identity.first_seen, event.captured_at)
        if event.captured_at >= identity.last.at:
            identity.last = whereabouts(event)
            self.last_seen.note(identity.number, identity.last)
        identity.visits.add(frame_of(sighting.face_id, event))
        return identity.visits.count

    def place(self, people: Sequence[Identity], owners: NDArray[np.int64], templates: Templates) -> None:
        """Put restored ``people`` into a blank roster; for snapshots.

        ``templates`` (n of them) are theirs, ``owners`` (n,) whose each is, in the order of founding and slots.
        """
        self.gallery.fill(owners, templates)
        self.identities.update({person.number: person for person in people})
        for person in people:
            self.last_seen.note(person.number, person.last)

    def _check(self, sighting: Sighting) -> None:
        identity = self.identities.get(sighting.number)
        size = len(sighting.vector)
        wrong = (
            (sighting.model_id != self.model_id and f"a template of model {sighting.model_id}")
            or (size != 4 * self.gallery.index.dim and f"a template of {size} bytes")
            or (identity is None and sighting.number != self.next_number and f"identity number {sighting.number}")
            or (identity is not None and identity.identity_id != sighting.identity_id and "another identity's id")
            or (
                sighting.slot
                and sighting.slot > self.gallery.taken(sighting.number)
                and f"template slot {sighting.slot}"
            )
        )
        if wrong:
            message = f"sighting {sighting.face_id} can't follow on the journal so far: it brings {wrong}"
            raise Corrupt(message)


def flaws(faces: Sequence[FaceEmbedding], dim: int) -> list[str | None]:
    """What makes each face's vector unusable, as a sentence; None when nothing does.  ``dim`` numbers are needed."""
    lengths = np.full(len(faces), np.nan)
    whole = [place for place, face in enumerate(faces) if len(face.vector) == 4 * dim]
    if whole:
        vectors = np.frombuffer(b"".join(faces[place].vector for place in whole), "<f4").reshape(-1, dim)
        with np.errstate(over="ignore", invalid="ignore"):  # a length beyond all numbers is no length of 1 either
            lengths[whole] = np.linalg.norm(vectors, axis=1)
    sound = ((lengths > 0.99) & (lengths < 1.01)).tolist()
    return [None if sound[place] else _flaw(face, dim) for place, face in enumerate(faces)]


def _flaw(face: FaceEmbedding, dim: int) -> str:
    if len(face.vector) != 4 * dim:
        return f"The template has {len(face.vector)} bytes; {4 * dim} are needed."
    return "The template is not a vector of length 1."


def whereabouts(event: AtmEvent) -> Whereabouts:
    """When and where an event took place."""
    return Whereabouts(event.captured_at, event.atm_id, event.atm_location)
