"""``atmwatch bench accuracy`` and ``bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.atomic import write_atomically
from deploy.benchmarks.accuracy import AccuracyOptions, bench_accuracy
from deploy.benchmarks.report import ACCURACY, refresh, write_report
from deploy.cli.accuracy import Bootstrap, Folder, Models, Seed, Whom, counting
from deploy.cli.console import Json, Threads, err, out, print_json
from deploy.evaluation.acquire import Acquirer
from deploy.settings import load_settings
from embedder.evaluation.bootstrap import DRAWS
from embedder.evaluation.protocols import People
from ingest.errors import UsageError

BASELINE = "sface"
"""What every other model is measured beside."""


def register(app: typer.Typer) -> None:
    """Add ``accuracy`` and ``report`` to the ``bench`` commands."""
    app.command("accuracy")(accuracy_command)
    app.command("report")(report_command)


def accuracy_command(
    folder: Folder,
    out_folder: Annotated[Path, typer.Option("--out", help="Where results and plots go.")] = Path("benchmarks"),
    people: Whom = People.REST,
    real_masks: Annotated[
        Path | None, typer.Option(help="People with real masks: DIR/person/masked_* and unmasked_*.")
    ] = None,
    attributes: Annotated[Path | None, typer.Option(help="Pictures whose templates' leakage is measured.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Their labels: a CSV with a column file, and sex, race, age.")
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw DET, ROC and score histograms (needs Matplotlib).")] = True,
    bootstrap: Bootstrap = DRAWS,
    seed: Seed = 1,
    model: Models = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure all conditions in one run: bare, masked probe, both masked; clustering; real masks; leakage; speed.

    Without --model, plain SFace beside the model that the settings name.  The result is OUT/accuracy.json; `atmwatch
    bench report OUT` makes tables of it.
    """
    settings = load_settings(model=model[0] if model else None, threads=threads)
    if out_folder.exists() and not out_folder.is_dir():
        message = f"--out {out_folder} is not a folder"
        raise UsageError(message)
    acquirer = Acquirer(settings, list(dict.fromkeys(model or (BASELINE, settings.model))))
    drawn = out_folder / "plots" if plots else None
    options = AccuracyOptions(folder, people, real_masks, attributes, labels, drawn, bootstrap, seed)
    result = bench_accuracy(acquirer, options, counting)
    out_folder.mkdir(parents=True, exist_ok=True)
    content = result.model_dump_json(indent=2)
    write_atomically(out_folder / ACCURACY, content.encode() + b"\n")
    if as_json:
        print_json(content)
    else:
        out.print(f"The result is {out_folder / ACCURACY}; `atmwatch bench report {out_folder}` makes tables of it.")


def report_command(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A folder of results.")] = Path("benchmarks"),
    into: Annotated[Path | None, typer.Option(help="Refresh the marked tables of this Markdown document, too.")] = None,
) -> None:
    """Sum up results as OUT/report.md and OUT/report.json: accuracy.json, and what `bench NAME --json` wrote there."""
    for path in write_report(folder):
        out.print(str(path), markup=False)
    if into:
        err.print(f"{into}: refreshed {', '.join(refresh(into, folder))}", markup=False, soft_wrap=True)
