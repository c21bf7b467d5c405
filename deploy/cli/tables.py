"""The result of a replay as tables on the terminal."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table

from alerts.records import Severity
from deploy.cli.console import out
from deploy.replay import ReplayResult
from deploy.report.wording import plain
from deploy.summary import by_use

ROWS = 20
COLOURS = {Severity.CRITICAL: "bold red", Severity.HIGH: "red", Severity.MEDIUM: "yellow", Severity.LOW: "cyan"}


def print_result(result: ReplayResult) -> None:
    """Totals, the most frequent people, the alerts and what was rejected, and where to read on."""
    summary = result.summary
    out.print(
        f"\n[bold]{summary.events:,}[/] events: {summary.accepted:,} accepted, {summary.rejected:,} rejected.  "
        f"[bold]{summary.identities:,}[/] people in [bold]{summary.visits:,}[/] visits, "
        f"{summary.repeated_identities:,} of them more than once.  [bold]{summary.alerts:,}[/] alerts.  "
        f"{summary.seconds:.1f} s, {summary.events_per_second:.1f} events/s."
    )
    _people(result)
    _alerts(result)
    if summary.rejected:
        rejected = _table("Rejected")
        rejected.add_column("Reason")
        rejected.add_column("Events", justify="right")
        for reason, count in sorted(summary.rejected_by_reason.items(), key=lambda item: -item[1]):
            rejected.add_row(reason, f"{count:,}")
        out.print(rejected)
    for note in summary.notes:
        out.print(f"Note: {escape(plain(note, 600))}", soft_wrap=True)
    if result.folders.lost:
        out.print(f"Note: {result.folders.lost:,} pictures could no longer be read for the folders of people.")
    out.print(f"\nReport: {escape(str(result.report))}", soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _people(result: ReplayResult) -> None:
    ranked = by_use(result.usages)
    if not ranked:
        return
    people = _table("Unknown people by visits")
    people.add_column("No.", justify="right")
    people.add_column("Identity", no_wrap=True)
    for name in ("Visits", "Pictures", "ATMs", "Cards"):
        people.add_column(name, justify="right")
    people.add_column("First seen (UTC)", no_wrap=True)
    people.add_column("Last seen", no_wrap=True)
    for usage in ranked[:ROWS]:
        numbers = (usage.visits, usage.pictures, usage.atms, usage.cards)
        same_day = usage.first_seen.date() == usage.last_seen.date()
        last = f"{usage.last_seen:%H:%M}" if same_day else f"{usage.last_seen:%Y-%m-%d %H:%M}"
        times = (f"{usage.first_seen:%Y-%m-%d %H:%M}", last)
        people.add_row(str(usage.number), usage.identity_id, *map(str, numbers), *times)
    out.print(people)
    if len(ranked) > ROWS:
        out.print(f"… and {len(ranked) - ROWS:,} more people; all of them are under {result.report.parent}/identities.")


def _alerts(result: ReplayResult) -> None:
    if not result.alerts:
        return
    table = _table("Alerts")
    table.add_column("Raised (UTC)", no_wrap=True)
    table.add_column("Severity", no_wrap=True)
    table.add_column("Rule", no_wrap=True)
    table.add_column("Who")
    table.add_column("Measured")
    table.add_column("Conf.", justify="right")
    for alert in result.alerts[:ROWS]:
        who = f"identity {alert.number}" if alert.number else alert.atm_id or "one card"
        measured = ", ".join(
            f"{name.replace('_', ' ')} {value:g} (limit {alert.limits[name]:g})"
            for name, value in alert.measured.items()
            if alert.limits.get(name)
        )
        table.add_row(
            f"{alert.raised_at:%Y-%m-%d %H:%M}",
            f"[{COLOURS[alert.severity]}]{alert.severity}[/]" + (" (held)" if alert.held else ""),
            escape(alert.rule_id),
            escape(who),
            escape(measured),
            f"{alert.confidence:.2f}",
        )
    out.print(table)
    if len(result.alerts) > ROWS:
        out.print(f"… and {len(result.alerts) - ROWS:,} more alerts, in the report.")
