"""``atmwatch train``: models of one's own, from folders of pictures.  Needs PyTorch, which the extra train brings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from deploy.cli.console import Json, Threads, err, out, print_json
from deploy.cli.train_template import template_command
from deploy.cli.training import Tell, needing_torch, telling
from deploy.settings import load_settings, model_folder
from embedder.cards import load_model_card
from embedder.detect import Detector
from embedder.onnx_model import OnnxModel
from embedder.training.eyes import EyeOptions, Eyes, read_eyes, train_eyes
from embedder.training.judged import Judged
from embedder.training.lessons import Learner, Pace
from embedder.training.placing import PlacingOptions, train_landmarks
from embedder.training.pool import Pool, Preparation
from embedder.training.shipping import LICENCE, Origin, check_place
from embedder.training.sources import list_sources
from embedder.training.wear import Told, WearFaces, WearOptions, train_wear

WEAR_STEPS, EYE_STEPS = WearOptions().pace.steps, EyeOptions().pace.steps
LANDMARK_STEPS = PlacingOptions().pace.steps
TEACHER = "sface"
"""Whose alignment the prepared faces have, and who tells people apart."""

app = typer.Typer(help="Train models of one's own on folders of pictures.", no_args_is_help=True, rich_markup_mode=None)
app.command("template")(template_command)

Place = Annotated[Path, typer.Argument(metavar="OUT", help="The model folder to make; it must not be there yet.")]
Faces = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="A folder of bare faces, unlabelled; several are taken together."),
]
Work = Annotated[
    Path | None,
    typer.Option(help="Where prepared pictures are kept, so that a second run starts at once; OUT.work without it."),
]
Steps = Annotated[int, typer.Option(min=1, help="Steps of 64 pictures.")]
Seed = Annotated[int, typer.Option(min=0, help="Equal seeds, pictures and threads give equal models.")]
Licence = Annotated[str, typer.Option(help="The model's licence, as its card is to state it.")]


@app.command("wear")
def wear_command(
    place: Place,
    masked: Annotated[list[Path], typer.Option(metavar="DIR", help="A folder of people in real masks.")],
    bare: Annotated[
        list[Path], typer.Option(metavar="DIR", help="A folder of bare faces; a fifth of both is judged on.")
    ],
    faces: Faces = None,
    work: Work = None,
    steps: Steps = WEAR_STEPS,
    seed: Seed = 0,
    licence: Licence = LICENCE,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train the classifier of what covers a face: bare, masked, or occluded otherwise.

    Masks, sunglasses, caps and hands are drawn onto the bare faces besides.  A fifth of the real ones is set aside,
    nobody of whom is trained on: people are told apart by their templates.
    """
    workers = load_settings(threads=threads).threads or len(os.sched_getaffinity(0))
    learner = _learner(seed, workers)
    check_place(place)
    with telling() as tell:
        prepare = partial(_prepared, work or _beside(place), tell=tell, threads=workers)
        pools = WearFaces(
            masked=prepare("masked", masked),
            bare=prepare("bare", bare),
            faces=prepare("faces", faces) if faces else None,
            card=load_model_card(model_folder(TEACHER)),
        )
        results = train_wear(
            place,
            pools,
            learner,
            origin=_origin("wear", {"masked": masked, "bare": bare, "faces": faces or ()}, licence),
            options=WearOptions(pace=Pace(steps, seed=seed, threads=workers)),
            told=Told(
                lambda number, total: tell("Drawing masks", number, total, ""),
                lambda step, loss: tell("Training", step, steps, f"loss {loss:.3f}"),
            ),
        )
    _report(place, results, as_json)


