"""The fifth of the pictures that training never sees: no person, and no picture twice, on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024


def grouped(*looks: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """A number for each of n pictures; equal for those that belong together, by way of others too.

    ``looks`` are (n, dim) arrays of unit vectors, several looks at the same pictures (such as mirrored ones): two
    pictures belong together when the first look at one and any look at the other have a cosine of ``threshold``.
    """
    first = looks[0]
    groups = np.arange(len(first))
    for start in range(0, len(first), BLOCK):
        alike = np.zeros((min(BLOCK, len(first) - start), len(first)), np.bool_)
        for look in looks:
            alike |= first[start : start + BLOCK] @ look.T >= threshold
        for row, others in enumerate(alike, start):
            linked = np.unique(np.append(groups[others], groups[row]))
            if len(linked) > 1:
                groups[np.isin(groups, linked)] = linked[0]
    return groups


def held_out(groups: NDArray[np.int64], seed: int, share: float = 0.2) -> NDArray[np.bool_]:
    """Which pictures are set aside: whole groups, drawn by ``seed``, up to ``share`` of all pictures."""
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    aside = order[np.cumsum(sizes[order]) <= share * len(groups)]
    return np.asarray(np.isin(groups, names[aside]))
