"""How every small network is fitted to a lesson: AdamW, and a learning rate that rises and falls to 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedder.training.lessons import CENTRE, SPREAD, Lesson


@dataclass(frozen=True, slots=True)
class Fitting:
    """The highest learning ``rate``, reached after the share ``rising`` of all steps, and the weight ``decay``."""

    rate: float
    decay: float
    rising: float = 0.3


def fit(network: nn.Module, lesson: Lesson, loss_of: Callable[[Tensor, Tensor], Tensor], fitting: Fitting) -> None:
    """Train ``network`` on the lesson's batches; ``loss_of`` takes their (n, 3, h, w) inputs and (n, …) labels.

    The one-cycle policy of Smith and Topin, "Super-convergence" (2019).
    """
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=fitting.rate, weight_decay=fitting.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, fitting.rate, total_steps=lesson.steps, pct_start=fitting.rising
    )
    for step, (pictures, labels) in enumerate(lesson.batches, start=1):
        loss = loss_of(as_input(pictures), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        lesson.told(step, float(loss.detach()))
    network.eval()


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """(n, height, width, 3) BGR pictures as a small network's input."""
    # Permuted, it lies in memory with its channels last, which takes a third of the time off training.
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - CENTRE) / SPREAD
