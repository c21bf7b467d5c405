"""What training strives for: a masked face's vector is where the teacher put the bare one's, and far from others'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ObjectiveOptions:
    """Weights of the three parts, and what they are made with.

    ``distil`` weighs that a view's vector is its target: the teacher's vector of the bare picture, drawn for a known
    person by ``person`` towards the mean of that person's.  ``teacher`` weighs that it is as like everybody in the pool
    as its target is, at ``softness`` (the inverse temperature): the best of strangers count most, as they do in use.
    ``pair`` weighs that two views of one person are more alike than those of others, with ``sharpness`` and ``margin``;
    the others are the network's ``memory`` latest vectors, without those that the teacher finds more alike than
    ``stranger``: pictures of nobody in particular often show one person several times.
    """

    distil: float = 6.0
    teacher: float = 1.0
    pair: float = 0.1
    sharpness: float = 32.0
    margin: float = 0.1
    softness: float = 16.0
    memory: int = 4096
    stranger: float = 0.35
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
        self._memory_rows = torch.empty(0, dtype=torch.long, device=teacher.device)

    def __call__(self, vectors: Tensor, rows: Tensor) -> Losses:
        """The losses of (b, 2, dim) L2-normalised views of the (b, 2) rows of the pool."""
        options = self._options
        flat, row = vectors.flatten(0, 1), rows.flatten()
        genuine = (flat * self._targets[row]).sum(1)
        distil = (1 - genuine).mean()
        teacher = self._likened(flat, self._targets[row])
        mates = (vectors[:, 0] * vectors[:, 1]).sum(1).repeat_interleave(2)
        bank, bank_rows = torch.cat([flat, self._memory]), torch.cat([row, self._memory_rows])
        pair = self._contrast(mates, (flat @ bank.T).masked_fill(self._alike(row, bank_rows), -torch.inf))
        self._remember(flat.detach(), row)
        total = options.distil * distil + options.teacher * teacher + options.pair * pair
        return Losses(total, distil, teacher, pair)

    def state(self) -> dict[str, Tensor]:
        """What it remembers, for a checkpoint."""
        return {"vectors": self._memory, "rows": self._memory_rows}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what ``state`` gave; nothing, when it is empty."""
        if state:
            self._memory = state["vectors"].to(self._memory.device)
            self._memory_rows = state["rows"].to(self._memory.device)

    def _likened(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """How far the likeness to everybody in the pool is from that of the target's (Hinton et al., 2015)."""
        gallery = self._options.softness * self._teacher.T
        return functional.kl_div(
            (vectors @ gallery).log_softmax(1),
            (targets @ gallery).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )

    def _contrast(self, genuine: Tensor, impostors: Tensor) -> Tensor:
        """InfoNCE (van den Oord et al., 2018) with an additive margin (Wang et al., CosFace, 2018)."""
        options = self._options
        own = options.sharpness * (genuine - options.margin)
        rest = torch.logsumexp(options.sharpness * impostors, dim=1)
        return functional.softplus(rest - own).mean()

    def _alike(self, rows: Tensor, others: Tensor) -> Tensor:
        """(b, n) whether rows of the pool are of one person, by the labels or as far as the teacher can tell."""
        same = self._ids[rows][:, None] == self._ids[others][None]
        return same | (self._teacher[rows] @ self._teacher[others].T > self._options.stranger)

    def _remember(self, vectors: Tensor, rows: Tensor) -> None:
        self._memory = torch.cat([vectors, self._memory])[: self._options.memory]
        self._memory_rows = torch.cat([rows, self._memory_rows])[: self._options.memory]

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
