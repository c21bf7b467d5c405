"""Model cards: what a weights folder must say about itself before it is loaded."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, ValidationError, model_validator

from ingest.errors import UsageError

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Point = tuple[float, float]
Side = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
EyeWeight = Annotated[float, Field(gt=0)]
WEIGHTS = Path(__file__).parent / "weights"
"""Where the shipped models are: one folder each."""


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    title: str
    file: Annotated[str, StringConstraints(pattern=r"^[\w.-]+\.onnx$")]
    sha256: Sha256
    licence: str
    source: str
    source_sha256: Sha256 | None = None
    made_by: str
    trained_on: str
    intended_use: str
    limits: str


class DetectorCard(_Card):
    """A face detector: what it is, where it comes from, under which licence."""

    kind: Literal["detector"]


class Line(BaseModel):
    """Cosine to natural log-likelihood ratio that two templates are one person's: ``slope * cosine + intercept``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: Annotated[float, Field(gt=0)]
    intercept: float


class PairKind(StrEnum):
    """What is compared: how many of two faces are covered, and whether either is of poor quality."""

    BARE = "bare"
    MIXED = "mixed"
    COVERED = "covered"
    BARE_POOR = "bare, poor"
    MIXED_POOR = "mixed, poor"
    COVERED_POOR = "covered, poor"


class Calibration(Line):
    """What a cosine says of any two faces, and of each kind of pair in ``groups``, of which it says more or less.

    A face is poor whose quality score is below ``fine_from``.  A kind that is not there is like any two.
    """

    fitted_on: str
    fine_from: Annotated[float, Field(ge=0, le=1)] = 0.0
    groups: dict[PairKind, Line] = {}


class Linking(BaseModel):
    """How a model's scores link faces to identities; chosen on people set aside for it (see the card).

    A face joins an identity when its score, less ``background`` times the background level, reaches ``threshold``.
    The level is the face's mean score over the best ``cohort`` other identities.  A score is the mean of the
    ``best_of`` best cosines, plus ``growth`` for what a mean of several loses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: float
    background: Annotated[float, Field(ge=0, le=1)]
    cohort: Annotated[int, Field(ge=1, le=64)]
    best_of: Annotated[int, Field(ge=1, le=64)]
    growth: float


class PictureCard(_Card):
    """A network that takes pictures of ``input_size`` (height, width), channels in ``channels`` order.

    Values are ``(value - mean) / std``.
    """

    kind: str
    model_id: str
    input_name: str
    input_size: tuple[Side, Side]
    channels: Literal["RGB", "BGR"]
    mean: float
    std: Annotated[float, Field(gt=0)]
    measured: dict[str, str]


class LandmarkCard(PictureCard):
    """A network that places landmarks more exactly: what it looks at, and what its output means.

    The input is a face of ``input_size`` (height, width) whose landmarks, as far as they are known, lie at ``template``
    with ``landmark_weights``, channels in ``channels`` order, ``(value - mean) / std``.  ``output`` names 5 x, y in
    pixels of the input: by how much each landmark lies away from its place in the template.  Looking again at where
    they are then makes them better still: ``looks`` are taken at most.
    """

    kind: Literal["landmarks"]
    output: str
    template: tuple[Point, Point, Point, Point, Point]
    landmark_weights: tuple[EyeWeight, EyeWeight, Weight, Weight, Weight]
    looks: Annotated[int, Field(ge=1, le=8)]


class ModelCard(PictureCard):
    """A template model: how to prepare its input, and how to read its scores.

    The input is an aligned face of ``input_size`` (height, width), landmarks at ``template`` (5 points, x, y)
    with ``landmark_weights``, channels in ``channels`` order, ``(value - mean) / std``.  ``landmarks`` names the
    landmark model that places them; None, and the detector's second look does.  ``thresholds`` are cosines by target
    false match rate.  ``model_id`` travels with every template: vectors of different ids are never compared.
    """

    kind: Literal["template"]
    landmarks: str | None = None
    template: tuple[Point, Point, Point, Point, Point]
    landmark_weights: tuple[EyeWeight, EyeWeight, Weight, Weight, Weight]
    dim: Annotated[int, Field(gt=0)]
    thresholds: dict[str, float]
    calibration: Calibration
    linking: Linking


class ClassifierCard(PictureCard):
    """A classifier of a face or of an eye: how to cut its input out of a picture, and what its outputs mean.

    The input is ``input_size`` (height, width), channels in ``channels`` order, ``(value - mean) / std``.  Of a
    ``face`` it shows the landmarks at ``template`` with ``landmark_weights``, as a template model's card does; of an
    ``eye`` the upright square around it whose side is ``side`` eye distances.  ``output`` names the logits, one for
    each of ``labels``; their softmax is the probability.
    """

    kind: Literal["classifier"]
    sees: Literal["face", "eye"]
    labels: Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")], ...], Field(min_length=2)]
    output: str
    template: tuple[Point, Point, Point, Point, Point] | None = None
    landmark_weights: tuple[EyeWeight, EyeWeight, Weight, Weight, Weight] | None = None
    side: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _says_where_to_look(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            message = "labels must differ"
            raise ValueError(message)
        if self.sees == "face" and (self.template is None or self.landmark_weights is None):
            message = "a classifier of a face needs template and landmark_weights"
            raise ValueError(message)
        if self.sees == "eye" and self.side is None:
            message = "a classifier of an eye needs side"
            raise ValueError(message)
        return self


Card = DetectorCard | LandmarkCard | ModelCard | ClassifierCard


class _AnyCard(RootModel[Annotated[Card, Field(discriminator="kind")]]):
    """A card of any kind."""


CardT = TypeVar("CardT", bound=BaseModel)


def _read(folder: Path) -> bytes:
    path = folder / "card.json"
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"model folder {folder} has no readable card.json: {error.strerror}"
        raise UsageError(message) from error


def load_card(folder: Path) -> Card:
    """The card of any model folder; ``UsageError`` names what does not fit."""
    return _validated(_AnyCard, folder).root


def load_detector_card(folder: Path) -> DetectorCard:
    """The card of a detector's folder; ``UsageError`` names what does not fit."""
    return _validated(DetectorCard, folder)


def load_landmark_card(folder: Path) -> LandmarkCard:
    """The card of a landmark model's folder; ``UsageError`` names what does not fit."""
    return _validated(LandmarkCard, folder)


def load_model_card(folder: Path) -> ModelCard:
    """The card of a template model's folder; ``UsageError`` names what does not fit."""
    return _validated(ModelCard, folder)


def load_classifier_card(folder: Path) -> ClassifierCard:
    """The card of a classifier's folder; ``UsageError`` names what does not fit."""
    return _validated(ClassifierCard, folder)


def _validated(kind: type[CardT], folder: Path) -> CardT:
    try:
        return kind.model_validate_json(_read(folder))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = f"{folder / 'card.json'}: {place}: {first['msg']}"
        raise UsageError(message) from error
