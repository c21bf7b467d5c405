"""``atmwatch models``: what ships, and whether it is what its cards say."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from deploy.cli.console import Json, out, print_json
from deploy.settings import model_folder
from embedder.cards import WEIGHTS, load_card
from embedder.detect import Detector
from embedder.onnx_model import OnnxModel

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
        if card.kind == "detector":
            Detector(folder)
        else:
            OnnxModel(folder)
        verified.append({"name": card.name, "sha256": card.sha256})
        if not as_json:
            out.print(f"{card.name}: as its card says (sha256 {card.sha256[:16]}…)")
    if as_json:
        print_json(json.dumps({"verified": verified}))
