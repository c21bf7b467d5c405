"""Which pictures are compared with which, and their scores, block by block.

Scores are cosines: float32 inner products of L2-normalised templates.  Their last bits depend on the BLAS
library and on the shapes multiplied, so equal pictures may score 0.99999994.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**22
"""Scores computed at a time (16 MB)."""


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """The usable faces of a set of pictures, one each.

    ``templates`` is (N, D) float32, every row of length 1; ``people`` (N,) int says who it is, and ``images``
    (N,) int which picture, each at most once.  A picture has the same number in a gallery as among the probes.
    Raises ``ValueError`` when the arrays don't fit together.
    """

    templates: NDArray[np.float32]
    people: NDArray[np.int64]
    images: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.templates)
        problem = None
        if self.templates.ndim != 2 or self.templates.dtype != np.float32:
            problem = "templates must be (N, D) float32"
        elif self.people.shape != (count,) or self.images.shape != (count,):
            problem = "people and images must be (N,), as many as templates"
        elif len(np.unique(self.images)) != count:
            problem = "a picture is there twice"
        elif not np.all(np.abs(np.linalg.norm(self.templates, axis=1) - 1) < 1e-3):
            problem = "templates must be L2-normalised"
        if problem:
            raise ValueError(problem)


def count_impostors(probe: TemplateSet, gallery: TemplateSet | None = None) -> int:
    """How many scores ``impostor_blocks`` yields.

    Raises ``ValueError`` when a picture shows another person in the gallery than among the probes.
    """
    second = probe if gallery is None else gallery
    _, i, j = np.intersect1d(probe.images, second.images, assume_unique=True, return_indices=True)
    if np.any(probe.people[i] != second.people[j]):
        message = "a picture shows another person in the gallery than among the probes"
        raise ValueError(message)
    people, sizes = np.unique(probe.people, return_counts=True)
    other_people, other_sizes = np.unique(second.people, return_counts=True)
    _, i, j = np.intersect1d(people, other_people, assume_unique=True, return_indices=True)
    ordered = len(probe.people) * len(second.people) - int(sizes[i] @ other_sizes[j])
    return ordered // 2 if gallery is None else ordered


def genuine_scores(probe: TemplateSet, gallery: TemplateSet | None = None) -> NDArray[np.float32]:
    """The scores of all pairs of different pictures of one person, (G,) float32 in no particular order."""
    return genuine_rows(probe, gallery)[0]


def genuine_rows(
    probe: TemplateSet, gallery: TemplateSet | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """``genuine_scores``, and (G,) the rows of each pair's probe and of its gallery picture."""
    second = probe if gallery is None else gallery
    columns_of = _rows_by_person(second)
    found, pairs = [np.empty(0, np.float32)], [np.empty((2, 0), np.int64)]
    for person, rows in _rows_by_person(probe).items():
        columns = columns_of.get(person)
        if columns is not None:
            step = max(1, BLOCK // len(columns))
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                comparable = _comparable(probe, gallery, part, columns)
                found.append((probe.templates[part] @ second.templates[columns].T)[comparable])
                first, other = np.nonzero(comparable)
                pairs.append(np.stack([part[first], columns[other]]))
    return np.concatenate(found), *np.hstack(pairs)


def impostor_blocks(probe: TemplateSet, gallery: TemplateSet | None = None) -> Iterator[NDArray[np.float32]]:
    """The scores of all pairs of pictures of two people, in new float32 arrays of at most about ``BLOCK``."""
    for scores, _, _, other in impostor_rows(probe, gallery):
        yield scores[other]


def impostor_rows(
    probe: TemplateSet, gallery: TemplateSet | None = None
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """``impostor_blocks`` with the rows: (r, c) scores, (r,) probe rows, (c,) gallery rows, (r, c) which are pairs."""
    second = probe if gallery is None else gallery
    step = max(1, BLOCK // max(1, len(second.templates)))
    for start in range(0, len(probe.templates), step):
        rows = np.arange(start, min(start + step, len(probe.templates)))
        # within one set, columns before the block's first row have met these rows already
        columns = np.arange(start if gallery is None else 0, len(second.templates))
        other = probe.people[rows][:, None] != second.people[columns][None, :]
        other &= _comparable(probe, gallery, rows, columns)
        yield probe.templates[rows] @ second.templates[columns].T, rows, columns, other


def _rows_by_person(faces: TemplateSet) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(faces.people, kind="stable")
    people, starts = np.unique(faces.people[order], return_index=True)
    return dict(zip(people.tolist(), np.split(order, starts[1:]), strict=True)) if len(people) else {}


def _comparable(
    probe: TemplateSet, gallery: TemplateSet | None, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(rows, columns) bool: within one set each pair once, between two all but a picture with itself."""
    if gallery is None:
        return rows[:, None] < columns[None, :]
    return np.not_equal(probe.images[rows][:, None], gallery.images[columns][None, :], dtype=np.bool_)
