"""What changes between two pictures of a person counts for less, and nothing else about the network is new."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedder.cards import WEIGHTS
from embedder.training.nets.network import DIM, PeriocularNet, from_sface
from embedder.training.nets.whiten import whitened

SFACE = WEIGHTS / "sface" / "sface.onnx"
ROWS = 32


@pytest.fixture(scope="module")
def network() -> PeriocularNet:
    return from_sface(SFACE, ROWS).eval()


@pytest.fixture(scope="module")
def views() -> torch.Tensor:
    """Of each of 30, two pictures: one with a stripe that is the same for all."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (30, 1, 3, ROWS // 8, 14)).repeat(8, axis=3).repeat(8, axis=4)
    pair = coarse.repeat(2, axis=1).astype(np.float32)
    pair[:, 0, :, -8:] = 200
    return torch.from_numpy(pair)


def likeness(network: PeriocularNet, views: torch.Tensor) -> tuple[float, float]:
    """The mean cosine of pairs of one, and of pictures of two."""
    with torch.inference_mode():
        one, other = (network(views[:, view]) for view in range(2))
    cosines = one @ other.T
    genuine = float(cosines.diagonal().mean())
    return genuine, float((cosines.sum() - cosines.diagonal().sum()) / (cosines.numel() - len(cosines)))


@pytest.mark.parametrize("kinds", ["one", "both"])
def test_people_are_told_apart_better(network: PeriocularNet, views: torch.Tensor, kinds: str) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    same = torch.arange(len(views)) % 2 == 0 if kinds == "both" else torch.ones(len(views), dtype=torch.bool)
    white = whitened(network, views, same)
    genuine, impostor = likeness(white, views)
    was_genuine, was_impostor = likeness(network, views)
    assert genuine - impostor > was_genuine - was_impostor
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)
    changed = {name for name, value in white.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.partition(".")[0] for name in changed} == {"head", "spread"}


def test_the_head_holds_what_arithmetic_says(network: PeriocularNet, views: torch.Tensor) -> None:
    white = whitened(network, views, torch.ones(len(views), dtype=torch.bool))
    with torch.inference_mode():
        old, new = (net.raw(views.flatten(0, 1)).double().numpy() for net in (network, white))
    assert np.abs(new.mean(axis=0)).max() < 1e-3 * np.abs(new).max()
    centred = old - old.mean(axis=0)
    turn = np.linalg.lstsq(centred, new, rcond=None)[0]
    np.testing.assert_allclose(centred @ turn, new, atol=1e-3 * np.abs(new).max())
    assert new.shape == (60, DIM)
