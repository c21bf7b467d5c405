"""What a small network is taught, without a word on which library learns it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.detect import Image
from ingest.errors import UsageError

INPUT, OUTPUT = "picture", "logits"
"""What the input and the output of every small trained network are called."""
CENTRE, SPREAD = 127.5, 64.0
"""Its input is ``(value - CENTRE) / SPREAD``."""
AHEAD = 3

Label = TypeVar("Label")
Draw = Callable[[Generator], tuple[Image, Label]]
"""One picture as it is to be learnt, drawn by a generator, and its label; called from several threads."""
Batch = tuple[NDArray[np.uint8], NDArray[Any]]
"""(n, height, width, 3) uint8 BGR pictures, and their (n, …) labels."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """``batches`` of pictures of (height, width) = ``size``; of each, ``outputs`` numbers are to be learnt.

    Of a class, labels are numbers below ``outputs``; else they are those numbers themselves.
    """

    outputs: int
    size: tuple[int, int]
    batches: Iterator[Batch]
    steps: int
    told: Callable[[int, float], None]
    """Hears the step and its loss."""


class Learner(Protocol):
    """Learns a lesson and writes it as ONNX: normalised (batch, 3, height, width) float32 to (batch, outputs)."""

    def __call__(self, lesson: Lesson, path: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """``steps`` of ``batch`` pictures, made by so many ``threads``; equal seeds draw equal pictures."""

    steps: int
    batch: int = 64
    seed: int = 0
    threads: int = 2


def drawn(draw: Draw[Any], pace: Pace) -> Iterator[Batch]:
    """``pace.steps`` batches; picture by picture from its number alone, whichever thread makes it."""

    def batch(step: int) -> Batch:
        made = [
            draw(np.random.default_rng((pace.seed, number)))
            for number in range(step * pace.batch, (step + 1) * pace.batch)
        ]
        return np.stack([picture for picture, _ in made]), np.array([label for _, label in made])

    with ThreadPoolExecutor(pace.threads, "draw") as workers:
        waiting: deque[Future[Batch]] = deque()
        for step in range(pace.steps):
            waiting.append(workers.submit(batch, step))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def check_classes(counts: dict[str, int], least: int = 10) -> None:
    """Raise ``UsageError`` unless there are ``least`` pictures of each class: a fifth of them is set aside."""
    for label, count in counts.items():
        if count < least:
            message = f"{count} usable pictures are {label}, and {least} are needed at least"
            raise UsageError(message)
