"""Faces without pictures: template models and embeddings made of arithmetic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clustering.records import Decision, Sighting
from embedder.cards import WEIGHTS, ModelCard, load_model_card
from embedder.records import Box, FaceEmbedding, Quality, pack
from ingest.records import AtmEvent, GeoPoint, Position, Record
from ingest.stage import Delivery

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
QUALITY = Quality(eye_distance_px=60, sharpness=200, brightness=120, contrast=40, yaw=0, detection=0.9, score=0.9)


def model_card(dim: int = 8, **more: Any) -> ModelCard:
    """The shipped model's card, for vectors of ``dim``."""
    linking = {"threshold": 0.5, "background": 0.4, "cohort": 5, "best_of": 3, "growth": 0.03}
    shipped = load_model_card(WEIGHTS / "sface").model_dump()
    return ModelCard.model_validate(shipped | {"model_id": "m.1", "dim": dim, "linking": linking} | more)


def unit(vector: Sequence[float] | np.ndarray) -> np.ndarray:
    """``vector`` with length 1, float32."""
    exact = np.asarray(vector, np.float64)
    return np.asarray(exact / np.linalg.norm(exact), np.float32)


def people(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """(count, dim) float64 unit vectors at random."""
    drawn = np.random.default_rng(seed).normal(size=(count, dim))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def face(
    name: object, vector: Sequence[float] | np.ndarray, minutes: float = 0, quality: float = 0.9, **event: Any
) -> FaceEmbedding:
    """The embedding of event ``name``, ``minutes`` after noon; its vector is brought to length 1."""
    place = event.pop("place", None)
    return FaceEmbedding(
        face_id=f"{name}#0",
        event=AtmEvent(
            event_id=str(name),
            atm_id=event.pop("atm", "a1"),
            card_token=event.pop("card", None),
            captured_at=NOON + timedelta(minutes=minutes),
            atm_location=place and GeoPoint(lat=place[0], lon=place[1]),
            **event,
        ),
        model_id="m.1",
        vector=pack(unit(vector)),
        box=Box(x=1, y=2, width=30, height=40),
        landmarks=((1.0, 2.0),) * 5,
        quality=QUALITY.model_copy(update={"score": quality}),
    )


def deliveries(records: Sequence[Record]) -> list[Delivery]:
    return [Delivery(record, Position(offset=i)) for i, record in enumerate(records)]


class ProjectingModel:
    """A template model without a network: the face in little, through a fixed random matrix."""

    def __init__(self, dim: int = 16) -> None:
        self.card = model_card(dim)
        self._matrix = np.random.default_rng(1).normal(size=(dim, 193)).astype(np.float32)

    def embed(self, aligned: np.ndarray) -> np.ndarray:
        small = cv2.resize(aligned, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
        vector = (self._matrix * np.append(small, np.float32(1))).sum(axis=1)
        return np.asarray(vector / np.float32(np.linalg.norm(vector)), np.float32)


def write_model(folder: Path, *, lift: float = 0.0, size: int = 8, batch: int | str = "batch", **card: Any) -> Path:
    """A model folder whose network gives the mean of each channel, plus ``lift``: three values."""
    network = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Add", ["flat", "lift"], ["vector"]),
        ],
        "means",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(np.full(3, lift, np.float32), "lift")],
    )
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    content = model.SerializeToString(deterministic=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "means.onnx").write_bytes(content)
    fields = model_card(3).model_dump(mode="json") | {
        "file": "means.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "input_size": [8, 8],
    }
    write_card(folder, fields | card)
    return folder


def write_card(folder: Path, fields: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(json.dumps(fields), "utf-8")


def sighting(found: FaceEmbedding, number: int = 1, slot: int | None = 0, **more: Any) -> Sighting:
    """``found`` as the picture of identity ``number``, whose id derives from its number."""
    fields: dict[str, Any] = {
        "face_id": found.face_id,
        "identity_id": f"person-{number}",
        "number": number,
        "decision": Decision.FOUNDED if slot == 0 else Decision.JOINED,
        "slot": slot,
        "visits": 1,
        "event": found.event,
        "model_id": found.model_id,
        "vector": found.vector,
        "box": found.box,
        "quality": found.quality,
        "position": Position(offset=0),
    }
    return Sighting(**(fields | more))
