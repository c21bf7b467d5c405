"""Every template model: the same pixels give the same bytes, of length 1, from any thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from templates import ProjectingModel, write_model

from embedder.embed import Embedder
from embedder.model import VectorModel
from embedder.onnx_model import OnnxModel


@pytest.fixture(scope="module", params=["shipped", "small", "fake"])
def model(request: pytest.FixtureRequest, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> VectorModel:
    kinds: dict[str, Callable[[], VectorModel]] = {
        "shipped": lambda: embedder.model,
        "small": lambda: OnnxModel(write_model(tmp_path_factory.mktemp("small"), lift=1.0)),
        "fake": ProjectingModel,
    }
    return kinds[request.param]()


def pictures(model: VectorModel, count: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    size = model.card.input_size
    return [rng.integers(low, low + 100, (*size, 3), dtype=np.uint8) for low in rng.integers(0, 156, count)]


def test_a_template_is_a_unit_vector_of_the_cards_size(model: VectorModel) -> None:
    size = (*model.card.input_size, 3)
    for image in [*pictures(model), np.zeros(size, np.uint8), np.full(size, 255, np.uint8)]:
        vector = model.embed(image)
        assert vector.dtype == np.float32
        assert vector.shape == (model.card.dim,)
        assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(1, abs=1e-6)


def test_the_same_pixels_give_the_same_bytes(model: VectorModel) -> None:
    first = pictures(model)
    once = [model.embed(image).tobytes() for image in first]
    assert [model.embed(image.copy()).tobytes() for image in reversed(first)][::-1] == once
    assert len(set(once)) == len(once)


def test_a_picture_is_neither_changed_nor_kept(model: VectorModel) -> None:
    image = pictures(model)[0]
    before = image.copy()
    vector = model.embed(image)
    kept = vector.copy()
    np.testing.assert_array_equal(image, before)
    image[:] = 0
    model.embed(image)
    np.testing.assert_array_equal(vector, kept)


def test_a_part_of_a_larger_picture_will_do(model: VectorModel) -> None:
    image = pictures(model)[0]
    larger = np.zeros((image.shape[0] + 6, image.shape[1] + 8, 3), np.uint8)
    larger[3:-3, 4:-4] = image
    assert model.embed(larger[3:-3, 4:-4]).tobytes() == model.embed(image).tobytes()


def test_threads_change_nothing(model: VectorModel) -> None:
    many = pictures(model, 8) * 2
    alone = [model.embed(image).tobytes() for image in many]
    with ThreadPoolExecutor(4) as pool:
        assert [vector.tobytes() for vector in pool.map(model.embed, many)] == alone
