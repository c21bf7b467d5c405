"""The benchmark report: all that was measured as one JSON object, one Markdown page, and the tables of a document."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deploy.atomic import write_atomically
from deploy.benchmarks.accuracy import AccuracyBench
from deploy.benchmarks.tables import TABLES, markdown
from ingest.claim_check import printable
from ingest.errors import UsageError

ACCURACY = "accuracy.json"
SPEEDS = ("pipeline", "clustering", "kafka", "gateway")
"""What ``bench NAME --json`` may have written as NAME.json beside it."""
MAX_BYTES = 16 * 1024 * 1024
MARKED = re.compile(r"(<!-- table: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""Where a document holds a table: between two comments, which Markdown does not show."""
TITLES = {
    "setup": "Method",
    "verification": "Verification, drawn masks",
    "one-probe": "One authentic and one impostor probe per person",
    "real-masks": "Verification, real masks",
    "detection": "Detection and failure to acquire",
    "clustering": "Clustering of a shuffled stream",
    "groups": "Errors by group, both pictures masked, at the threshold of FMR 1e-3 over all pairs",
    "leakage": "What templates give away",
    "speed": "Speed of the models",
    "references": "Published figures under masks",
    "throughput": "Throughput",
}


def write_report(folder: Path) -> tuple[Path, Path]:
    """Sum up the results in ``folder`` as report.md and report.json there.  ``UsageError`` when there is none."""
    tables, content = _gathered(folder)
    page = ["# Benchmark report"]
    for name, table in tables.items():
        page += [f"## {TITLES[name]}", table]
    paths = folder / "report.md", folder / "report.json"
    write_atomically(paths[0], ("\n\n".join(page) + "\n").encode())
    write_atomically(paths[1], (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    return paths


def refresh(document: Path, folder: Path) -> list[str]:
    """Replace the marked tables of a Markdown ``document`` by those of the results in ``folder``; gives their names.

    A table is marked by a line ``<!-- table: NAME -->`` before it and ``<!-- end -->`` behind it.  Those whose results
    are not in the folder stay.  Raises ``UsageError`` for a name that is no table's, or a document without any.
    """
    tables, _ = _gathered(folder)
    try:
        text = document.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{printable(document)} can't be read as text"
        raise UsageError(message) from error
    names = [match["name"] for match in MARKED.finditer(text)]
    unknown = sorted(set(names) - set(TITLES))
    if unknown or not names:
        what = f"names no table of ours: {', '.join(unknown)}" if unknown else "has no line <!-- table: NAME -->"
        message = f"{printable(document)} {what}; there are {', '.join(TITLES)}"
        raise UsageError(message)

    def replaced(match: re.Match[str]) -> str:
        table = tables.get(match["name"])
        return match[0] if table is None else f"{match[1]}{table}\n{match[3]}"

    document.write_text(MARKED.sub(replaced, text), "utf-8")
    return [name for name in names if name in tables]


def _gathered(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The tables of the results in ``folder`` by name, and the results."""
    content: dict[str, Any] = {}
    tables: dict[str, str] = {}
    accuracy = _read(folder / ACCURACY)
    if accuracy is not None:
        try:
            bench = AccuracyBench.model_validate(accuracy)
        except ValidationError as error:
            message = f"{printable(folder / ACCURACY)} is not a result of this version: {error.error_count()} faults"
            raise UsageError(message) from error
        tables.update({name: table(bench) for name, table in TABLES.items()})
        content["accuracy"] = accuracy
    speeds = {name: result for name in SPEEDS if (result := _read(folder / f"{name}.json")) is not None}
    if speeds:
        lines = [
            (f"{name}: {key.replace('_', ' ')}", _shown(value))
            for name, result in speeds.items()
            for key, value in result.items()
        ]
        tables["throughput"] = markdown(("", ""), lines)
        content["speed"] = speeds
    if not content:
        message = f"{printable(folder)} holds no results: run `atmwatch bench accuracy DIR --out {printable(folder)}`"
        raise UsageError(message)
    return tables, content


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file of at most ``MAX_BYTES``; None when the file is not there."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        message = f"{printable(path)} can't be read as JSON"
        raise UsageError(message) from error
    if not isinstance(found, dict):
        message = f"{printable(path)} is not a JSON object"
        raise UsageError(message)
    return found


def _shown(value: object) -> str:
    """A figure, or several with their names."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,}"
        if isinstance(value, (int, float))
        else str(value)
    )
