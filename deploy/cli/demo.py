"""``atmwatch simulate`` and ``atmwatch demo``: a day at ATMs to try the program on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from alerts.rulefile import load_rules
from clustering.records import Sighting
from deploy.cli.console import Json, Rules, err, out, print_json, progress_bar
from deploy.cli.replay import run_replay
from deploy.cli.tables import print_result
from deploy.replay import ReplayOptions, read_journal
from deploy.settings import load_settings
from deploy.simulator import FACES, GroundTruth, SimulationOptions, compare, simulate
from ingest.errors import UsageError
from ingest.jsonl_bus import Mode
from ingest.plan import ScanOptions

FAILED = 1
DEFAULTS = SimulationOptions()
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same day, to the byte.")]


def register(app: typer.Typer) -> None:
    """Add both commands to ``app``."""
    app.command("simulate")(simulate_command)
    app.command("demo")(demo_command)


def simulate_command(
    faces: Annotated[Path, typer.Argument(help="A folder of people: one sub-folder each, or flat <person>_<n>.jpg.")],
    out_folder: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    seed: Seed = 1,
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day that is simulated.")] = datetime(  # noqa: DTZ001
        DEFAULTS.day.year, DEFAULTS.day.month, DEFAULTS.day.day
    ),
    atms: Annotated[int, typer.Option(min=4, help="How many ATMs the city has.")] = DEFAULTS.atms,
    people: Annotated[int, typer.Option(min=1, help="Use at most so many of the people.")] = DEFAULTS.people,
    mask_share: Annotated[float, typer.Option(min=0, max=1, help="Share of sessions with a mask.")] = 0.5,
    zone: Annotated[str, typer.Option(help="IANA time zone of the city.")] = DEFAULTS.zone,
    rules: Rules = None,
    as_json: Json = False,
) -> None:
    """Write a simulated ATM day: pictures, manifest.csv, and truth.json with who was where and what must alert.

    Drawn masks, light, blur, pose and distance vary; some pictures show nobody, some files are broken on
    purpose.  Replay it with `atmwatch replay OUT --out RESULT`.
    """
    options = SimulationOptions(seed=seed, day=day.date(), atms=atms, zone=zone, mask_share=mask_share, people=people)
    truth = run_simulation(faces, out_folder, options, rules)
    if as_json:
        print_json(truth.model_dump_json(exclude_none=True))
    else:
        out.print(
            f"{len(truth.events):,} events of {len(truth.people):,} people at {len(truth.atms):,} ATMs, "
            f"{len(truth.expected_alerts):,} alerts expected: {out_folder}",
            soft_wrap=True,
        )


def demo_command(
    out_folder: Annotated[Path, typer.Option("--out", help="Where the day and its result go.")] = Path("demo"),
    seed: Seed = 1,
) -> None:
    """Simulate a day from five bundled portraits, replay it, and hold the result against the truth.

    Exit 1 when an alert is missing or one too many was raised.  What an earlier demo left in OUT is replaced.
    """
    day, result_folder = out_folder / "day", out_folder / "result"
    truth_file = day / "truth.json"
    if day.exists() and any(day.iterdir()):
        if not truth_file.is_file():
            message = f"{day} is not a simulated day: name another --out"
            raise UsageError(message)
        remove_day(day)
    out.print(f"Simulating a day at the ATMs into {day} …", soft_wrap=True)
    truth = run_simulation(FACES, day, SimulationOptions(seed=seed), None)
    options = ReplayOptions(
        Mode.FORCE, scan=ScanOptions(timezone=truth.zone), zone=truth.zone, title="ATM usage report: simulated day"
    )
    result = run_replay(day, result_folder, load_settings(), options)
    print_result(result)
    if not result.finished:
        err.print("Stopped before the end, so there is nothing to hold against the truth.")
        raise typer.Exit(FAILED)
    comparison = compare(truth, result.alerts, read_journal(result_folder, Sighting))
    for line in comparison.lines():
        out.print(line, markup=False)
    if not comparison.alerts_ok:
        raise typer.Exit(FAILED)


def run_simulation(faces: Path, folder: Path, options: SimulationOptions, rules: Path | None) -> GroundTruth:
    """Simulate with a progress bar."""
    with progress_bar() as bar:
        task = bar.add_task("Starting", total=None, rate="", detail="")

        def advance(what: str, done: int, total: int) -> None:
            bar.update(task, description=what.capitalize(), completed=done, total=total)

        return simulate(faces, folder, options, advance, book=load_rules(rules))


def remove_day(day: Path) -> None:
    """Remove a day that the simulator wrote: its own files and folders, and nothing else."""
    for atm in sorted(path for path in day.iterdir() if path.is_dir() and not path.is_symlink()):
        for picture in atm.glob("*.jpg"):
            picture.unlink()
        atm.rmdir()
    for name in ("manifest.csv", "truth.json"):
        (day / name).unlink(missing_ok=True)
