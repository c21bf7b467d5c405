"""Writes a small trained network as a model folder: weights, card and licence, whole or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedder.cards import ClassifierCard, LandmarkCard
from embedder.training.lessons import CENTRE, INPUT, OUTPUT, SPREAD
from ingest.errors import UsageError

LICENCE = "As the owners of the training pictures allow"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a card says of where a model comes from: the pictures, the command, the day (as people write it)."""

    trained_on: str
    made_by: str
    made_on: str
    licence: str = LICENCE


def check_place(place: Path) -> None:
    """Raise ``UsageError`` unless ``place`` is free, or an empty folder."""
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        message = f"{place} is there already: name a new folder for the model"
        raise UsageError(message)


class ModelFolder:
    """A folder in the making: ``path`` is it while it is made, and ``done`` puts it in its place.

    Raises ``UsageError`` when something is in that place already.
    """

    def __init__(self, place: Path) -> None:
        check_place(place)
        self.place = place
        self.path = place.with_name(f"{place.name}.new")
        self.path.mkdir(parents=True, exist_ok=True)

    def weights(self, name: str) -> Path:
        """Where the weights go."""
        return self.path / f"{name}.onnx"

    def describe(
        self,
        name: str,
        origin: Origin,
        measured: dict[str, str],
        about: dict[str, Any],
        kind: type[ClassifierCard | LandmarkCard] = ClassifierCard,
    ) -> None:
        """Write the card, of a ``kind``, of the weights as they are now, and the licence."""
        weights = self.weights(name)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        card = kind(
            name=name,
            model_id=f"{name}-{digest[:12]}",
            file=weights.name,
            sha256=digest,
            licence=origin.licence,
            source="Trained from random weights",
            made_by=origin.made_by,
            trained_on=origin.trained_on,
            input_name=INPUT,
            channels="BGR",
            mean=CENTRE,
            std=SPREAD,
            output=OUTPUT,
            measured=measured | {"when": origin.made_on} if measured else measured,
            **about,
        )
        text = card.model_dump_json(indent=2, exclude_none=True)
        (self.path / "card.json").write_text(text + "\n", "utf-8")
        notice = f"{card.title}\n\nTrained on: {origin.trained_on}\nLicence: {origin.licence}\n"
        (self.path / "LICENSE").write_text(notice, "utf-8")

    def done(self) -> Path:
        """Put the folder in its place."""
        if self.place.is_dir():
            self.place.rmdir()
        return self.path.rename(self.place)
