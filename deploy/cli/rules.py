"""``atmwatch rules``: check a rules file before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from alerts.rulefile import load_rules
from deploy.cli.console import Json, out, print_json

app = typer.Typer(help="Check and show alert rules.", no_args_is_help=True, rich_markup_mode=None)


@app.command("check")
def check(
    path: Annotated[Path | None, typer.Argument(help="Rules file (YAML); the shipped rules without it.")] = None,
    as_json: Json = False,
) -> None:
    """Validate a rules file and show each rule with the event fields that it needs.

    A rule that lacks a field answers "not evaluable", never "no".  Exit 2 names every fault with its line.
    """
    book = load_rules(path)
    shown = [
        {
            "id": rule.id,
            "enabled": rule.enabled,
            "severity": rule.severity,
            "per": rule.per,
            "needs": sorted(book.needs(rule)),
            "title": rule.title,
        }
        for rule in book.rules
    ]
    if as_json:
        print_json(json.dumps({"digest": book.digest, "rules": shown}))
        return
    table = Table()
    for name in ("Rule", "On", "Severity", "Watches", "Needs", "Title"):
        table.add_column(name)
    for rule in shown:
        needs = ", ".join(rule["needs"]) if isinstance(rule["needs"], list) else ""
        state = "yes" if rule["enabled"] else "no"
        table.add_row(str(rule["id"]), state, str(rule["severity"]), str(rule["per"]), needs or "–", str(rule["title"]))
    out.print(table)
