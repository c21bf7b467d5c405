"""The network that is trained is SFace, and what is exported is the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from embedder.cards import WEIGHTS
from embedder.training.nets.export import INPUT, export
from embedder.training.nets.network import CENTRE, DIM, EARLY, SPREAD, PeriocularNet, as_input, from_sface
from ingest.errors import UsageError

SFACE = WEIGHTS / "sface" / "sface.onnx"


def pictures(count: int, rows: int = 112) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (count, rows, 112, 3), dtype=np.uint8)


def test_the_whole_network_is_sface_to_a_ten_thousandth() -> None:
    faces = as_input(pictures(3))
    session = onnxruntime.InferenceSession(str(SFACE))
    with torch.inference_mode():
        ours = from_sface(SFACE).eval().raw(faces).numpy()
    np.testing.assert_allclose(ours, session.run(None, {"data": faces.numpy()})[0], atol=1e-4)


@pytest.mark.parametrize("rows", [64, 96, 104])
def test_a_head_on_fewer_rows_is_the_part_of_sface_that_looks_at_them(rows: int) -> None:
    whole, part = from_sface(SFACE), from_sface(SFACE, rows)
    cells = -(-rows // 16)
    kept = part.head.weight.view(DIM, -1, cells, 7)
    torch.testing.assert_close(kept, whole.head.weight.view(DIM, -1, 7, 7)[:, :, :cells])
    with torch.inference_mode():
        vectors = part.eval()(as_input(pictures(2, rows)))
    assert vectors.shape == (2, DIM)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("rows", [0, 100, 128])
def test_rows_fill_the_stride(rows: int) -> None:
    with pytest.raises(UsageError, match="a multiple of 8 rows up to 112"):
        PeriocularNet(rows)


def test_another_architecture_is_no_start() -> None:
    with pytest.raises(UsageError, match="is no SFace"):
        from_sface(WEIGHTS / "yunet" / "yunet.onnx")


def test_early_layers_can_be_left_as_they_are() -> None:
    network = from_sface(SFACE, 64)
    network.freeze_early()
    assert not any(p.requires_grad for p in network.trunk[:EARLY].parameters())
    assert all(p.requires_grad for p in network.trunk[EARLY:].parameters())
    assert all(p.requires_grad for p in network.head.parameters())


@pytest.mark.parametrize("rows", [64, 104])
def test_the_exported_file_says_what_the_network_says(rows: int, tmp_path: Path) -> None:
    network = from_sface(SFACE, rows).eval()
    export(network, tmp_path / "net.onnx")
    faces = as_input(pictures(2, rows))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (raw,) = session.run(None, {INPUT: ((faces - CENTRE) / SPREAD).numpy()})
    theirs = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    with torch.inference_mode():
        ours = network(faces).numpy()
    np.testing.assert_allclose((ours * theirs).sum(axis=1), 1, atol=1e-3)  # the head has weights of seven bits
    assert (tmp_path / "net.onnx").stat().st_size < 13e6
    export(network, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