@app.command("eyes")
def eyes_command(
    place: Place,
    opened: Annotated[list[Path], typer.Option("--open", metavar="DIR", help="A folder of single open eyes.")],
    closed: Annotated[
        list[Path], typer.Option(metavar="DIR", help="A folder of single closed eyes; a fifth of both is judged on.")
    ],
    faces: Faces = None,
    work: Work = None,
    steps: Steps = EYE_STEPS,
    seed: Seed = 0,
    licence: Licence = LICENCE,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train the classifier of eyes: open, closed or, with faces, hidden.

    Single eyes fill their pictures from the inner end of the brow to past the outer corner.  Faces matter: the eyes of
    camera pictures look otherwise, and without faces many open ones are taken for closed.
    """
    workers = load_settings(threads=threads).threads or len(os.sched_getaffinity(0))
    learner = _learner(seed, workers)
    check_place(place)
    with telling() as tell:
        pool = _prepared(work or _beside(place), "faces", faces, tell=tell, threads=workers) if faces else None
        result = train_eyes(
            place,
            Eyes(closed=_eyes(closed), opened=_eyes(opened), faces=pool, card=load_model_card(model_folder(TEACHER))),
            learner,
            origin=_origin("eyes", {"open": opened, "closed": closed, "faces": faces or ()}, licence),
            options=EyeOptions(pace=Pace(steps, seed=seed, threads=workers)),
            told=lambda number, step, loss: tell(f"Training, round {number + 1}", step, None, f"loss {loss:.3f}"),
        )
    _report(place, {"eyes": result}, as_json)


@app.command("landmarks")
def landmarks_command(
    place: Place,
    faces: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="A folder of bare faces, unlabelled; a fifth of all is judged on."),
    ],
    work: Work = None,
    steps: Steps = LANDMARK_STEPS,
    seed: Seed = 0,
    licence: Licence = LICENCE,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train the network that places the landmarks of bare and of masked faces, by which all faces are aligned.

    Masks and other things are drawn onto the faces, and it learns to say where the landmarks are that the detector
    finds on the bare ones.  A template model whose card names such a model is aligned by it: calibrate it anew then.
    """
    workers = load_settings(threads=threads).threads or len(os.sched_getaffinity(0))
    learner = _learner(seed, workers, "landmarks", "LandmarkLearner")
    check_place(place)
    with telling() as tell:
        pool = _prepared(work or _beside(place), "faces", faces, tell=tell, threads=workers)
        found = train_landmarks(
            place,
            pool,
            load_model_card(model_folder(TEACHER)),
            learner,
            origin=_origin("landmarks", {"faces": faces}, licence),
            options=PlacingOptions(pace=Pace(steps, seed=seed, threads=workers)),
            told=Told(step=lambda step, loss: tell("Training", step, steps, f"loss {loss:.3f}")),
        )
    said = {what: found.sentence(what) for what in found.after}
    if as_json:
        print_json(json.dumps({"model": str(place), "held_out": said}))
        return
    for what, sentence in said.items():
        out.print(f"{what}: the eyes are {sentence}", soft_wrap=True, markup=False)
    out.print(f"The model is in {place}.", markup=False)


def _learner(seed: int, threads: int, module: str = "classifier", name: str = "TorchLearner") -> Learner:
    learner: Learner = getattr(needing_torch(f"embedder.training.nets.{module}"), name)(seed, threads)
    return learner


def _prepared(work: Path, name: str, folders: Sequence[Path], *, tell: Tell, threads: int) -> Pool:
    sources = list_sources([], folders)
    preparation = Preparation(work / name, sources, Detector(model_folder("yunet")), OnnxModel(model_folder(TEACHER)))
    return preparation.run(lambda done, total: tell(f"Preparing {name}", done, total, ""), threads)


def _eyes(folders: Sequence[Path]) -> NDArray[np.uint8]:
    found, refused = read_eyes([source.path for source in list_sources([], folders)])
    if refused:
        err.print(f"{len(refused)} pictures of eyes can't be read, {refused[0].name} first.", markup=False)
    return found


def _beside(place: Path) -> Path:
    return place.with_name(f"{place.name}.work")


def _origin(command: str, folders: Mapping[str, Sequence[Path]], licence: str) -> Origin:
    """What the card says: folders by their own names alone, so that no card tells of a machine."""
    counts = [
        f"{len(list_sources([], [folder])):,} pictures of {folder.resolve().name} ({kind})"
        for kind, named in folders.items()
        for folder in named
    ]
    return Origin("; ".join(counts), f"atmwatch train {command}", f"{datetime.now(UTC):%-d %B %Y}", licence)


def _report(place: Path, results: Mapping[str, Judged], as_json: bool) -> None:
    if as_json:
        found = {
            name: {
                "accuracy": round(result.accuracy, 4),
                "labels": result.labels,
                "confusion": result.confusion.tolist(),
            }
            for name, result in results.items()
        }
        print_json(json.dumps({"model": str(place), "held_out": found}))
        return
    for name, result in results.items():
        table = Table(title=f"Held out, {name}: accuracy {result.accuracy:.4f}")
        table.add_column("Is")
        for label in result.labels:
            table.add_column(f"given {label}", justify="right")
        table.add_column("Right", justify="right")
        right = result.by_label
        for label, row in zip(result.labels, result.confusion.tolist(), strict=True):
            if sum(row):
                table.add_row(label, *(f"{count:,}" for count in row), f"{right[label]:.4f}")
        out.print(table)
    out.print(f"The model is in {place}.", markup=False)
