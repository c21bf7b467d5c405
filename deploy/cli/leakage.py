"""``atmwatch evaluate leakage``: what templates give away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from deploy.benchmarks.rows import LEAKAGE_HEADS, leakage_rows
from deploy.cli.accuracy import KINDS, Models, Seed, counting
from deploy.cli.columns import print_lines, print_reports
from deploy.cli.console import Json, Threads
from deploy.evaluation.acquire import NONE, RANDOM, Acquirer, check_mask
from deploy.evaluation.labels import read_labels
from deploy.evaluation.leakage import evaluate_leakage
from deploy.evaluation.pictures import listed_pictures
from deploy.settings import load_settings
from embedder.evaluation.leakage import LeakageOptions


def register(app: typer.Typer) -> None:
    """Add ``leakage`` to the ``evaluate`` commands."""
    app.command("leakage")(leakage_command)


def leakage_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of pictures, or with one of them per person.")
    ],
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS.csv", help="A column file (below DIR) or person, and one per label.")
    ],
    mask: Annotated[str, typer.Option(help=f"The masks of the second measurement.  {KINDS}")] = RANDOM,
    limit: Annotated[int | None, typer.Option(min=50, help="Measure so many pictures, drawn by the seed.")] = None,
    seed: Seed = 1,
    model: Models = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """How well sex, age, race or any other label can be read from stored templates, bare and masked.

    A linear and a small non-linear reader are trained on some people and tested on others, in five folds.  A label of
    more than 20 numbers is an age or the like: its mean absolute error is told.
    """
    masks = list(dict.fromkeys((NONE, check_mask(mask))))
    table = read_labels(labels)
    pictures, missing = listed_pictures(folder, table)
    if limit is not None and limit < len(pictures):
        kept = np.sort(np.random.default_rng(seed).permutation(len(pictures))[:limit])
        pictures = [pictures[place] for place in kept.tolist()]
    acquirer = Acquirer(load_settings(model=model[0] if model else None, threads=threads), model or ())
    with counting("Embedding", len(pictures)) as advance:
        acquired = acquirer.acquire(pictures, masks, seed, advance)
    options = LeakageOptions(seed=seed)
    reports = {
        name: evaluate_leakage(name, {kind: acquired[name, kind] for kind in masks}, table, missing, options)
        for name in acquirer.embedders
    }
    if as_json:
        print_reports(reports)
        return
    for name, report in reports.items():
        print_lines(
            f"{name}: read from the templates of {report.images:,} pictures", LEAKAGE_HEADS, leakage_rows(report)
        )
