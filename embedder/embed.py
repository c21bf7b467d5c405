"""From one picture to the template of the person at the machine: detect, gate, align, gate, embed; and its signs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from embedder.align import align
from embedder.crop import eye_region
from embedder.detect import Detector, Face, Image
from embedder.landmarks import Placer
from embedder.model import VectorModel
from embedder.quality import GateOptions, check_faces, check_quality, main_face, measure
from embedder.records import Quality, Signs
from embedder.signs import SignReader


@dataclass(frozen=True, slots=True)
class Probe:
    """What one picture gave: ``vector`` (dim,) float32 and ``signs`` of the main ``face``, and the other faces."""

    face: Face
    vector: NDArray[np.float32]
    quality: Quality
    bystanders: tuple[Face, ...]
    signs: Signs | None = None


@dataclass(slots=True)
class StageClock:
    """Seconds spent per step, summed over threads."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Add the time that the block takes to ``step``."""
        start = perf_counter()
        try:
            yield
        finally:
            spent = perf_counter() - start
            with self._lock:
                self.seconds[step] += spent


class Embedder:
    """The whole way from pixels to template.  Pure but for its clock; safe to use from several threads.

    Without a ``reader`` a probe has no signs; without a ``placer`` the detector's own second look places landmarks.
    """

    def __init__(
        self,
        detector: Detector,
        model: VectorModel,
        gate: GateOptions | None = None,
        reader: SignReader | None = None,
        placer: Placer | None = None,
    ) -> None:
        self.model = model
        self.clock = StageClock()
        self._detector = detector
        self._gate = gate or GateOptions()
        self._reader = reader
        self._placer: Placer = placer or detector
        self._template = np.array(model.card.template, np.float32)
        self._weights = np.array(model.card.landmark_weights, np.float64)

    def embed(self, image: Image) -> Probe:
        """The probe of an (H, W, 3) uint8 BGR upright picture; ``BadRecord`` names why there is none."""
        with self.clock.time("detect"):
            faces = self._detector.detect(image)
            check_faces(faces, image, self._gate)
            chosen = main_face(faces, image.shape)
            face = self._placer.refined(image, faces[chosen])
        with self.clock.time("align"):
            aligned = align(image, face.landmarks, self._template, self._weights, self.model.card.input_size)
            quality = measure(face, eye_region(aligned, self._template))
            check_quality(quality, self._gate)
        with self.clock.time("embed"):
            vector = self.model.embed(aligned)
        others = tuple(f for i, f in enumerate(faces) if i != chosen)
        return Probe(face, vector, quality, others, self._signs(image, face))

    def _signs(self, image: Image, face: Face) -> Signs | None:
        if self._reader is None:
            return None
        with self.clock.time("signs"):
            return self._reader.read(image, face.landmarks)
