"""A thinner network that does nearly the same: channels that others can stand in for are left out.

What a channel tells the next layer is for the most part told by others too.  Channel by channel, the one is left out
whose loss costs the next layer's output least once the weights of those that stay have been fitted anew, which both has
a closed form (optimal brain surgeon: Hassibi & Stork, NIPS 1992; of whole channels, by least squares on what pictures
give there: He, Zhang & Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017).  Layers are
thinned from the first to the last, each fitted to what the whole network has there, so that errors do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from embedder.training.nets.network import CENTRE, DIM, SPREAD, PeriocularNet
from embedder.training.nets.norms import affine

BATCH = 64
RIDGE = 1e-4
"""Of the mean power of a channel: what keeps the equations solvable."""

Floats = NDArray[np.float64]


def thinned(
    network: PeriocularNet, pictures: Tensor, widths: tuple[int, ...], told: Callable[[int], None] = lambda _: None
) -> PeriocularNet:
    """``network`` with the channels of ``widths``, no more than its own, fitted on (n, 3, rows, 112) ``pictures``.

    The network itself stays as it is.  ``told`` hears how many layers are done.
    """
    thin = network
    for place, width in enumerate(widths):
        if width < thin.widths[place]:
            thin = _narrowed(thin, network, pictures, place, width)
        told(place + 1)
    return thin


def _narrowed(thin: PeriocularNet, whole: PeriocularNet, pictures: Tensor, place: int, width: int) -> PeriocularNet:
    last = place + 1 == len(thin.widths)
    given, wanted = _head_moments(thin, whole, pictures) if last else _moments(thin, whole, pictures, place)
    following: Any = None if last else whole.trunk[4 * place + 4]
    importance = None if last else _importance(following[1])
    kept, weights = least_missed(given, wanted, width, importance)
    found = PeriocularNet(thin.rows, (*thin.widths[:place], width, *thin.widths[place + 1 :]))
    found.load_state_dict(_sliced(thin, place, torch.from_numpy(kept)))
    found.eval().to(memory_format=torch.channels_last)
    _fit(found, place, torch.from_numpy(weights).float())
    return found


def least_missed(
    given: Floats, wanted: Floats, width: int, importance: Floats | None = None
) -> tuple[NDArray[np.int64], Floats]:
    """The ``width`` inputs by which outputs are told best, and the weights that do so, (m, width + 1).

    ``given`` are the second moments (n + 1, n + 1) of n inputs and of a constant 1, which stays; ``wanted`` are those
    of m outputs with them, (m, n + 1).  ``importance`` (m,) is what a unit of each output's error counts.
    """
    count = len(given) - 1
    given = given + RIDGE * np.trace(given[:count, :count]) / count * np.diag([*[1.0] * count, 0.0])
    inverse = np.linalg.inv(given)
    weights = wanted @ inverse
    if importance is not None:
        weights = weights * importance[:, None]
    there = np.ones(count, np.bool_)
    for _ in range(count - width):
        power = np.diag(inverse)[:count]
        cost = np.where(there, (weights[:, :count] ** 2).sum(axis=0) / np.where(there, power, 1), np.inf)
        out = int(cost.argmin())
        column = inverse[:, out] / inverse[out, out]
        weights -= np.outer(weights[:, out], column)
        inverse -= np.outer(inverse[:, out], column)
        there[out] = False
    kept = np.flatnonzero(there)
    told = np.append(kept, count)
    return kept, wanted[:, told] @ np.linalg.inv(given[np.ix_(told, told)])


def _moments(thin: PeriocularNet, whole: PeriocularNet, pictures: Tensor, place: int) -> tuple[Floats, Floats]:
    """Of what goes into the block after next's last convolution, and of that convolution in the whole network."""
    into = 4 * place + 4
    convolution: Any = whole.trunk[into][0]
    width, out = thin.widths[place], whole.widths[place + 1]
    given, wanted = torch.zeros(width + 1, width + 1).double(), torch.zeros(out, width + 1).double()
    for batch in _batches(pictures):
        inputs = _with_one(_pixels(thin.trunk[:into](batch)))
        outputs = _pixels(convolution(whole.trunk[:into](batch)))
        given += (inputs.T @ inputs).double()
        wanted += (outputs.T @ inputs).double()
    return given.numpy() / float(given[-1, -1]), wanted.numpy() / float(given[-1, -1])


def _head_moments(thin: PeriocularNet, whole: PeriocularNet, pictures: Tensor) -> tuple[Floats, Floats]:
    """Of the features, in all cells alike, and of what each cell's weights make of them."""
    width = thin.widths[-1]
    given, wanted = torch.zeros(width + 1, width + 1).double(), torch.zeros(whole.widths[-1], width + 1).double()
    for batch in _batches(pictures):
        inputs = _with_one(_pixels(thin.scale(thin.trunk(batch))))
        given += (inputs.T @ inputs).double()
        wanted += (_pixels(whole.scale(whole.trunk(batch))).T @ inputs).double()
    cells = whole.head.weight.detach().view(DIM, whole.widths[-1], -1).permute(0, 2, 1).reshape(-1, whole.widths[-1])
    made = cells.double() @ (wanted / given[-1, -1])
    return given.numpy() / float(given[-1, -1]), made.numpy()


def _fit(found: PeriocularNet, place: int, weights: Tensor) -> None:
    """Put (m, width + 1) ``weights``, the last column a constant, where the channels of ``place`` go in."""
    with torch.no_grad():
        if place + 1 == len(found.widths):
            cells = weights.view(DIM, -1, found.widths[-1] + 1)
            found.head.weight.copy_(cells[..., :-1].permute(0, 2, 1).reshape(DIM, -1))
            found.head.bias += cells[..., -1].sum(dim=1)
        else:
            layer: Any = found.trunk[4 * place + 4]
            conv, norm = layer
            conv.weight.copy_(weights[:, :-1, None, None])
            norm.running_mean -= weights[:, -1]


def _sliced(network: PeriocularNet, place: int, kept: Tensor) -> dict[str, Tensor]:
    """The network's state with only the channels ``kept`` of ``place``."""
    state: dict[str, Tensor] = network.state_dict()
    producers = {4 * place, 4 * place + 1, 4 * place + 2, 4 * place + 3}
    last = place + 1 == len(network.widths)
    for name, value in state.items():
        part, _, rest = name.partition(".")
        number = int(rest.partition(".")[0]) if part == "trunk" else -1
        if value.ndim and (number in producers or (last and part == "scale")):
            state[name] = value[kept]
        elif number == 4 * place + 4 and value.ndim == 4:
            state[name] = value[:, kept]
        elif last and name == "head.weight":
            state[name] = value.view(DIM, network.widths[-1], -1)[:, kept].flatten(1)
    return state


def _importance(norm: Any) -> Floats:
    """What a unit before the batch normalisation is after it, (channels,)."""
    return np.abs(affine(norm)[0]).astype(np.float64)


def _batches(pictures: Tensor) -> Iterator[Tensor]:
    with torch.inference_mode():
        for batch in pictures.split(BATCH):
            yield ((batch - CENTRE) / SPREAD).to(memory_format=torch.channels_last)


def _pixels(maps: Tensor) -> Tensor:
    """(n, channels, h, w) as (n * h * w, channels)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _with_one(rows: Tensor) -> Tensor:
    return functional.pad(rows, (0, 1), value=1.0)
