"""``atmwatch masks``."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from deploy.cli.console import Json, Threads, err, out, print_json, progress_bar, stopping
from deploy.masks.apply import REJECTED, MaskReport, Progress, apply_masks
from deploy.masks.plan import KINDS, NONE, OCCLUSIONS, RANDOM, MaskOptions
from deploy.masks.sheet import write_sheet
from deploy.settings import load_settings
from embedder.synthetic_masks import MaskKind, OcclusionKind
from ingest.reasons import Reason

FAILED = 1
TOLD = 20
LOOKS = {
    MaskKind.SURGICAL_BLUE: "Pleated, ear loops; blue to green.",
    MaskKind.SURGICAL_WHITE: "Pleated, ear loops; white, now and then pink.",
    MaskKind.N95: "A folded KN95 or a moulded N95 cup, with seams, nose clip, loops or head bands.",
    MaskKind.VALVE: "The same with an exhalation valve.",
    MaskKind.CLOTH: "Sewn, of any colour; plain, chequered, dotted, striped, camouflage, flowers or scrolls.",
    MaskKind.BLACK: "Foam that runs on to the ears, or pleated; black to grey.",
    MaskKind.GAITER: "A tube of cloth from the nose down to the neck.",
    OcclusionKind.SUNGLASSES: "Dark lenses of several forms, with reflections.",
    OcclusionKind.CAP: "A peaked cap, whose shadow falls on the eyes.",
    OcclusionKind.HAND: "The back of a hand before mouth, chin or cheek.",
}

app = typer.Typer(help="Draw masks and other occlusions onto faces.", no_args_is_help=True, rich_markup_mode=None)
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Equal seeds draw equal masks.")]


@app.command("apply")
def apply_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A picture, or a folder with pictures at any depth.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="A folder; for one picture, its file or the folder that it goes into.")
    ],
    kind: Annotated[
        str, typer.Option(help=f"{', '.join(KINDS)}: random chooses for each picture, half for every second one.")
    ] = RANDOM,
    occlusion: Annotated[str, typer.Option(help=f"Draw this as well: {', '.join(OCCLUSIONS)}.")] = NONE,
    occluded: Annotated[float, typer.Option(min=0, max=1, help="Share of the pictures that get the occlusion.")] = 1.0,
    per_person: Annotated[
        bool, typer.Option("--per-person", help="The same mask on all pictures of a folder.")
    ] = False,
    seed: Seed = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Draw anew what is in OUT already, instead of keeping it.")
    ] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Draw masks onto the faces of one picture, or of all pictures below a folder.

    Sub-folders and names stay, so a data set of DIR/person/pictures is one again.  The largest and most central
    face gets the mask, fitted by its five landmarks to how the head is turned, in the light that falls on it, from
    the nose to below the chin.  JPEG and PNG stay what they are; other formats become PNG (x.bmp is x.bmp.png).

    A picture without a face, or one that can't be read, is refused: it is not in OUT, it is counted, and
    OUT/rejected.jsonl says why.  OUT/drawn.jsonl tells what is drawn on each of the others.  The same command
    again goes on where it was stopped.  Exit 1 when it was stopped, or no picture could be used.

    Examples: `atmwatch masks apply faces masked --kind half --seed 7`;
    `atmwatch masks apply me.jpg me-masked.jpg --kind n95 --occlusion cap`.
    """
    settings = load_settings(threads=threads)
    options = MaskOptions(kind=kind, occlusion=occlusion, occluded=occluded, seed=seed, per_person=per_person)
    with stopping() as stop, progress_bar() as bar:
        task = bar.add_task("Drawing", total=None, rate="", detail="")
        began = monotonic()

        def show(progress: Progress) -> None:
            rate = f"{progress.fresh / max(monotonic() - began, 1e-6):.0f}/s"
            detail = f"{progress.rejected:,} refused"
            bar.update(task, total=progress.total, completed=progress.done, rate=rate, detail=detail)

        report = apply_masks(source, target, options, settings, overwrite=overwrite, on_progress=show, stop=stop)
    if as_json:
        print_json(report.model_dump_json(indent=2, exclude_none=True))
    else:
        _print(report, single=source.is_file())
    if not report.finished:
        err.print("Stopped before the end: the same command goes on from there.")
    if not report.finished or report.drawn + report.copied + report.kept == 0:
        raise typer.Exit(FAILED)


def _print(report: MaskReport, *, single: bool) -> None:
    out.print(
        f"{report.pictures:,} pictures: {report.drawn:,} drawn on, {report.copied:,} copied, {report.kept:,} kept from "
        f"before, {report.rejected:,} refused.  {report.seconds:.1f} s, {report.images_per_second:.1f} pictures/s."
    )
    for code, count in report.rejected_by_reason.items():
        out.print(f"  {count:,} {code}: {Reason(code).sentence}")
    for rejection in report.rejections[:TOLD]:
        err.print(f"refused: {rejection.source}: {rejection.detail}", markup=False, soft_wrap=True)
    if report.rejected > TOLD and not single:
        err.print(f"... and {report.rejected - TOLD:,} more, see {REJECTED}")
    if report.rejected < report.pictures:
        out.print(f"In {escape(report.out)}", soft_wrap=True)


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """Tell the kinds of masks and occlusions."""
    if as_json:
        print_json(json.dumps({"masks": list(MaskKind), "occlusions": list(OcclusionKind)}))
        return
    table = Table("Name", "", "Looks")
    for kind, looks in LOOKS.items():
        table.add_row(kind.value, "mask" if isinstance(kind, MaskKind) else "occlusion", looks)
    out.print(table)


@app.command("sheet")
def sheet_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A picture with a face.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The PNG to write.")],
    seed: Seed = 1,
    rows: Annotated[int, typer.Option(min=1, max=20, help="How many of each kind, with seeds from --seed on.")] = 1,
    as_json: Json = False,
) -> None:
    """Show one face with every kind of mask and occlusion, in one picture (PNG)."""
    write_sheet(source, target, load_settings(), seed=seed, rows=rows)
    if as_json:
        print_json(json.dumps({"out": str(target)}))
    else:
        out.print(f"Sheet: {escape(str(target))}", soft_wrap=True)
