"""What every test may use: one way to draw examples, and the shipped models, loaded once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

from embedder.cards import WEIGHTS
from embedder.detect import Detector, Image
from embedder.embed import Embedder
from embedder.onnx_model import OnnxModel

pytest_plugins = ["servers.plugin"]

# A shared machine may be slow at any time, so no example has a deadline; in CI the same examples are drawn each time.
settings.register_profile("atmwatch", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("atmwatch")

FACES = Path(__file__).parents[1] / "deploy" / "simulator" / "faces"


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector(WEIGHTS / "yunet")


@pytest.fixture(scope="session")
def embedder(detector: Detector) -> Embedder:
    """The shipped models behind the shipped gate.  Its clock is everybody's."""
    return Embedder(detector, OnnxModel(WEIGHTS / "sface"))


@pytest.fixture(scope="session")
def portraits() -> Mapping[str, Image]:
    """The bundled portraits by name, BGR, read-only: person_a_1 to _3 are one person, person_b_1 and person_c_1 two."""
    found = {}
    for path in sorted(FACES.glob("*.jpg")):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        image.flags.writeable = False
        found[path.stem] = image
    assert len(found) == 5
    return found
