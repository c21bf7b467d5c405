"""Labelled pictures through the production pipeline, for the metrics of ``embedder`` and ``clustering``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from clustering.decide import Policy
from clustering.evaluation import ClusteringReport, evaluate_clustering
from clustering.records import Sighting
from clustering.stage import ClusterStage
from deploy.settings import Settings, model_folder
from deploy.wiring import build_embedder, linked_card
from embedder.comparisons import TemplateSet
from embedder.detect import Detector
from embedder.embed import Embedder, Probe
from embedder.evaluation import Acquisition, VerificationReport, verification
from embedder.pairs import read_pairs, resolve_pairs
from embedder.stage import embedding_of
from embedder.synthetic_masks import MaskKind, draw_mask
from ingest.claim_check import printable, read_file
from ingest.errors import BadRecord, UsageError
from ingest.images import decode
from ingest.records import AtmEvent, Position
from ingest.scan import PICTURE_SUFFIXES
from ingest.stage import Delivery

NONE, RANDOM, HALF = "none", "random", "half"
MASKS = (NONE, *MaskKind, RANDOM, HALF)
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
APART = timedelta(minutes=10)
"""Between two pictures of a shuffled stream: more than any visit gap, so that each is a visit."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture of a known person.  ``number`` is its place among all, in the order of their paths."""

    person: str
    path: Path
    number: int


@dataclass(frozen=True, slots=True)
class Acquired:
    """What came of a set of pictures: probes of those with a usable face, and the others' reasons by number."""

    pictures: tuple[Labelled, ...]
    probes: dict[int, Probe]
    failures: dict[int, str]


def labelled_pictures(folder: Path) -> list[Labelled]:
    """Every picture of ``folder/person/``.  Raises ``UsageError`` when there is none."""
    if not folder.is_dir():
        message = f"{printable(folder)} is not a folder"
        raise UsageError(message)
    found = [
        (person.name, path)
        for person in sorted(folder.iterdir())
        if person.is_dir()
        for path in sorted(person.iterdir())
        if path.suffix.lower() in PICTURE_SUFFIXES
    ]
    if not found:
        message = f"{printable(folder)} holds no pictures in a sub-folder per person, such as DIR/name/name_0001.jpg"
        raise UsageError(message)
    return [Labelled(person, path, number) for number, (person, path) in enumerate(found)]


def check_mask(kind: str) -> str:
    """``kind`` if it can be drawn; ``UsageError`` with the choices otherwise."""
    if kind not in MASKS:
        message = f"mask {kind!r} is not one of {', '.join(MASKS)}"
        raise UsageError(message)
    return kind


def mask_of(kind: str, picture: Labelled, seed: int) -> MaskKind | None:
    """The mask that ``picture`` gets: ``half`` masks every second one, ``random`` and ``half`` choose the kind."""
    if kind == NONE or (kind == HALF and picture.number % 2 == 0):
        return None
    if kind in {RANDOM, HALF}:
        kinds = tuple(MaskKind)
        return kinds[crc32(f"{seed} {picture.number}".encode()) % len(kinds)]
    return MaskKind(kind)


