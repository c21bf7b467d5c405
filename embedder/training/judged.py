"""How a classifier did on pictures whose labels are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Judged:
    """``confusion`` (labels, labels) int64: how many pictures of the row's label were given the column's."""

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]

    @property
    def pictures(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of pictures that were given their label; 0 of none."""
        return float(np.trace(self.confusion) / max(self.pictures, 1))

    @property
    def by_label(self) -> dict[str, float]:
        """The share that was given its label, for each label that some picture has."""
        rows = zip(self.labels, self.confusion, strict=True)
        return {label: float(row[i] / row.sum()) for i, (label, row) in enumerate(rows) if row.sum()}

    def sentence(self) -> str:
        """``0.9950 of 400 pictures (bare 0.9900 of 200, masked 1.0000 of 200)``."""
        counts = dict(zip(self.labels, self.confusion.sum(axis=1).tolist(), strict=True))
        each = ", ".join(f"{label} {share:.4f} of {counts[label]:,}" for label, share in self.by_label.items())
        return f"{self.accuracy:.4f} of {self.pictures:,} pictures ({each})"


def judge(labels: tuple[str, ...], true: NDArray[np.int64], given: NDArray[np.int64]) -> Judged:
    """Of n pictures with ``true`` labels, places in ``labels``, that were ``given`` those."""
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true, given), 1)
    return Judged(labels, confusion)
