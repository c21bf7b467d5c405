"""``atmwatch train template``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.console import Json, Threads, err, out, print_json, stopping
from deploy.cli.training import needing_torch, telling
from deploy.settings import load_settings
from ingest.errors import UsageError

FAILED = 1
Folders = list[Path]


def template_command(
    place: Annotated[Path, typer.Argument(metavar="OUT", help="Where the run lives; OUT/NAME becomes the model.")],
    name: Annotated[str, typer.Option(help="Of the model: small letters, digits and hyphens.")],
    people: Annotated[Folders, typer.Option(metavar="DIR", help="DIR/person/pictures; several are taken together.")],
    pictures: Annotated[
        Folders | None, typer.Option(metavar="DIR", help="A folder of faces of nobody in particular; several as well.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of 64 pictures.")] = 4000,
    rows: Annotated[
        int, typer.Option(help="Of the aligned face, from the top: 64 to 112 by 8; fewer are faster.")
    ] = 104,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds and pictures draw equal samples.")] = 0,
    device: Annotated[str, typer.Option(help="As PyTorch names it: cpu, cuda, mps.")] = "cpu",
    licence: Annotated[str, typer.Option(help="The model's licence, as its card is to state it.")] = (
        "As the owners of the training pictures allow"
    ),
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a model of the templates by which people are told apart, for masked and bare faces alike.

    Starts from SFace, which also is the teacher, without those of its channels for which others can stand in: a masked
    face is taught the vector of the same face bare, and to keep away from everybody else's.  Masks, other occlusions
    and what an ATM's camera does to a picture are drawn anew in every step.  Every fifth person is kept out, and the
    card is calibrated on them.

    SIGINT or SIGTERM writes a checkpoint and ends; the same command goes on from there.  Afterwards
    `atmwatch evaluate verification DIR --mask random --model sface --model OUT/NAME` shows what was gained.
    """
    made = needing_torch("deploy.training")
    settings = load_settings(threads=threads)
    if not name.replace("-", "").isalnum() or name != name.lower():
        message = f"a model's name has small letters, digits and hyphens, not {name!r}"
        raise UsageError(message)
    options = made.TrainingOptions(steps=steps, rows=rows, device=device)
    options = replace(options, sampling=replace(options.sampling, seed=seed))
    order = made.TemplateOrder(name, tuple(people), tuple(pictures or ()), licence, options)
    with stopping() as stop, telling() as tell:
        found = made.train_template(place, order, settings, tell, stop.is_set)
    if found is None:
        err.print("Stopped before the end: the same command goes on from there.")
        raise typer.Exit(FAILED)
    if as_json:
        print_json(found.card.model_dump_json(indent=2))
        return
    for what, said in found.card.measured.items():
        out.print(f"{what}: {said}", soft_wrap=True)
    out.print(f"The model is in {place / name}; its curves are {place / 'curves.png'}.", soft_wrap=True, markup=False)
