"""``atmwatch evaluate``: accuracy on a folder of known people."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deploy.benchmarks.plots import Curve, check_plots, write_plots
from deploy.benchmarks.rows import GROUP_HEADS, clustering_rows, group_rows, verification_rows
from deploy.cli import leakage
from deploy.cli.accuracy import KINDS, Bootstrap, Folder, Models, Seed, Whom, counting
from deploy.cli.columns import print_columns, print_lines, print_reports
from deploy.cli.console import Json, Threads, Threshold, out
from deploy.evaluation.acquire import NONE, Acquirer, check_mask
from deploy.evaluation.clustering import evaluate_stream, stream_order
from deploy.evaluation.labels import read_labels
from deploy.evaluation.pictures import check_genuine, labelled_pictures, matching
from deploy.evaluation.verification import VerificationOptions, Verified, evaluate_verification
from deploy.settings import load_settings
from embedder.evaluation.bootstrap import DRAWS
from embedder.evaluation.protocols import People
from embedder.pairs import read_pairs
from ingest.errors import UsageError

app = typer.Typer(
    help="Measure accuracy on DIR/person/pictures, through the pipeline that replay uses.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
leakage.register(app)


class Protocol(StrEnum):
    """Which pairs are compared."""

    ALL_PAIRS = "all-pairs"
    DICTA = "dicta"


@app.command("verification")
def verification_command(
    folder: Folder,
    pairs: Annotated[Path | None, typer.Option(help="Compare these pairs only (LFW or MFR2 format).")] = None,
    gallery_mask: Annotated[str, typer.Option(help=KINDS)] = NONE,
    probe_mask: Annotated[str, typer.Option(help=KINDS)] = NONE,
    mask: Annotated[str | None, typer.Option(help="The same mask option for gallery and probe.")] = None,
    gallery_files: Annotated[
        str | None, typer.Option(help="Only file names of this pattern in the gallery, such as 'unmasked_*'.")
    ] = None,
    probe_files: Annotated[str | None, typer.Option(help="Only file names of this pattern among the probes.")] = None,
    people: Whom = People.ALL,
    protocol: Annotated[
        Protocol, typer.Option(help="All pairs; or one authentic and one impostor probe per person, drawn by the seed.")
    ] = Protocol.ALL_PAIRS,
    labels: Annotated[
        Path | None, typer.Option(help="CSV with a column file or person, and one per label: errors by group.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw DET, ROC and score histograms into this folder.")] = None,
    bootstrap: Bootstrap = DRAWS,
    seed: Seed = 1,
    model: Models = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Error rates of deciding whether two pictures show one person: EER, FNMR at three FMRs, failure to acquire.

    Every pair of different pictures is compared once; when gallery and probe are masked differently or are different
    files, every ordered pair of different pictures.  Pictures without a usable face count as failure to acquire.
    """
    masks = [check_mask(kind) for kind in ((mask, mask) if mask else (probe_mask, gallery_mask))]
    if pairs and protocol is not Protocol.ALL_PAIRS:
        message = "--pairs and --protocol dicta each name the pairs: give one of them"
        raise UsageError(message)
    options = VerificationOptions(
        pairs=tuple(read_pairs(pairs)) if pairs else None,
        one_probe=protocol is Protocol.DICTA,
        draws=bootstrap,
        seed=seed,
        labels=read_labels(labels) if labels else None,
    )
    if plots:
        check_plots()
    pictures = labelled_pictures(folder, people)
    sides = [matching(pictures, pattern) for pattern in (probe_files, gallery_files)]
    if not pairs:
        check_genuine(*sides)
    acquirer = Acquirer(load_settings(model=model[0] if model else None, threads=threads), model or ())
    needed = sorted({picture.number: picture for side in sides for picture in side}.values(), key=lambda p: p.number)
    with counting("Embedding", len(needed)) as advance:
        acquired = acquirer.acquire(needed, list(dict.fromkeys(masks)), seed, advance)
    one_set = masks[0] == masks[1] and sides[0] == sides[1]
    verified: dict[str, Verified] = {}
    for name in acquirer.embedders:
        probe, gallery = (acquired[name, kind].only(side) for kind, side in zip(masks, sides, strict=True))
        verified[name] = evaluate_verification(probe, None if one_set else gallery, options)
    if plots:
        write_plots(plots, f"Probes: {masks[0]}, gallery: {masks[1]}", _curves(verified))
    if as_json:
        print_reports({name: one.report for name, one in verified.items()})
        return
    print_columns("Verification", {name: verification_rows(one.report) for name, one in verified.items()})
    for name, one in verified.items():
        for grouping, groups in one.report.groups.items():
            title = f"{name}: by {grouping.replace('_', ' ')}, at the threshold of FMR 1e-3 over all pairs"
            print_lines(title, GROUP_HEADS, group_rows(groups))
    if plots:
        out.print(f"Plots are in {plots}.", markup=False)


@app.command("clustering")
def clustering_command(
    folder: Folder,
    mask: Annotated[str, typer.Option(help=KINDS)] = NONE,
    order: Annotated[str, typer.Option(help="shuffled (by the seed), or path: as the files are named.")] = "shuffled",
    people: Whom = People.ALL,
    bootstrap: Bootstrap = DRAWS,
    seed: Seed = 1,
    model: Models = None,
    threshold: Threshold = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """How well a stream of pictures falls into people: BCubed, pairwise, NMI, error of the visit counts, recall."""
    check_mask(mask)
    if order not in {"shuffled", "path"}:
        message = f"--order is shuffled or path, not {order!r}"
        raise UsageError(message)
    pictures = labelled_pictures(folder, people)
    settings = load_settings(model=model[0] if model else None, threads=threads, threshold=threshold)
    acquirer = Acquirer(settings, model or ())
    with counting("Embedding", len(pictures)) as advance:
        acquired = acquirer.acquire(pictures, [mask], seed, advance)
    reports = {}
    for name, embedder in acquirer.embedders.items():
        found = acquired[name, mask]
        numbers = stream_order(found, seed if order == "shuffled" else None)
        with counting("Clustering", len(found.probes)) as advance:
            reports[name] = evaluate_stream(
                found, embedder.model.card, settings, numbers, on_progress=advance, draws=bootstrap
            )
    if as_json:
        print_reports(reports)
        return
    print_columns("Clustering", {name: clustering_rows(report) for name, report in reports.items()})


def _curves(verified: dict[str, Verified]) -> dict[str, Curve]:
    return {name: Curve(one.scores, one.report.eer, one.report.thresholds["eer"]) for name, one in verified.items()}
