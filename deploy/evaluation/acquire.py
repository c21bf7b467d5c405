"""Labelled pictures through the pipeline's own embedder, under several masks and models at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import local
from zlib import crc32

import cv2

from deploy.evaluation.pictures import Labelled
from deploy.settings import Settings, model_folder
from deploy.wiring import build_embedder
from embedder.detect import Detector, Face, Image
from embedder.embed import Embedder, Probe
from embedder.quality import main_face
from embedder.synthetic_masks import MaskKind, draw_mask
from ingest.claim_check import read_file
from ingest.errors import BadRecord, UsageError
from ingest.images import decode

NONE, RANDOM, HALF = "none", "random", "half"
MASKS = (NONE, *MaskKind, RANDOM, HALF)


@dataclass(frozen=True, slots=True)
class Acquired:
    """What came of a set of pictures: probes of those with a usable face, and the others' reasons, by number.

    ``drawn`` are the masks that were drawn, ``missed`` the pictures whose face was not found any more under its mask.
    """

    pictures: tuple[Labelled, ...]
    probes: dict[int, Probe] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    drawn: dict[int, MaskKind] = field(default_factory=dict)
    missed: set[int] = field(default_factory=set)

    @property
    def usable(self) -> list[Labelled]:
        """The pictures with a probe, in their order."""
        return [picture for picture in self.pictures if picture.number in self.probes]

    def only(self, pictures: Sequence[Labelled]) -> Acquired:
        """What came of some of the pictures."""
        wanted = {picture.number for picture in pictures}
        return Acquired(
            tuple(picture for picture in self.pictures if picture.number in wanted),
            {number: probe for number, probe in self.probes.items() if number in wanted},
            {number: reason for number, reason in self.failures.items() if number in wanted},
            {number: kind for number, kind in self.drawn.items() if number in wanted},
            self.missed & wanted,
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """One picture under one mask: each model's probe or refusal, by the model's name."""

    kind: MaskKind | None
    results: Mapping[str, Probe | BadRecord]
    missed: bool = False


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


class SharedDetector(Detector):
    """A detector that looks at a picture once, whichever models ask: each thread remembers its latest picture."""

    def __init__(self, name: str) -> None:
        super().__init__(model_folder(name))
        self._latest = local()

    def detect(self, image: Image) -> list[Face]:
        if getattr(self._latest, "image", None) is not image:
            self._latest.faces = super().detect(image)
            self._latest.refined = {}
            self._latest.image = image  # held, so that no other picture can take its place in memory
        faces: list[Face] = self._latest.faces
        return faces

    def refined(self, image: Image, face: Face) -> Face:
        if getattr(self._latest, "image", None) is not image:
            return super().refined(image, face)
        known: dict[int, Face] = self._latest.refined
        if id(face) not in known:
            known[id(face)] = super().refined(image, face)
        return known[id(face)]


class Acquirer:
    """Runs labelled pictures through one embedder per model, several at a time, with one detection for all."""

    def __init__(self, settings: Settings, models: Sequence[str] = ()) -> None:
        cv2.setNumThreads(1)
        self.settings = settings
        self.detector = SharedDetector(settings.detector)
        self.embedders: dict[str, Embedder] = {
            name: build_embedder(settings.model_copy(update={"model": name}), self.detector)
            for name in models or (settings.model,)
        }
        self._threads = settings.threads or len(os.sched_getaffinity(0))

    def acquire(
        self, pictures: Sequence[Labelled], masks: Sequence[str], seed: int, on_progress: Callable[[int], None]
    ) -> dict[tuple[str, str], Acquired]:
        """What came of ``pictures``, by model and mask; ``on_progress`` hears how many pictures are done.

        A picture is decoded once, and each mask that it wears detected once: another model costs its own embedding
        alone, and ``half`` nothing beside ``none`` and ``random``.
        """
        found = {(model, mask): Acquired(tuple(pictures)) for model in self.embedders for mask in masks}
        with ThreadPoolExecutor(self._threads) as pool:
            looks = pool.map(partial(self._looks, tuple(masks), seed), pictures)
            for done, (picture, by_mask) in enumerate(zip(pictures, looks, strict=True), start=1):
                for (model, mask), acquired in found.items():
                    _enter(acquired, picture.number, by_mask[mask], model)
                on_progress(done)
        return found

    def _looks(self, masks: tuple[str, ...], seed: int, picture: Labelled) -> dict[str, _Look]:
        limits = self.settings.limits
        try:
            image = decode(read_file(picture.path, limits), limits)
        except BadRecord as error:
            return dict.fromkeys(masks, _Look(None, dict.fromkeys(self.embedders, error)))
        kinds = {mask: mask_of(mask, picture, seed) for mask in masks}
        # The bare face first: the masks are drawn where it was found, and the detector remembers one picture only.
        worn = sorted(set(kinds.values()), key=lambda kind: kind or "")
        bare = self._main_face(image) if any(worn) else None
        by_kind = {
            kind: self._look(image, kind, bare, crc32(f"{seed} {picture.number} worn".encode())) for kind in worn
        }
        return {mask: by_kind[kind] for mask, kind in kinds.items()}

    def _look(self, image: Image, kind: MaskKind | None, bare: Face | None, seed: int) -> _Look:
        if kind is None:
            return _Look(None, self._embedded(image))
        if bare is None:  # nothing to mask: the embedder will say that there is no face
            return _Look(None, self._embedded(image))
        masked = draw_mask(image, bare.landmarks, kind, seed)
        results = self._embedded(masked)
        return _Look(kind, results, missed=not any(_inside(face, bare) for face in self.detector.detect(masked)))

    def _embedded(self, image: Image) -> dict[str, Probe | BadRecord]:
        return {name: _probe(embedder, image) for name, embedder in self.embedders.items()}

    def _main_face(self, image: Image) -> Face | None:
        faces = self.detector.detect(image)
        return self.detector.refined(image, faces[main_face(faces, image.shape)]) if faces else None


def _probe(embedder: Embedder, image: Image) -> Probe | BadRecord:
    try:
        return embedder.embed(image)
    except BadRecord as error:
        return error


def _inside(face: Face, other: Face) -> bool:
    """Whether the middle of ``face`` lies in the box of ``other``."""
    offset = face.box[:2] + face.box[2:] / 2 - other.box[:2]
    return bool((offset >= 0).all() and (offset <= other.box[2:]).all())


def _enter(acquired: Acquired, number: int, look: _Look, model: str) -> None:
    result = look.results[model]
    if isinstance(result, Probe):
        acquired.probes[number] = result
    else:
        acquired.failures[number] = result.reason
    if look.kind is not None:
        acquired.drawn[number] = look.kind
        if look.missed:
            acquired.missed.add(number)
