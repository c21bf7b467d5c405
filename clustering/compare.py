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
    """Of one face and some identities, by their numbers: ``scores``, and those of the ``nearest`` templates alone.

    ``cosines`` are those with each template, rounded, in the order of slots: only of identities that scored best.
    """

    scores: Mapping[int, float]
    nearest: Mapping[int, float]
    cosines: Mapping[int, list[float]]

    def without(self, numbers: Set[int]) -> Resemblances:
        """The same but for those of ``numbers``."""
        if numbers.isdisjoint(self.scores):
            return self
        kept = [number for number in self.scores if number not in numbers]
        cosines = {number: of for number, of in self.cosines.items() if number not in numbers}
        return Resemblances({n: self.scores[n] for n in kept}, {n: self.nearest[n] for n in kept}, cosines)

    def joined(self, other: Resemblances) -> Resemblances:
        """These and the ``other`` ones."""
        return Resemblances(
            {**self.scores, **other.scores}, {**self.nearest, **other.nearest}, {**self.cosines, **other.cosines}
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What is compared of n faces: their ``vectors`` (n, dim) and ``looks`` (n,)."""

    vectors: Vectors
    looks: Looks

    @classmethod
    def of(cls, faces: Sequence[FaceEmbedding], dim: int, scale: Scale) -> Seen:
        """That of ``faces``, whose vectors have ``dim`` numbers."""
        vectors = np.frombuffer(b"".join(face.vector for face in faces), "<f4").reshape(-1, dim)
        looks = np.array([scale.look(face.signs, face.quality.score) for face in faces], np.uint8)
        return cls(vectors, looks)


@dataclass(frozen=True, slots=True)
class Compared:
    """How much each of n faces resembles m identities: ``scores`` (n, m), those of the ``nearest`` templates (n, m).

    ``cosines`` (n, m, slots) are those with each template, rounded; -inf stands where there is none.
    """

    scores: NDArray[np.float64]
    nearest: NDArray[np.float64]
    cosines: NDArray[np.float64]

    def told(self, numbers: Sequence[Sequence[int]]) -> list[Resemblances]:
        """The same for each face, by the ``numbers`` of its identities: m at the most, in the order of columns."""
        if not self.scores.size:
            return [Resemblances({}, {}, {}) for _ in numbers]
        first = self.scores.argmax(axis=1)
        cosines = self.cosines[np.arange(len(first)), first].tolist()
        told = zip(numbers, self.scores.tolist(), self.nearest.tolist(), first.tolist(), cosines, strict=True)
        return [
            Resemblances(
                dict(zip(of, scores, strict=False)),
                dict(zip(of, nearest, strict=False)),
                {of[best]: [cosine for cosine in slots if cosine > -np.inf]} if of else {},
            )
            for of, scores, nearest, best, slots in told
        ]


def compare(faces: Seen, numbers: NDArray[np.int64], gallery: Gallery, scale: Scale, linking: Linking) -> Compared:
    """How much n faces resemble the m identities whose ``numbers`` (n, m) stand in their lines, as templates are now.

    A score is the mean of the ``best_of`` best even scores, corrected for their number: a mean of several is steadier
    than one; that it also comes out lower for a person of several looks than for one of a single picture is what
    ``growth`` makes up for.  It is -inf where there is nobody or no template.
    """
    parts = [slice(start, start + AT_A_TIME) for start in range(0, max(len(numbers), 1), AT_A_TIME)]
    slots = gallery.slots(numbers)
    compared = [
        _compared(Seen(faces.vectors[part], faces.looks[part]), slots[part], gallery, scale, linking) for part in parts
    ]
    return Compared(*(np.concatenate(found) for found in zip(*compared, strict=True)))


def cosines_of(face: Vectors, number: int, gallery: Gallery) -> list[float]:
    """Those of a face's vector (dim,) and an identity's templates, in the order of slots, as ``compare`` gives them."""
    templates = gallery.index.get(gallery.rows(number))
    cosines: list[float] = np.round(_products(templates, np.broadcast_to(face, templates.shape)), DECIMALS).tolist()
    return cosines


def _compared(
    faces: Seen, slots: NDArray[np.int32], gallery: Gallery, scale: Scale, linking: Linking
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The columns of ``Compared``, of identities whose templates are in the rows ``slots`` (n, m, slots)."""
    there = slots != NOBODY
    rows = slots[there]
    which = np.nonzero(there)[0]
    products = _products(gallery.index.get(rows), faces.vectors[which])
    looks = scale.looks(gallery.covered(rows), gallery.qualities(rows))
    even, cosines = np.full((2, *there.shape), -np.inf)
    even[there] = scale.even(faces.looks[which], looks, products)
    cosines[there] = np.round(products, DECIMALS)
    even.sort(axis=-1)
    return _summed(even, linking), even[..., -1], cosines


def _products(templates: Vectors, vectors: Vectors) -> NDArray[np.float64]:
    """Those (t,) of ``templates`` (t, dim) and ``vectors`` (t, dim), line by line."""
    # So that a result is the same to the last bit whatever else is in the batch.
    products: NDArray[np.float64] = np.einsum("td,td->t", templates.astype(np.float64), vectors.astype(np.float64))
    return products


def _summed(even: NDArray[np.float64], linking: Linking) -> NDArray[np.float64]:
    top = even[..., -linking.best_of :]
    counted = np.isfinite(top)
    count = counted.sum(axis=-1)
    several = np.maximum(count, 1)
    mean = np.where(counted, top, 0).sum(axis=-1) / several
    return np.where(count > 0, np.round(mean + linking.growth * (1 - 1 / several), DECIMALS), -np.inf)
