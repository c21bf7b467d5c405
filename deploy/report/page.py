"""Writes ``report.html``: one file, no network, no scripts, everything from outside escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alerts.records import Alert
from clustering.records import Sighting, Usage
from clustering.visits import VISIT_GAP
from deploy.atomic import write_atomically
from deploy.report import wording
from deploy.report.gather import Limits, gather
from deploy.report.model import PageBuilder, visits_sentence
from deploy.report.thumbnails import Album, Crop
from deploy.report.views import Page
from deploy.summary import Summary
from ingest.records import Rejection


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """How the page is made.

    ``zone`` is the IANA time zone of all its times.  ``visit_gap`` must be the one that the run counted with.
    """

    title: str = "ATM usage report"
    zone: str = "UTC"
    visit_gap: timedelta = VISIT_GAP
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class RunRecords:
    """What the page is made of.  Each iterable is read once, so that a journal can be streamed."""

    summary: Summary
    usages: Sequence[Usage]
    sightings: Iterable[Sighting]
    alerts: Iterable[Alert]
    rejections: Iterable[Rejection]


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """Where the page lies, its size, and how many faces it lacks: not to be had, or no room."""

    path: Path
    size: int
    faces_lost: int
    faces_over_budget: int


def write_report(path: Path, run: RunRecords, crop: Crop, config: ReportConfig | None = None) -> WrittenReport:
    """Write the page of ``run`` to ``path``, whole or not at all.

    Thumbnails come from ``crop``, called from this thread; where it gives None the page goes on without.  The
    same input gives the same bytes.  Raises OSError when ``path`` can't be written.
    """
    config = config or ReportConfig()
    gathered = gather(
        run.usages,
        run.sightings,
        run.alerts,
        run.rejections,
        limits=config.limits,
        visit_gap=config.visit_gap,
    )
    album = Album(crop, config.limits.picture_bytes)
    page = PageBuilder(run.summary, album, config.limits, wording.WallClock(config.zone)).page(gathered, config.title)
    content = render(page).encode("utf-8", "backslashreplace")
    write_atomically(path, content)
    return WrittenReport(path, len(content), page.faces_lost, page.faces_over_budget)


def render(page: Page) -> str:
    """``page`` as HTML."""
    environment = Environment(
        loader=PackageLoader("deploy.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = wording.number
    environment.filters["count"] = wording.count
    environment.filters["duration"] = wording.duration
    environment.filters["plain"] = wording.plain
    environment.filters["usage"] = visits_sentence
    style = files("deploy.report").joinpath("style.css").read_text("utf-8")
    return environment.get_template("report.html.j2").render(page=page, style=Markup(style))  # noqa: S704
