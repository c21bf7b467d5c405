"""Masks, eyes and blinks, summed up visit by visit, and what the summary and the report make of it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from report_sample import DAY, event, sighting, usage
from templates import face

from clustering.records import Sighting
from deploy.report.model import signs_sentence
from deploy.report.page import ReportConfig, RunRecords, write_report
from deploy.summary import Run, build_summary, write_summary
from deploy.visit_signs import PersonSigns, SignsBook, VisitSigns, summed
from embedder.liveness import Blink
from embedder.records import FaceEmbedding, Signs, Wear

GAP = timedelta(minutes=2)
FACE = face("one", [1.0, 0.0])


def seen(
    number: int, seconds: float, wear: str | None = "bare", eyes: float | None = 0.95, person: int = 1, **more: object
) -> Sighting:
    at = DAY + timedelta(seconds=seconds)
    signs = None if wear is None else Signs(wear=Wear(wear), wear_score=0.9, eyes_open=eyes)
    return sighting(event(number, at, **more), person, signs=signs)


def visit(*pictures: Sighting) -> VisitSigns:
    found = VisitSigns()
    for picture in pictures:
        found.add(picture)
    return found


@pytest.mark.parametrize(
    ("worn", "expected"),
    [
        (["bare"], Wear.BARE),
        (["bare", "bare", "masked"], Wear.BARE),
        (["bare", "masked"], Wear.MASKED),
        (["occluded", "masked"], Wear.MASKED),
        (["bare", "occluded"], Wear.OCCLUDED),
        ([None, "occluded"], Wear.OCCLUDED),
        ([None], None),
        ([], None),
    ],
)
def test_most_pictures_say_what_was_worn(worn: list[str | None], expected: Wear | None) -> None:
    assert visit(*(seen(n, n, wear) for n, wear in enumerate(worn))).wear is expected


@pytest.mark.parametrize(
    ("eyes", "expected"),
    [([0.9, 0.1], "open"), ([0.1, None], "closed"), ([None, 0.5], "unknown"), ([], "unknown")],
)
def test_eyes_that_were_open_once_were_open(eyes: list[float | None], expected: str) -> None:
    assert visit(*(seen(n, 10 * n, eyes=value) for n, value in enumerate(eyes))).eyes == expected


def test_visits_are_told_apart_as_they_are_counted() -> None:
    book = SignsBook(["person-1", "person-2", "person-3"], GAP)
    for picture in (
        seen(1, 0, "masked"),
        seen(2, 0.3, "masked", 0.1),
        seen(3, 0.6, "masked"),
        seen(4, 300, "bare", None),
        seen(5, 301, atm="atm-02", wear="occluded", eyes=0.1),
        seen(6, 302, wear=None, person=3),
        seen(7, 400, person=9),
        seen(8, 500, session_id="s", person=2),
        seen(9, 5000, session_id="s", person=2),
    ):
        book.add(picture)
    first, second = book.persons()
    assert first == PersonSigns(
        identity_id="person-1",
        visits=3,
        masked=1,
        occluded=1,
        masked_share=0.3333,
        eyes_open=1,
        eyes_closed=1,
        blinks=1,
        no_blinks=0,
    )
    assert (second.visits, second.masked, second.eyes_open) == (1, 0, 1)


def test_footage_without_a_blink_says_so() -> None:
    stare = visit(*(seen(n, n / 10) for n in range(120)))
    assert stare.blink is Blink.NOT_SEEN
    found = summed("person-1", [stare])
    assert (found.blinks, found.no_blinks) == (0, 1)
    assert signs_sentence(found).endswith("did not blink on 1, though the footage would have shown it")


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ([], ""),
        ([[seen(1, 0, None)]], ""),
        ([[seen(1, 0)]], "Masked on 0 of 1 visit (0%); eyes open on 1"),
        (
            [[seen(1, 0, "masked")], [seen(2, 0, "occluded", 0.1)], [seen(3, 0, "masked", None)]],
            "Masked on 2 of 3 visits (66.7%); face covered otherwise on 1; eyes open on 1, closed on 1",
        ),
        (
            [[seen(1, 0, "occluded", None)]],
            "Masked on 0 of 1 visit (0%); face covered otherwise on 1; eyes never to be seen",
        ),
        (
            [[seen(1, 0), seen(2, 0.3, eyes=0.1), seen(3, 0.6)]],
            "Masked on 0 of 1 visit (0%); eyes open on 1; blinked on 1",
        ),
    ],
)
def test_the_report_says_it_in_words(visits: list[list[Sighting]], expected: str) -> None:
    assert signs_sentence(summed("person-1", (visit(*pictures) for pictures in visits))) == expected


def test_the_summary_has_it_as_json(tmp_path: Path) -> None:
    pictures = [seen(1, 0, "masked"), seen(2, 3600), seen(3, 7200, None)]
    run = Run("x", "m", 0.3, 1.0, visit_gap=GAP)
    summary = build_summary([usage(1, 3), usage(2, 0)], pictures, [], [], run)
    write_summary(tmp_path / "summary.json", summary)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["wear"] == {"bare": 1, "masked": 1}
    assert [(one["identity_id"], one["visits"], one["masked_share"]) for one in found["signs"]] == [
        ("person-1", 2, 0.5)
    ]


def test_the_page_shows_it_by_person_and_by_visit(tmp_path: Path) -> None:
    pictures = [seen(1, 0, "masked"), seen(2, 3600, eyes=None), seen(3, 7200, None)]
    usages = [usage(1, 3)]
    summary = build_summary(usages, pictures, [], [], Run("x", "m", 0.3, 1.0, visit_gap=GAP))
    records = RunRecords(summary, usages, pictures, [], [])
    written = write_report(tmp_path / "report.html", records, lambda *_: b"\xff\xd8\xff", ReportConfig(visit_gap=GAP))
    page = written.path.read_text("utf-8")
    assert "Masked on 1 of 2 visits (50.0%); eyes open on 1" in page
    for wear, eyes in (("masked", "open"), ("bare", "can&#39;t tell"), ("not looked at", "can&#39;t tell")):
        assert f"<td>{wear}</td><td>{eyes}</td>" in page


@pytest.mark.parametrize("record", [sighting(event(1), 1), FACE], ids=["sighting", "face"])
def test_records_from_before_there_were_signs_are_still_read(record: Sighting | FaceEmbedding) -> None:
    fields = json.loads(record.model_dump_json())
    assert fields.pop("signs") is None
    assert type(record).model_validate_json(json.dumps(fields)) == record


def test_signs_survive_the_wire() -> None:
    record = seen(1, 0, "masked", 0.25)
    assert Sighting.model_validate_json(record.model_dump_json()).signs == record.signs
