"""``atmwatch models``: what ships, and whether it is what its cards say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deploy.calibrate import calibrate, write_card
from deploy.cli.console import Json, out, print_json, progress_bar
from deploy.evaluation.pictures import labelled_pictures
from deploy.settings import load_settings, model_folder
from embedder.cards import WEIGHTS, load_card
from embedder.detect import Detector
from embedder.evaluation.protocols import People
from embedder.landmarks import Landmarker
from embedder.onnx_classifier import OnnxClassifier
from embedder.onnx_model import OnnxModel
from ingest.errors import UsageError

LOADERS: dict[str, Callable[[Path], object]] = {
    "detector": Detector,
    "landmarks": Landmarker,
    "template": OnnxModel,
    "classifier": OnnxClassifier,
}
"""What loads and checks a model, by its card's kind."""

app = typer.Typer(help="List and verify model folders.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Show the models that are shipped, with licence and source."""
    cards = [load_card(path.parent) for path in sorted(WEIGHTS.glob("*/card.json"))]
    if as_json:
        print_json(json.dumps({"models": [card.model_dump(mode="json") for card in cards]}))
        return
    table = Table()
    for name in ("Name", "Kind", "Title", "Licence", "Trained on"):
        table.add_column(name)
    for card in cards:
        table.add_row(card.name, card.kind, card.title, card.licence, card.trained_on)
    out.print(table)


@app.command("verify")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Model names or folders; all shipped ones without.")] = None,
    as_json: Json = False,
) -> None:
    """Load models and check weights, input and output against their cards.  Exit 1 when one does not fit."""
    folders = [model_folder(name) for name in names or sorted(path.parent.name for path in WEIGHTS.glob("*/card.json"))]
    verified = []
    for folder in folders:
        card = load_card(folder)
        LOADERS[card.kind](folder)
        verified.append({"name": card.name, "sha256": card.sha256})
        if not as_json:
            out.print(f"{card.name}: as its card says (sha256 {card.sha256[:16]}…)")
    if as_json:
        print_json(json.dumps({"verified": verified}))


@app.command("calibrate")
def calibrate_command(
    folder: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder of your own; its card is replaced.")],
    people: Annotated[Path, typer.Argument(metavar="DIR", help="DIR/person/pictures of people it did not learn from.")],
    only: Annotated[People, typer.Option("--people", help="Take a part of the people, by their names.")] = People.ALL,
    seed: Annotated[int, typer.Option(help="Of the masks that are drawn.")] = 1,
    as_json: Json = False,
) -> None:
    """Learn from labelled pictures what a model's scores mean, and write it into its card.

    Thresholds for target false match rates, log-likelihood ratios, and the limits for linking faces to people are all
    measured: bare, and with masks drawn on every second picture.  Needs people with two pictures or more; some hundred
    of them give thresholds worth having.
    """
    if folder.parent.resolve() == WEIGHTS.resolve() or not folder.is_dir():
        message = f"{folder} is not a model folder of your own: copy a shipped one, or train one"
        raise UsageError(message)
    with progress_bar() as bar:
        task = bar.add_task("", total=None, rate="", detail="")

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        found = calibrate(
            folder,
            labelled_pictures(people, only),
            load_settings(),
            told=people.name,
            seed=seed,
            on_progress=show,
        )
    write_card(folder, found.card)
    if as_json:
        print_json(found.card.model_dump_json(indent=2))
        return
    for name, said in found.card.measured.items():
        out.print(f"{name}: {said}", soft_wrap=True)
    linking = found.card.linking
    out.print(f"Faces link at {linking.threshold:.2f}, less {linking.background:.1f} of the background.")
