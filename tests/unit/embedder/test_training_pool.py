"""Preparing pictures for training: once, resumable, and nothing lost to a bad one."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from embedder.cards import WEIGHTS
from embedder.detect import Detector, Image
from embedder.onnx_model import OnnxModel
from embedder.training import pool as pool_module
from embedder.training.pool import MARGIN, NOBODY, Pool, Preparation
from embedder.training.sources import Source, list_sources
from ingest.errors import UsageError


@pytest.fixture(scope="module")
def teacher() -> OnnxModel:
    return OnnxModel(WEIGHTS / "sface")


@pytest.fixture
def sources(tmp_path: Path, portraits: Mapping[str, Image]) -> list[Source]:
    """Two people with two pictures each (one of them a mirror image), one passer-by, and three bad files."""
    for name, image in portraits.items():
        person = name.split("_")[1]
        folder = tmp_path / "people" / person if person in "ab" else tmp_path / "street"
        folder.mkdir(parents=True, exist_ok=True)
        small = cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{name}.jpg"), small)
        if person == "b":
            cv2.imwrite(str(folder / "mirrored.jpg"), small[:, ::-1])
    (tmp_path / "street" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    cv2.imwrite(str(tmp_path / "street" / "wall.jpg"), np.full((200, 200, 3), 90, np.uint8))
    (tmp_path / "street" / "dangling.jpg").write_bytes(b"")
    return list_sources([tmp_path / "people"], [tmp_path / "street"])


def prepare(
    folder: Path, sources: list[Source], detector: Detector, teacher: OnnxModel
) -> tuple[Pool, list[tuple[int, int]]]:
    heard: list[tuple[int, int]] = []
    pool = Preparation(folder, sources, detector, teacher).run(lambda done, total: heard.append((done, total)))
    return pool, heard


def test_faces_are_aligned_with_their_landmarks_and_the_teachers_word(
    tmp_path: Path, sources: list[Source], detector: Detector, teacher: OnnxModel
) -> None:
    pool, heard = prepare(tmp_path / "pool", sources, detector, teacher)
    assert heard == [(9, 9)]
    assert len(pool) == 6
    assert pool.people == 2
    assert pool.person.tolist() == [0, 0, 0, 1, 1, NOBODY]
    assert pool.canvas.shape == (6, 112 + 2 * MARGIN, 112 + 2 * MARGIN, 3)
    wanted = np.array(teacher.card.template) + MARGIN
    assert np.abs(pool.landmarks[:, :2] - wanted[:2]).max() < 4
    inner = np.ascontiguousarray(pool.canvas[3][MARGIN:-MARGIN, MARGIN:-MARGIN])
    np.testing.assert_allclose(pool.teacher[3], teacher.embed(inner), atol=1e-6)
    alike = pool.teacher @ pool.teacher.T
    assert min(alike[0, 1], alike[0, 2], alike[3, 4]) > max(alike[0, 3], alike[3, 5], alike[0, 5])
    with (tmp_path / "pool" / "refused.csv").open(encoding="utf-8", newline="") as file:
        refused = {Path(path).name: why for path, why in csv.reader(file)}
    assert set(refused) == {"broken.jpg", "dangling.jpg", "wall.jpg"}
    assert refused["wall.jpg"] == "no_face"


def test_a_second_start_goes_on_where_the_first_was_stopped(
    tmp_path: Path,
    sources: list[Source],
    detector: Detector,
    teacher: OnnxModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, _ = prepare(tmp_path / "whole", sources, detector, teacher)
    monkeypatch.setattr(pool_module, "CHUNK", 2)

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Preparation(tmp_path / "pool", sources, detector, teacher).run(stop)
    again, heard = prepare(tmp_path / "pool", sources, detector, teacher)
    assert [done for done, _ in heard] == [6, 8, 9]
    for name in ("canvas", "landmarks", "teacher", "person"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    _, heard = prepare(tmp_path / "pool", sources, detector, teacher)
    assert heard == []


def test_a_folder_of_other_pictures_is_refused(
    tmp_path: Path, sources: list[Source], detector: Detector, teacher: OnnxModel
) -> None:
    prepare(tmp_path / "pool", sources[:2], detector, teacher)
    assert json.loads((tmp_path / "pool" / "progress.json").read_text("utf-8"))["done"] == 2
    with pytest.raises(UsageError, match="was prepared from other pictures"):
        prepare(tmp_path / "pool", sources, detector, teacher)


def test_pictures_without_any_face_are_refused(tmp_path: Path, detector: Detector, teacher: OnnxModel) -> None:
    cv2.imwrite(str(tmp_path / "wall.jpg"), np.full((64, 64, 3), 90, np.uint8))
    gone = Source(tmp_path / "gone.jpg", None)
    with pytest.raises(UsageError, match="none of the 2 pictures shows a face"):
        prepare(tmp_path / "pool", [Source(tmp_path / "wall.jpg", None), gone], detector, teacher)
    assert "unreadable: No such file" in (tmp_path / "pool" / "refused.csv").read_text("utf-8")
