"""The shell of the simulator: reads a folder of people, writes a folder of pictures, a manifest and the truth."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from alerts.rulefile import load_rules
from alerts.rules import RuleBook
from deploy.simulator.camera import Camera
from deploy.simulator.options import SimulationOptions, chance
from deploy.simulator.people import Portrait, list_people, read_portrait
from deploy.simulator.plan import plan_day
from deploy.simulator.sitter import Sitter, seat, wear
from deploy.simulator.truth import GroundTruth, TrueEvent
from embedder.cards import WEIGHTS
from embedder.detect import Detector
from embedder.synthetic_masks import MaskKind
from ingest.errors import UsageError

MANIFEST, TRUTH = "manifest.csv", "truth.json"
COLUMNS = (
    "path",
    "event_id",
    "atm_id",
    "captured_at",
    "zone",
    "session_id",
    "card_token",
    "amount",
    "currency",
    "transaction_type",
    "lat",
    "lon",
)
CUT_OUTS = 48
"""Kept in memory, bare and masked; each takes 2 MB."""

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done ("reading faces", "taking pictures"), how many are done, and of how many."""


def simulate(
    faces: Path,
    out: Path,
    options: SimulationOptions | None = None,
    on_progress: OnProgress | None = None,
    *,
    book: RuleBook | None = None,
) -> GroundTruth:
    """Write a day at ATMs, lived by the people in ``faces``, to the new or empty folder ``out``.

    ``out`` gets ``<atm_id>/*.jpg``, ``manifest.csv`` and, last, ``truth.json``, so that a folder with a truth is a
    whole one.  The same faces, options and rules give the same bytes (with the same versions of OpenCV and
    NumPy).  ``book`` is by what rules alerts are expected, the shipped ones by default.

    Raises ``UsageError`` when ``faces`` holds no person whose face can be drawn, or ``out`` holds anything.
    """
    options = options or SimulationOptions()
    report = on_progress or _silent
    book = book or load_rules()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        message = f"{out}: is not an empty folder; name a new one"
        raise UsageError(message)
    portraits, left_out = _portraits(faces, options, report)
    names = {person: [portrait.path.name for portrait in found] for person, found in portraits.items()}
    truth = plan_day(names, options, book, left_out)
    camera = Camera(truth, _Cast(truth, portraits).seat)
    out.mkdir(parents=True, exist_ok=True)
    for atm_id in sorted({event.atm_id for event in truth.events}):
        (out / atm_id).mkdir()
    for done, event in enumerate(truth.events, 1):
        (out / event.path).write_bytes(camera.take(event))
        report("taking pictures", done, len(truth.events))
    (out / MANIFEST).write_text(manifest(truth), encoding="utf-8", newline="")
    (out / TRUTH).write_text(truth.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    return truth


def manifest(truth: GroundTruth) -> str:
    """The manifest of a day as CSV text, in event time."""
    places = {atm.atm_id: atm.location for atm in truth.atms}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for event in truth.events:
        place = places[event.atm_id]
        table.writerow(
            (
                event.path,
                event.event_id,
                event.atm_id,
                event.captured_at.isoformat(),
                truth.zone,
                event.session_id,
                event.card_token,
                event.amount,
                truth.currency if event.amount is not None else None,
                event.transaction_type,
                place.lat,
                place.lon,
            )
        )
    return text.getvalue()


def _portraits(
    faces: Path, options: SimulationOptions, report: OnProgress
) -> tuple[dict[str, list[Portrait]], list[str]]:
    """The usable portraits of each person, and who has none."""
    people = list_people(faces, options.people)
    detector = Detector(WEIGHTS / "yunet")
    portraits: dict[str, list[Portrait]] = {}
    for done, (person, files) in enumerate(people.items(), 1):
        if found := [portrait for file in files if (portrait := read_portrait(file, detector))]:
            portraits[person] = found
        report("reading faces", done, len(people))
    if not portraits:
        message = f"{faces}: no picture shows a face that is large enough to be drawn"
        raise UsageError(message)
    return portraits, [person for person in people if person not in portraits]


class _Cast:
    """The people's cut-outs, made when first needed and kept as long as there is room."""

    def __init__(self, truth: GroundTruth, portraits: dict[str, list[Portrait]]) -> None:
        self._seed = truth.seed
        self._portraits = {(person, p.path.name): p for person, found in portraits.items() for p in found}
        self._first = {person: found[0].path.name for person, found in portraits.items()}
        self._bare = lru_cache(maxsize=CUT_OUTS)(self._seated)
        self._worn = lru_cache(maxsize=CUT_OUTS)(self._masked)

    def seat(self, event: TrueEvent, person: str) -> Sitter:
        """The user of the machine, with the session's mask, or a bystander without."""
        if person != event.person or event.portrait is None:
            return self._bare(person, self._first[person])
        if event.mask is None:
            return self._bare(person, event.portrait)
        return self._worn(person, event.portrait, event.mask, event.session_id or "")

    def _seated(self, person: str, portrait: str) -> Sitter:
        return seat(self._portraits[person, portrait])

    def _masked(self, person: str, portrait: str, mask: MaskKind, session: str) -> Sitter:
        seed = int(chance(self._seed, "mask", session).integers(1 << 31))
        return wear(self._bare(person, portrait), mask, seed)


def _silent(_what: str, _done: int, _total: int) -> None:
    pass
