"""What is left out is what others stand in for, and what stays is fitted to what was there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from embedder.cards import WEIGHTS
from embedder.training.nets.export import INPUT, export
from embedder.training.nets.network import CENTRE, SPREAD, WIDTHS, PeriocularNet, as_input, from_sface
from embedder.training.nets.thin import least_missed, thinned

SFACE = WEIGHTS / "sface" / "sface.onnx"
ROWS = 32


@pytest.fixture(scope="module")
def whole() -> PeriocularNet:
    return from_sface(SFACE, ROWS).eval()


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Not faces, but pictures that are smooth in places."""
    rng = np.random.default_rng(4)
    small = rng.integers(0, 256, (24, ROWS // 8, 14, 3)).astype(np.uint8)
    return as_input(small.repeat(8, axis=1).repeat(8, axis=2))


def moments(inputs: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.column_stack([inputs, np.ones(len(inputs))])
    given = rows.T @ rows / len(rows)
    return given, np.column_stack([weights, np.zeros(len(weights))]) @ given


def test_inputs_that_others_tell_are_left_out_and_made_up_for() -> None:
    rng = np.random.default_rng(1)
    free = rng.normal(size=(500, 4)) + 1
    inputs = np.column_stack([free, free[:, 0] + free[:, 1], 2 - free[:, 2]])
    weights = rng.normal(size=(3, 6))
    kept, fitted = least_missed(*moments(inputs, weights), 4)
    assert len(kept) == 4
    np.testing.assert_allclose(inputs[:, kept] @ fitted[:, :-1].T + fitted[:, -1], inputs @ weights.T, atol=1e-2)
    assert 3 in kept


def test_what_matters_most_stays() -> None:
    inputs = np.random.default_rng(2).normal(size=(500, 5))
    weights = np.diag([1.0, 5.0, 2.0, 4.0, 3.0])
    assert least_missed(*moments(inputs, weights), 2)[0].tolist() == [1, 3]
    important = np.array([100.0, 1.0, 1.0, 1.0, 1.0])
    assert least_missed(*moments(inputs, weights), 2, important)[0].tolist() == [0, 1]


def test_as_many_channels_as_before_are_the_same_network(whole: PeriocularNet, faces: torch.Tensor) -> None:
    assert thinned(whole, faces, WIDTHS) is whole


def test_a_thinned_network_does_nearly_the_same(whole: PeriocularNet, faces: torch.Tensor) -> None:
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    done: list[int] = []
    thin = thinned(whole, faces, (*WIDTHS[:10], 496, 512, 960, 992), done.append)
    assert done[-1] == len(WIDTHS)
    assert thin.widths == (*WIDTHS[:10], 496, 512, 960, 992)
    with torch.inference_mode():
        alike = (thin(faces) * whole(faces)).sum(dim=1)
    assert float(alike.min()) > 0.97
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)


def test_a_thinned_network_is_exported_as_it_is(whole: PeriocularNet, faces: torch.Tensor, tmp_path: Path) -> None:
    thin = thinned(whole, faces, (*WIDTHS[:12], 960, 960))
    path = tmp_path / "net.onnx"
    export(thin, path)
    (raw,) = onnxruntime.InferenceSession(str(path)).run(None, {INPUT: ((faces - CENTRE) / SPREAD).numpy()})
    with torch.inference_mode():
        ours = thin(faces).numpy()
    np.testing.assert_allclose((ours * raw / np.linalg.norm(raw, axis=1, keepdims=True)).sum(axis=1), 1, atol=1e-3)
