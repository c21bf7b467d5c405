"""What training strives for: a masked face's vector is where the teacher put the bare one's, and far from others'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ObjectiveOptions:
    """Weights of the three parts; ``sharpness`` (the inverse temperature) and ``margin`` of the two contrasts.

    ``memory`` is how many of the network's latest vectors serve as impostors; ``person`` is how far a known
    person's target is drawn from the picture's own vector to the mean of the person's.
    """

    distil: float = 4.0
    teacher: float = 1.0
    pair: float = 1.0
    sharpness: float = 32.0
    margin: float = 0.1
    memory: int = 4096
    person: float = 0.5


@dataclass(frozen=True, slots=True)
class Losses:
    """The whole, and its parts, each a scalar tensor."""

    total: Tensor
    distil: Tensor
    teacher: Tensor
    pair: Tensor


class Objective:
    """Holds the teacher's (n, dim) vectors and the (n,) ids of whom they show, -1 where unknown."""

    def __init__(self, teacher: Tensor, person: Tensor, options: ObjectiveOptions) -> None:
        self._options = options
        # A picture of nobody in particular is a person of its own.
        self._ids = torch.where(person >= 0, person, torch.arange(len(person), device=person.device) + person.max() + 1)
        self._teacher = teacher
        self._targets = self._drawn_together(teacher, person)
        self._memory = torch.empty(0, teacher.shape[1], device=teacher.device)
        self._memory_ids = torch.empty(0, dtype=torch.long, device=teacher.device)

    def __call__(self, vectors: Tensor, rows: Tensor) -> Losses:
        """The losses of (b, 2, dim) L2-normalised views of the (b, 2) rows of the pool."""
        options = self._options
        flat, row = vectors.flatten(0, 1), rows.flatten()
        ids = self._ids[row]
        genuine = (flat * self._targets[row]).sum(1)
        distil = (1 - genuine).mean()
        others = flat @ self._teacher.T
        teacher = self._contrast(genuine, others.masked_fill(ids[:, None] == self._ids[None], -torch.inf))
        mates = (vectors[:, 0] * vectors[:, 1]).sum(1).repeat_interleave(2)
        bank, bank_ids = torch.cat([flat, self._memory]), torch.cat([ids, self._memory_ids])
        pair = self._contrast(mates, (flat @ bank.T).masked_fill(ids[:, None] == bank_ids[None], -torch.inf))
        self._remember(flat.detach(), ids)
        total = options.distil * distil + options.teacher * teacher + options.pair * pair
        return Losses(total, distil, teacher, pair)

    def state(self) -> dict[str, Tensor]:
        """What it remembers, for a checkpoint."""
        return {"vectors": self._memory, "ids": self._memory_ids}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what ``state`` gave; nothing, when it is empty."""
        if state:
            self._memory = state["vectors"].to(self._memory.device)
            self._memory_ids = state["ids"].to(self._memory.device)

    def _contrast(self, genuine: Tensor, impostors: Tensor) -> Tensor:
        """InfoNCE (van den Oord et al., 2018) with an additive margin (Wang et al., CosFace, 2018)."""
        options = self._options
        own = options.sharpness * (genuine - options.margin)
        rest = torch.logsumexp(options.sharpness * impostors, dim=1)
        return functional.softplus(rest - own).mean()

    def _remember(self, vectors: Tensor, ids: Tensor) -> None:
        self._memory = torch.cat([vectors, self._memory])[: self._options.memory]
        self._memory_ids = torch.cat([ids, self._memory_ids])[: self._options.memory]

    def _drawn_together(self, teacher: Tensor, person: Tensor) -> Tensor:
        known = person >= 0
        if not known.any():
            return teacher
        sums = torch.zeros(int(person.max()) + 1, teacher.shape[1], device=teacher.device)
        sums.index_add_(0, person[known], teacher[known])
        targets = teacher.clone()
        share = self._options.person
        targets[known] = (1 - share) * teacher[known] + share * functional.normalize(sums)[person[known]]
        return functional.normalize(targets)
