"""Reports side by side on the terminal: one column a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel
from rich import box
from rich.markup import escape
from rich.table import Table

from deploy.cli.console import out, print_json


def print_columns(title: str, columns: Mapping[str, Mapping[str, str]]) -> None:
    """The rows of every model beside each other, under the models' names."""
    heads = list(dict.fromkeys(head for rows in columns.values() for head in rows))
    lines = [(head, *(rows.get(head, "") for rows in columns.values())) for head in heads]
    print_lines(title, ("", *columns), lines)


def print_lines(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are figures."""
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, title_justify="left")
    for place, head in enumerate(heads):
        table.add_column(escape(head), justify="right" if place else "left", no_wrap=not place)
    for line in lines:
        table.add_row(*map(escape, line))
    out.print(table)


def print_reports(reports: Mapping[str, BaseModel]) -> None:
    """The report of one model as a JSON object; those of several under ``models``, by name."""
    if len(reports) == 1:
        print_json(next(iter(reports.values())).model_dump_json(indent=2))
        return
    models = {name: report.model_dump(mode="json") for name, report in reports.items()}
    print_json(json.dumps({"models": models}, indent=2))
