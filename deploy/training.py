"""A template model of one's own: prepared, trained, exported and calibrated, in one folder that can be gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.calibrate import Calibrated, calibrate, write_card
from deploy.evaluation.pictures import Labelled
from deploy.settings import Settings, model_folder
from embedder.cards import ModelCard
from embedder.detect import Detector
from embedder.onnx_model import OnnxModel
from embedder.training.curves import draw_curves
from embedder.training.nets.export import INPUT, export
from embedder.training.nets.network import CENTRE, DIM, SPREAD, WIDTH
from embedder.training.nets.trainer import Progress, Training, TrainingOptions
from embedder.training.pool import Preparation
from embedder.training.sources import hold_out, list_sources
from embedder.training.straight import straight
from ingest.errors import UsageError

TEACHER = "sface"
LANDMARKS = "landmarks"
"""What places the landmarks by which faces are aligned for a model that is trained here."""
EVENLY = (1.0, 1.0, 1.0, 1.0, 1.0)
"""How much each landmark weighs in that: it knows where the mouth is behind a mask, and the detector does not."""
Tell = Callable[[str, int, int, str], None]
"""Hears what is being done, how far it is, of how much, and a detail."""


@dataclass(frozen=True, slots=True)
class TemplateOrder:
    """What to make: the model's ``name`` and ``licence``, from labelled ``people`` and ``pictures`` of nobody."""

    name: str
    people: tuple[Path, ...]
    pictures: tuple[Path, ...] = ()
    licence: str = "As the owners of the training pictures allow"
    training: TrainingOptions = field(default_factory=TrainingOptions)


def train_template(
    out: Path, order: TemplateOrder, settings: Settings, tell: Tell, stopped: Callable[[], bool]
) -> Calibrated | None:
    """Make ``out/NAME`` a model folder; None when ``stopped`` ended it, and the same call goes on from there.

    Every fifth person is not learnt from: the card is calibrated on them.  ``out`` keeps the prepared pictures, the
    checkpoint and ``curves.png``.  Raises ``UsageError`` for folders that teach nothing, and for an ``out`` of another
    order.
    """
    sources = list_sources(order.people, order.pictures)
    learnt, kept = hold_out(sources)
    if not kept:
        message = "at least five labelled people with two pictures each are needed: every fifth is kept to calibrate by"
        raise UsageError(message)
    teacher = OnnxModel(model_folder(TEACHER))
    preparation = Preparation(out / "pool", learnt, Detector(model_folder(settings.detector)), teacher)
    pool = preparation.run(lambda done, total: tell("Preparing", done, total, ""), settings.threads or 2)
    start = model_folder(TEACHER) / teacher.card.file
    layers = len(order.training.widths)
    training = Training(
        out,
        pool,
        start,
        order.training,
        usable=straight(pool, teacher.card),
        thinning=lambda done: tell("Thinning", done, layers, ""),
    )

    def progressed(progress: Progress) -> None:
        draw_curves(training.curves, out / "curves.png")
        loss = f"loss {progress.losses['total']:.3f}, {progress.rate:.1f} pictures/s"
        tell("Training", progress.step, progress.steps, loss)

    training.run(progressed, stopped)
    if training.step < order.training.steps:
        return None
    folder = out / order.name
    folder.mkdir(exist_ok=True)
    export(training.finished(), folder / f"{order.name}.onnx")
    write_card(folder, _card(folder, order, teacher.card, f"{len(pool):,} pictures, {pool.people:,} known people"))
    (folder / "LICENSE").write_text(f"{order.name}\n\nLicence: {order.licence}\n", "utf-8")
    judged = [Labelled(str(source.person), source.path, number) for number, source in enumerate(kept)]
    found = calibrate(
        folder,
        judged,
        settings,
        told="People kept from training",
        on_progress=lambda what, done, total: tell(what, done, total, ""),
    )
    write_card(folder, found.card)
    return found


def _card(folder: Path, order: TemplateOrder, teacher: ModelCard, learnt: str) -> ModelCard:
    """The card before calibration: what stands for the scores is the teacher's."""
    digest = hashlib.sha256((folder / f"{order.name}.onnx").read_bytes()).hexdigest()
    folders = ", ".join(path.resolve().name for path in (*order.people, *order.pictures))
    return teacher.model_copy(
        update={
            "name": order.name,
            "title": f"{order.name}, {DIM}-d templates led by the eye region",
            "file": f"{order.name}.onnx",
            "sha256": digest,
            "licence": order.licence,
            "source": f"Trained from {teacher.name}'s weights ({teacher.sha256[:12]})",
            "source_sha256": None,
            "made_by": "atmwatch train template",
            "trained_on": f"{learnt} of {folders}, each also with drawn masks; the start on {teacher.trained_on}",
            "limits": "Measured on few people unless its card says otherwise; a bank measures on its own pictures.",
            "model_id": f"{order.name}-{digest[:12]}",
            "landmarks": LANDMARKS,
            "landmark_weights": EVENLY,
            "input_name": INPUT,
            "input_size": (order.training.rows, WIDTH),
            "mean": CENTRE,
            "std": SPREAD,
            "dim": DIM,
            "measured": {"data": "not measured yet"},
        }
    )
