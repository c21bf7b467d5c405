"""What a step of training looks at: two views of one face, or of one person, masked and bare by chance.

Every sample is drawn from its number alone, so a run that starts again at a checkpoint sees what it would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedder.training.augment import Augmentation, covered, seen
from embedder.training.pool import NOBODY, Pool

VIEWS = 2
HARDSHIP = Augmentation(
    occlusion=0.1,
    shift=1.4,
    turn=1.8,
    zoom=0.04,
    stretch=0.35,
    cut=0.2,
    dark=0.1,
    grey=0.1,
    soft=0.1,
    far=0.18,
    jpeg=0.3,
)
"""What a template must bear: more than a classifier, which may say that it can't tell."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What samples are made of.

    ``masked`` are the chances that the first and the second view wear a mask; ``labelled`` is the share of samples
    that show somebody known, whose views are then two pictures of that person by the chance ``other``.
    """

    masked: tuple[float, float] = (0.85, 0.4)
    labelled: float = 0.45
    other: float = 0.7
    seed: int = 0
    augmentation: Augmentation = HARDSHIP


@dataclass(frozen=True, slots=True)
class Sample:
    """Two views, (2, rows, 112, 3) uint8 BGR, and the ``rows`` (2,) of the pool that they were made of."""

    pictures: NDArray[np.uint8]
    rows: NDArray[np.int64]


class Samples:
    """Sample ``number`` of a pool's ``rows`` (all without), the same each time.

    Holds nothing but the pool's maps; safe in worker processes.
    """

    def __init__(
        self, pool: Pool, size: tuple[int, int], options: SampleOptions, rows: NDArray[np.int64] | None = None
    ) -> None:
        self.options = options
        self._pool = pool
        self._size = size
        self._usable = rows
        rows = np.arange(len(pool)) if rows is None else rows
        self._nobody = rows[pool.person[rows] == NOBODY]
        known = rows[pool.person[rows] != NOBODY]
        order = known[np.argsort(pool.person[known], kind="stable")]
        self._known = order
        self._starts = np.searchsorted(pool.person[order], np.arange(pool.people + 1))

    def drawn_otherwise(self, options: SampleOptions) -> Samples:
        """Samples of the same faces by other ``options``."""
        return Samples(self._pool, self._size, options, self._usable)

    def __getitem__(self, number: int) -> Sample:
        options = self.options
        rng = np.random.default_rng((options.seed, number))
        rows = self._rows(rng)
        pictures = np.empty((VIEWS, *self._size, 3), np.uint8)
        for view, row in enumerate(rows):
            masked = bool(rng.random() < options.masked[view])
            canvas, landmarks = self._pool.canvas[row], self._pool.landmarks[row]
            canvas = covered(np.asarray(canvas), landmarks, masked, options.augmentation, rng)
            pictures[view] = seen(canvas, self._size, options.augmentation, rng)
        return Sample(pictures, rows)

    def _rows(self, rng: np.random.Generator) -> NDArray[np.int64]:
        someone = self._known.size and (not self._nobody.size or rng.random() < self.options.labelled)
        if not someone:
            row = self._nobody[rng.integers(self._nobody.size)]
            return np.array([row, row])
        row = self._known[rng.integers(self._known.size)]
        if rng.random() >= self.options.other:
            return np.array([row, row])
        person = self._pool.person[row]
        mates = self._known[self._starts[person] : self._starts[person + 1]]
        return np.array([row, mates[rng.integers(mates.size)]])
