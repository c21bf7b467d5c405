"""The templates that are kept of every identity: vectors in an index, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.codes import Vectors
from clustering.index import Rows, VectorIndex
from clustering.room import more

NOBODY = -1
SLOTS = 8
"""Of each identity there is room for so many templates at first."""


@dataclass(frozen=True, slots=True)
class Templates:
    """``vectors`` (n, dim) float32, their quality scores (n,), and whether something covered the faces (n,)."""

    vectors: Vectors
    qualities: NDArray[np.float64]
    covered: NDArray[np.bool_]


class Gallery:
    """Templates by row of the index, and the rows of each identity's slots, which have no gaps.

    Owned by one thread.  Others may read meanwhile; what they read of an identity whose template is being written is of
    before, of after or a mixture, and a row that they find among its slots can be read.
    """

    def __init__(self, index: VectorIndex) -> None:
        self.index = index
        self.writes = 0
        """How often a vector was written."""
        self._size = 0
        self._owners = np.zeros(0, np.int64)
        self._qualities = np.zeros(0)
        self._covered = np.zeros(0, np.bool_)
        self._slots = np.full((1, SLOTS), NOBODY, np.int32)  # nobody has number 0

    def __len__(self) -> int:
        return self._size

    def owners(self, rows: Rows) -> NDArray[np.int64]:
        """The identity numbers (n,) of ``rows`` (n,)."""
        return self._owners[rows]

    def qualities(self, rows: Rows) -> NDArray[np.float64]:
        """The quality scores (n,) of the templates in ``rows`` (n,)."""
        return self._qualities[rows]

    def quality(self, number: int, slot: int) -> float:
        """The quality score of the template in an identity's slot, which must be taken."""
        return float(self._qualities[self._slots[number, slot]])

    def covered(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether something covered the faces (n,) whose templates are in ``rows`` (n,)."""
        return self._covered[rows]

    def slots(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """The rows (…, most) of the identities with ``numbers`` (…), in the order of their slots, then ``NOBODY``.

        Each must have a template; ``NOBODY`` has none.
        """
        return self._slots[np.maximum(numbers, 0)]

    def rows(self, number: int) -> Rows:
        """The rows of one identity's slots; none of one that has no template."""
        return np.array(self._taken(number), np.int64)

    def taken(self, number: int) -> int:
        """How many slots of one identity are taken."""
        return len(self._taken(number))

    def row(self, number: int, slot: int) -> int:
        """The row of an identity's slot, which must be taken."""
        return int(self._slots[number, slot])

    def write(self, number: int, slot: int, vector: Vectors, quality: float, *, covered: bool) -> int:
        """Put a ``vector`` (dim,) into a slot of an identity: the next one, or one that is taken.  Its row."""
        row = int(self._slots[number, slot]) if self._reaches(number, slot) else NOBODY
        new = row == NOBODY
        if new:
            row = self._size
            self._make_room(row + 1)
            self._owners[row] = number
            self._size += 1
        self._qualities[row], self._covered[row] = quality, covered
        self.index.put(np.array([row]), vector[None])
        if new:  # last of all: whoever reads it now can read all the rest
            self._make_slots(number + 1, slot + 1)
            self._slots[number, slot] = row
        self.writes += 1
        return row

    def fill(self, owners: NDArray[np.int64], templates: Templates) -> None:
        """Put ``templates`` (n of them) into the blank gallery, whose ``owners`` (n,) come in order, slot by slot."""
        rows = np.arange(len(owners))
        self._make_room(len(rows))
        self._owners[rows] = owners
        self._qualities[rows], self._covered[rows] = templates.qualities, templates.covered
        self.index.put(rows, templates.vectors)
        self._size = len(rows)
        if len(rows):
            slots = rows - np.searchsorted(owners, owners)
            self._make_slots(int(owners[-1]) + 1, int(slots.max()) + 1)
            self._slots[owners, slots] = rows

    def _taken(self, number: int) -> list[int]:
        if number >= len(self._slots):
            return []
        slots: list[int] = self._slots[number].tolist()
        return slots[: slots.index(NOBODY)] if NOBODY in slots else slots

    def _reaches(self, number: int, slot: int) -> bool:
        numbers, slots = self._slots.shape
        return number < numbers and slot < slots

    def _make_room(self, rows: int) -> None:
        new = more(len(self._owners), rows)
        if new:
            self._owners = np.concatenate([self._owners, np.full(new, NOBODY, np.int64)])
            self._qualities = np.concatenate([self._qualities, np.zeros(new)])
            self._covered = np.concatenate([self._covered, np.zeros(new, np.bool_)])

    def _make_slots(self, numbers: int, slots: int) -> None:
        if not self._reaches(numbers - 1, slots - 1):
            height, width = self._slots.shape
            new = more(height, numbers)
            wider = max(width, 2 * width if slots > width else 0, slots)
            found = np.full((height + new, wider), NOBODY, np.int32)
            found[:height, :width] = self._slots
            self._slots = found
