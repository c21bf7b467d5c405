"""``atmwatch evaluate``: accuracy on a folder of known people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated

import numpy as np
import typer

from deploy.cli.console import Json, Model, Threads, Threshold, out, print_json, progress_bar
from deploy.evaluate import (
    MASKS,
    NONE,
    Acquirer,
    check_mask,
    evaluate_stream,
    evaluate_verification,
    labelled_pictures,
)
from deploy.settings import load_settings
from ingest.errors import UsageError

app = typer.Typer(
    help="Measure accuracy on DIR/person/pictures, through the pipeline that replay uses.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with one sub-folder of pictures per person.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the order and of drawn masks.")]
KINDS = f"Draw masks first: {', '.join(MASKS)}."


@app.command("verification")
def verification_command(
    folder: Folder,
    pairs: Annotated[Path | None, typer.Option(help="Compare these pairs only (LFW or MFR2 format).")] = None,
    gallery_mask: Annotated[str, typer.Option(help=KINDS)] = NONE,
    probe_mask: Annotated[str, typer.Option(help=KINDS)] = NONE,
    mask: Annotated[str | None, typer.Option(help="The same mask option for gallery and probe.")] = None,
    seed: Seed = 1,
    model: Model = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Error rates of deciding whether two pictures show one person: EER, FNMR at three FMRs, failure to acquire.

    Every pair of different pictures is compared once; when gallery and probe are masked differently, every
    ordered pair of different pictures.  Pictures without a usable face count as failure to acquire.
    """
    masks = [check_mask(kind) for kind in ((mask, mask) if mask else (probe_mask, gallery_mask))]
    pictures = labelled_pictures(folder)
    acquirer = Acquirer(load_settings(model=model, threads=threads))
    with _counting("Embedding", len(pictures)) as advance:
        probe = acquirer.acquire(pictures, masks[0], seed, advance)
    gallery = None
    if masks[0] != masks[1]:
        with _counting("Embedding the gallery", len(pictures)) as advance:
            gallery = acquirer.acquire(pictures, masks[1], seed, advance)
    report = evaluate_verification(probe, gallery, pairs)
    if as_json:
        print_json(report.model_dump_json(indent=2))
        return
    out.print(f"{report.people:,} people, {report.images:,} pictures, {report.n_genuine:,} genuine pairs, ", end="")
    out.print(f"{report.n_impostor:,} impostor pairs")
    out.print(f"EER {report.eer:.4f}   accuracy {report.accuracy:.4f}   FTA {report.failure_to_acquire:.4f}")
    for target, rate in report.frr_at_fmr.items():
        out.print(f"FNMR at FMR {target}: {rate:.4f}   (threshold {report.thresholds[target]:.4f})")


@app.command("clustering")
def clustering_command(
    folder: Folder,
    mask: Annotated[str, typer.Option(help=KINDS)] = NONE,
    order: Annotated[str, typer.Option(help="shuffled (by the seed), or path: as the files are named.")] = "shuffled",
    seed: Seed = 1,
    model: Model = None,
    threshold: Threshold = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """How well a stream of pictures falls into people: BCubed, pairwise, NMI, error of the visit counts, recall."""
    check_mask(mask)
    if order not in {"shuffled", "path"}:
        message = f"--order is shuffled or path, not {order!r}"
        raise UsageError(message)
    pictures = labelled_pictures(folder)
    acquirer = Acquirer(load_settings(model=model, threads=threads, threshold=threshold))
    with _counting("Embedding", len(pictures)) as advance:
        acquired = acquirer.acquire(pictures, mask, seed, advance)
    if not acquired.probes:
        message = "no picture shows a usable face, so there is nothing to cluster"
        raise UsageError(message)
    numbers = np.arange(len(pictures))
    if order == "shuffled":
        numbers = np.random.default_rng(seed).permutation(numbers)
    with _counting("Clustering", len(acquired.probes)) as advance:
        report = evaluate_stream(acquired, acquirer, numbers.tolist(), advance)
    if as_json:
        print_json(report.model_dump_json(indent=2))
        return
    out.print(
        f"{report.images:,} pictures of {report.identities_true:,} people: {report.identities_found:,} identities"
    )
    for name, agreement in (("BCubed", report.bcubed), ("pairwise", report.pairwise)):
        out.print(f"{name}: precision {agreement.precision:.4f}, recall {agreement.recall:.4f}, F {agreement.f:.4f}")
    out.print(f"NMI {report.nmi:.4f}   mean error of visit counts {report.visit_count_mae:.4f}")
    ranks = ", ".join(f"@{k} {'–' if v is None else format(v, '.4f')}" for k, v in report.recall_at.items())
    out.print(f"recall {ranks}   FTA {report.failure_to_acquire:.4f}")


@contextmanager
def _counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar; gives the function to tell it how many are done."""
    began = monotonic()
    with progress_bar() as bar:
        task = bar.add_task(what, total=total, rate="", detail="")

        def advance(done: int) -> None:
            bar.update(task, completed=done, rate=f"{done / max(monotonic() - began, 1e-6):.0f}/s")

        yield advance
