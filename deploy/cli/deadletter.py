"""``atmwatch deadletter``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from deploy.cli.console import Json, err, out, print_json, progress_bar
from deploy.deadletter import DeadLetter, dead_letters, plan_of, replay
from deploy.settings import load_settings
from ingest.errors import UsageError
from ingest.reasons import Reason

app = typer.Typer(help="What could not be used.", no_args_is_help=True, rich_markup_mode=None)

Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only those with this reason code; can be given again.")
]
MOST = 100_000
MOST_TOLD = 20


@app.callback()
def root() -> None:
    """What could not be used: list it, give it in again."""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="Only the newest so many.")] = 50,
    reason: Reasons = None,
    as_json: Json = False,
) -> None:
    """List the newest dead letters: why, at which stage, and the place of the original record.

    The README explains the reason codes.
    """
    found = dead_letters(load_settings().kafka, limit, _reasons(reason))
    if as_json:
        print_json(
            json.dumps({"dead_letters": [_told(letter) for letter in found.letters], "unreadable": found.unreadable})
        )
        return
    table = Table("reason", "stage", "original", "event", "ATM", "detail")
    for letter in found.letters:
        told = letter.rejection
        texts = (told.reason.value, told.stage, _place(letter), told.event_id, told.atm_id, told.detail)
        table.add_row(*(escape(text or "") for text in texts))
    out.print(table)
    if found.unreadable:
        err.print(f"{found.unreadable} records of the topic are no rejections.")


@app.command("replay")
def replay_(
    reason: Reasons = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="Only the newest so many dead letters.")] = 10_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Publish nothing; tell what would be.")] = False,
    as_json: Json = False,
) -> None:
    """Publish the original records of dead letters once more, each into the partition where it stood.

    An event of several dead letters is published once, and what was counted meanwhile is not counted again.  Each
    record names its place in the header atmwatch-replayed.  Exit 1 when some are not kept any more.
    """
    settings = load_settings()
    found = dead_letters(settings.kafka, limit, _reasons(reason))
    plan = plan_of(found.letters)
    with progress_bar() as bar:
        task = bar.add_task("Replaying", total=len(plan.originals), rate="", detail="")
        done = replay(settings.kafka, plan, dry_run=dry_run, on_letter=lambda: bar.advance(task))
    doubles = plan.doubles + done.doubles
    if as_json:
        told = {
            "dry_run": dry_run,
            "dead_letters": len(found.letters),
            "published": done.published,
            "doubles": doubles,
            "gone": [_told(letter) for letter in done.gone],
            "without_original": [_told(letter) for letter in plan.nowhere],
            "unreadable": found.unreadable,
        }
        print_json(json.dumps(told))
    else:
        verb = "would be published" if dry_run else "published"
        out.print(f"{len(found.letters)} dead letters: {done.published} records {verb}, {doubles} doubles left out.")
        _list("not kept any more", done.gone)
        _list("without an original that can be replayed", list(plan.nowhere))
    if done.gone:
        raise typer.Exit(1)


def _list(what: str, letters: list[DeadLetter]) -> None:
    if letters:
        shown = ", ".join(_place(letter) or letter.rejection.source for letter in letters[:MOST_TOLD])
        more = f" and {len(letters) - MOST_TOLD} more" if len(letters) > MOST_TOLD else ""
        err.print(f"{len(letters)} {what}: {shown}{more}", markup=False, soft_wrap=True)


def _place(letter: DeadLetter) -> str:
    position = letter.rejection.position
    return f"{position.partition}@{position.offset}" if position else ""


def _told(letter: DeadLetter) -> dict[str, object]:
    told: dict[str, object] = json.loads(letter.rejection.to_json())
    told["at"] = f"{letter.position.partition}@{letter.position.offset}"
    return told


def _reasons(codes: list[str] | None) -> frozenset[Reason]:
    try:
        return frozenset(map(Reason, codes or ()))
    except ValueError as error:
        message = f"no such reason code: {', '.join(sorted(set(codes or ()) - set(map(str, Reason))))}; see the README"
        raise UsageError(message) from error
