"""The last layer, so turned and stretched that what changes between pictures of one person counts for less.

A mask moves all faces the same way, and age, light and pose move them in ways that the network has not unlearnt:
within-class covariance normalisation (Hatch, Kajarekar & Stolcke, "Within-class covariance normalization for SVM-based
speaker recognition", Interspeech 2006).  The templates' mean is taken off first, so that what all faces share makes no
two people alike.  Both are linear, and go into the head: they cost nothing when it is used.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from embedder.training.nets.network import PeriocularNet
from embedder.training.nets.norms import affine

BATCH = 64
POWER = 0.5
"""Of the full normalisation, which makes all directions within a person alike."""
RIDGE = 0.3
"""Of the mean variance: what keeps small directions from being blown up."""


def whitened(network: PeriocularNet, views: Tensor, same: Tensor) -> PeriocularNet:
    """``network`` with another head, fitted on two ``views`` (n, 2, 3, rows, 112) of each of n people.

    ``same`` (n,) says whether they are of one picture, masked and bare, or of two; both kinds count alike.
    """
    with torch.inference_mode():
        raw = torch.cat([network.raw(batch) for batch in views.flatten(0, 1).split(BATCH)]).double()
    mean = raw.mean(dim=0)
    apart = raw.view(len(views), 2, -1).diff(dim=1)[:, 0]
    kinds = [apart[of] for of in (same, ~same) if bool(of.any())]
    within = torch.stack([kind.T @ kind / (2 * len(kind)) for kind in kinds]).mean(dim=0)
    values, directions = torch.linalg.eigh(within)
    turn = directions * (values + RIDGE * values.mean()) ** (-POWER / 2) @ directions.T
    found = copy.deepcopy(network)
    _fold(found, turn, mean)
    return found


def _fold(network: PeriocularNet, turn: Tensor, mean: Tensor) -> None:
    """Put ``turn @ (vector - mean)`` behind the head, in the head."""
    norm, head = network.spread, network.head
    with torch.no_grad():
        scale, shift = (torch.from_numpy(part).double() for part in affine(norm))
        head.weight.copy_(turn @ (scale[:, None] * head.weight.double()))
        head.bias.copy_(turn @ (scale * head.bias.double() + shift - mean))
        state = norm.state_dict()
        state["running_mean"].zero_()
        state["running_var"].fill_(1 - norm.eps)
        state["weight"].fill_(1)
        state["bias"].zero_()
