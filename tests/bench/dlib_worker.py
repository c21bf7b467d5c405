"""dlib's side of the comparison, run by the Python of a scratch environment: HOG, descriptor, Chinese Whispers.

    python dlib_worker.py pictures.json result.json

``pictures.json`` holds ``bare`` and ``masked``, lists of paths in one order.  ``result.json`` gets, for each,
``descriptors`` (128 numbers, or null where no face is found) and ``seconds``, and under ``clusters`` the cluster of
every second picture masked (null where no face is found).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

UPSAMPLE = 1
LINK_BELOW = 0.5
"""The distance below which two faces are linked, as in dlib's own example."""


def models_folder() -> Path:
    """Where ``face_recognition_models`` keeps its files; not imported, since it needs an old setuptools."""
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or not found.submodule_search_locations:
        message = "face_recognition_models is not installed here"
        raise SystemExit(message)
    return Path(found.submodule_search_locations[0]) / "models"


def main(listing: Path, result: Path) -> None:
    """Describe every picture, cluster the half-masked stream, write the result."""
    dlib: Any = importlib.import_module("dlib")
    models = models_folder()
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def described(path: str) -> Any:
        image = dlib.load_rgb_image(path)
        faces = detector(image, UPSAMPLE)
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.area())
        return network.compute_face_descriptor(image, predictor(image, largest))

    found: dict[str, Any] = {}
    vectors: dict[str, list[Any]] = {}
    for side, paths in json.loads(listing.read_text("utf-8")).items():
        start = perf_counter()
        vectors[side] = [described(path) for path in paths]
        found[side] = {
            "seconds": perf_counter() - start,
            "descriptors": [None if vector is None else list(vector) for vector in vectors[side]],
        }
    sides = ("bare", "masked")
    stream = [vectors[sides[place % 2]][place] for place in range(len(vectors["bare"]))]
    usable = [place for place, vector in enumerate(stream) if vector is not None]
    clusters: list[int | None] = [None] * len(stream)
    for place, cluster in zip(
        usable, dlib.chinese_whispers_clustering([stream[place] for place in usable], LINK_BELOW), strict=True
    ):
        clusters[place] = cluster
    found["clusters"] = clusters
    result.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