class Acquirer:
    """Runs labelled pictures through the pipeline's own embedder, several at a time."""

    def __init__(self, settings: Settings) -> None:
        cv2.setNumThreads(1)
        self.settings = settings
        self.embedder: Embedder = build_embedder(settings)
        self._detector = Detector(model_folder(settings.detector))
        self._threads = settings.threads or len(os.sched_getaffinity(0))

    def acquire(
        self, pictures: Sequence[Labelled], mask: str, seed: int, on_progress: Callable[[int], None]
    ) -> Acquired:
        """Probes of ``pictures`` under ``mask``; ``on_progress`` hears how many are done."""
        probes: dict[int, Probe] = {}
        failures: dict[int, str] = {}
        with ThreadPoolExecutor(self._threads) as pool:
            results = pool.map(partial(self._probe, mask, seed), pictures)
            for done, (picture, result) in enumerate(zip(pictures, results, strict=True), start=1):
                if isinstance(result, Probe):
                    probes[picture.number] = result
                else:
                    failures[picture.number] = result.reason
                on_progress(done)
        return Acquired(tuple(pictures), probes, failures)

    def _probe(self, mask: str, seed: int, picture: Labelled) -> Probe | BadRecord:
        try:
            limits = self.settings.limits
            image = decode(read_file(picture.path, limits), limits)
            kind = mask_of(mask, picture, seed)
            if kind is not None:
                image = self._masked(image, kind, crc32(f"{seed} {picture.number} worn".encode()))
            return self.embedder.embed(image)
        except BadRecord as error:
            return error

    def _masked(self, image: NDArray[np.uint8], kind: MaskKind, seed: int) -> NDArray[np.uint8]:
        faces = self._detector.detect(image)
        if not faces:
            return image  # nothing to mask: the embedder will say that there is no face
        face = self._detector.refined(image, max(faces, key=lambda f: float(f.box[2] * f.box[3])))
        return draw_mask(image, face.landmarks, kind, seed)


def evaluate_verification(probe: Acquired, gallery: Acquired | None, pairs: Path | None) -> VerificationReport:
    """Error rates of comparing ``probe`` with ``gallery`` (or with itself), restricted to a pairs file if given."""
    sides = [probe] if gallery is None else [probe, gallery]
    acquisition = Acquisition(sum(len(side.pictures) for side in sides), sum(len(side.failures) for side in sides))
    rows = None
    if pairs is not None:
        keys = [{_key(p): row for row, p in enumerate(_with_face(side))} for side in sides]
        failed = {_key(picture) for side in sides for picture in side.pictures if picture.number in side.failures}
        rows = resolve_pairs(read_pairs(pairs), keys[0], keys[1] if gallery else None, failed=failed)
    people = {name: i for i, name in enumerate(sorted({picture.person for picture in probe.pictures}))}
    sets = [_template_set(side, people) for side in sides]
    return verification(sets[0], sets[1] if gallery else None, acquisition=acquisition, pairs=rows)


def evaluate_stream(
    acquired: Acquired, acquirer: Acquirer, order: Sequence[int], on_progress: Callable[[int], None]
) -> ClusteringReport:
    """Cluster the probes as a stream in ``order`` (numbers of pictures), through the production stage."""
    card = linked_card(acquirer.embedder.model.card, acquirer.settings)
    policy = acquirer.settings.policy.model_copy(update={"horizon": None})
    stage = ClusterStage(card, Policy.model_validate(policy.model_dump()))
    pictures = {picture.number: picture for picture in acquired.pictures}
    usable = [number for number in order if number in acquired.probes]
    found: list[int] = []
    batch = acquirer.settings.batch
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
    return evaluate_clustering(truth, np.array(found, np.int64), templates, failed=len(acquired.failures))


def _delivery(place: int, probe: Probe, model_id: str) -> Delivery:
    event = AtmEvent(event_id=f"picture-{place}", atm_id="evaluation", captured_at=EPOCH + place * APART)
    return Delivery(embedding_of(event, probe, model_id), Position(partition="evaluation", offset=place))


def _with_face(side: Acquired) -> list[Labelled]:
    return [picture for picture in side.pictures if picture.number in side.probes]


def _key(picture: Labelled) -> str:
    return f"{picture.person}/{picture.path.stem}"


def _template_set(side: Acquired, people: dict[str, int]) -> TemplateSet:
    pictures = _with_face(side)
    if not pictures:
        message = "no picture shows a usable face, so there is nothing to compare"
        raise UsageError(message)
    return TemplateSet(
        np.stack([side.probes[picture.number].vector for picture in pictures]),
        np.array([people[picture.person] for picture in pictures], np.int64),
        np.array([picture.number for picture in pictures], np.int64),
    )
