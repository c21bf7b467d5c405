"""How long each model takes for one aligned face, on one core, in the same run."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from time import perf_counter

import numpy as np

from embedder.detect import Image
from embedder.model import VectorModel

ROUNDS = 100


def milliseconds_per_face(models: Mapping[str, VectorModel], rounds: int = ROUNDS, seed: int = 1) -> dict[str, float]:
    """The median time from aligned face to vector of every model, by name.

    The models take turns, so that whatever else the machine does slows all of them alike.  Their inputs are noise: the
    work does not depend on what a face looks like.
    """
    rng = np.random.default_rng(seed)
    faces: dict[str, Image] = {
        name: rng.integers(0, 256, (*model.card.input_size, 3), dtype=np.uint8) for name, model in models.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in models}
    for name, model in models.items():
        model.embed(faces[name])  # the first is slower: memory is planned
    for _ in range(rounds):
        for name, model in models.items():
            start = perf_counter()
            model.embed(faces[name])
            spent[name].append(perf_counter() - start)
    return {name: 1000 * median(times) for name, times in spent.items()}
