from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from templates import write_model

from embedder.onnx_runtime import open_session
from ingest.errors import Corrupt, UsageError


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_symbolic_sizes_are_fixed(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "means.onnx"
    assert open_session(path, digest(path), {"batch": 1}).get_inputs()[0].shape == [1, 3, 8, 8]
    assert open_session(path, digest(path), {}).get_inputs()[0].shape == ["batch", 3, 8, 8]


def test_a_session_serves_several_threads(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "means.onnx"
    session = open_session(path, digest(path), {"batch": 1})
    inputs = np.random.default_rng(0).random((64, 1, 3, 8, 8), np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: np.asarray(session.run(None, {"data": x})[0]), inputs))
    np.testing.assert_allclose(np.concatenate(found), inputs.mean(axis=(3, 4))[:, 0], rtol=1e-5)


def test_a_missing_file_is_a_wrong_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights\.onnx can't be read: No such file"):
        open_session(tmp_path / "weights.onnx", "0" * 64, {})


def test_a_file_that_changed_since_its_card_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "means.onnx"
    before = digest(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=rf"means\.onnx has sha256 {digest(path)}, but its card says {before}"):
        open_session(path, before, {})


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x0a"])
def test_a_file_that_is_no_model_is_refused_though_its_card_knows_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=r"weights\.onnx can't be run"):
        open_session(path, digest(path), {})
