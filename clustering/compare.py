"""How much faces resemble identities: many faces and many identities at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.codes import Vectors
from clustering.gallery import NOBODY, Gallery
from embedder.cards import Linking
from embedder.records import FaceEmbedding
from embedder.scale import Looks, Scale

DECIMALS = 6
"""Scores are rounded to so many: beyond them, results depend on how the processor adds up."""
AT_A_TIME = 64
"""Faces whose templates are taken out at a time: what is worked on stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Resemblances:
    """Of one face and some identities, by their numbers: ``scores``, and those of the ``nearest`` templates alone."""

    scores: Mapping[int, float]
    nearest: Mapping[int, float]

    def without(self, numbers: Set[int]) -> Resemblances:
        """The same but for those of ``numbers``."""
        if numbers.isdisjoint(self.scores):
            return self
        kept = [number for number in self.scores if number not in numbers]
        return Resemblances({n: self.scores[n] for n in kept}, {n: self.nearest[n] for n in kept})

    def joined(self, other: Resemblances) -> Resemblances:
        """These and the ``other`` ones."""
        return Resemblances({**self.scores, **other.scores}, {**self.nearest, **other.nearest})

    @staticmethod
    def told(numbers: Sequence[Sequence[int]], compared: NDArray[np.float64]) -> list[Resemblances]:
        """Those of each of n faces: what ``compare`` has said, (n, m, 2), of its ``numbers``, m at the most."""
        told = zip(numbers, compared[..., 0].tolist(), compared[..., 1].tolist(), strict=True)
        return [
            Resemblances(dict(zip(of, scores, strict=False)), dict(zip(of, nearest, strict=False)))
            for of, scores, nearest in told
        ]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is compared of faces: their ``vectors`` (n, dim) and ``looks`` (n,)."""

    vectors: Vectors
    looks: Looks

    @classmethod
    def of(cls, faces: Sequence[FaceEmbedding], dim: int, scale: Scale) -> Seen:
        """That of ``faces``, whose vectors have ``dim`` numbers."""
        vectors = np.frombuffer(b"".join(face.vector for face in faces), "<f4").reshape(-1, dim)
        looks = np.array([scale.look(face.signs, face.quality.score) for face in faces], np.uint8)
        return cls(vectors, looks)

    def same(self, other: Seen) -> bool:
        """Whether nothing that matters differs."""
        return np.array_equal(self.vectors, other.vectors) and np.array_equal(self.looks, other.looks)


def compare(
    faces: Seen, numbers: NDArray[np.int64], gallery: Gallery, scale: Scale, linking: Linking
) -> NDArray[np.float64]:
    """How much each of n faces resembles the m identities whose ``numbers`` (n, m) stand in its line.

    Of each (n, m, 2) the score, and the even score of the nearest template alone, as templates are now.

    A score is the mean of the ``best_of`` best even scores, corrected for their number: a mean of several is steadier
    than one; that it also comes out lower for a person of several looks than for one of a single picture is what
    ``growth`` makes up for.  It is -inf where there is nobody or no template.
    """
    found = np.full((*numbers.shape, 2), -np.inf)
    for start in range(0, len(numbers), AT_A_TIME):
        part = slice(start, start + AT_A_TIME)
        even = _even(Seen(faces.vectors[part], faces.looks[part]), numbers[part], gallery, scale)
        found[part] = _summed(np.sort(even, axis=-1), linking)
    return found


def _even(faces: Seen, numbers: NDArray[np.int64], gallery: Gallery, scale: Scale) -> NDArray[np.float64]:
    """The even scores (n, m, slots), -inf where there is no template."""
    slots = gallery.slots(numbers)
    there = slots != NOBODY
    rows = slots[there]
    which = np.nonzero(there)[0]
    templates = gallery.index.get(rows).astype(np.float64)
    # Row by row, so that a result is the same to the last bit whatever else is in the batch.
    cosines = np.einsum("td,td->t", templates, faces.vectors.astype(np.float64)[which])
    looks = scale.looks(gallery.covered(rows), gallery.qualities(rows))
    even = np.full(there.shape, -np.inf)
    even[there] = scale.even(faces.looks[which], looks, cosines)
    return even


def _summed(even: NDArray[np.float64], linking: Linking) -> NDArray[np.float64]:
    top = even[..., -linking.best_of :]
    counted = np.isfinite(top)
    count = counted.sum(axis=-1)
    several = np.maximum(count, 1)
    mean = np.where(counted, top, 0).sum(axis=-1) / several
    score = np.where(count > 0, np.round(mean + linking.growth * (1 - 1 / several), DECIMALS), -np.inf)
    return np.stack([score, even[..., -1]], axis=-1)
