from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_sample import CARD, DAY, SampleRun, alert, decode, event, rejection, sample_day, sighting, usage

from alerts.records import Evidence, Severity
from deploy.report.charts import Flag, Span, Timeline, bars, timeline
from deploy.report.gather import History, Limits, gather
from deploy.report.model import subject_of, visits_sentence
from deploy.report.page import ReportConfig, RunRecords, WrittenReport, write_report
from deploy.report.thumbnails import GREY, Album, head_of, picture_crop
from deploy.report.wording import WallClock, count, duration, label, measure, number, origin, plain, share
from deploy.summary import Run, build_summary
from embedder.records import Box
from ingest.errors import BadRecord, Unavailable
from ingest.reasons import Reason
from ingest.records import ClockSource

PIXEL = b"\xff\xd8\xff thumbnail"
GAP = timedelta(seconds=120)
BOX = Box(x=40, y=40, width=20, height=24)
VOID = {"meta", "img", "br", "link"}
HOSTILE = '"><script>alert(1)</script>'


class Checked(HTMLParser):
    """Reads a page, and notes what it would load and whether its elements close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.seen if name == tag]


def written(path: Path, day: SampleRun, crop=lambda _e, _b: PIXEL, **config) -> tuple[str, WrittenReport]:
    summary = build_summary(day.usages, iter(day.sightings), iter(day.alerts), iter(day.rejections), day.run)
    records = RunRecords(summary, day.usages, iter(day.sightings), iter(day.alerts), iter(day.rejections))
    done = write_report(path / "report.html", records, crop, ReportConfig(**config))
    return done.path.read_text("utf-8"), done


@pytest.fixture(scope="module")
def day() -> SampleRun:
    return sample_day()


@pytest.fixture(scope="module")
def page(day: SampleRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("report"), day, picture_crop(day.fetch, decode))[0]


# The page as a whole


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    found = Checked(page)
    assert found.open == []
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in found.seen}
    for tag, attrs in found.seen:
        assert not any(name.startswith("on") for name in attrs), tag
        assert (attrs.get("src") or "data:image/").startswith("data:image/")
        assert (attrs.get("href") or "#").startswith("#")
    policy = next(m["content"] for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_can_be_read_without_sight(page: str) -> None:
    found = Checked(page)
    assert all(image.get("alt") for image in found.all("img"))
    assert all(drawing.get("aria-label") for drawing in found.all("svg"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert all(cell.get("scope") for cell in found.all("th"))
    assert len(found.all("h1")) == 1
    assert found.all("html")[0]["lang"] == "en"
    ids = [attrs["id"] for _, attrs in found.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in found.all("a")} <= set(ids)
    labelled = {attrs["aria-labelledby"] for _, attrs in found.seen if "aria-labelledby" in attrs}
    assert labelled <= set(ids)


def test_every_section_tells_its_part(page: str) -> None:
    for text in (
        "Repeated people",
        "Unknown identity 1",
        "11 visits to 4 ATMs with 5 cards",
        "Many cards at several ATMs",
        "travelled at 310 km/h",
        "97.8%",
        "CARD_TEST needs response, transaction_type",
        "not evaluable",
        "check it",
        "manifest.csv:17",
        "Mean time per event by stage",
        "How to read this page",
        "special-category",
    ):
        assert text in page
    assert page.index("Unknown identity 1</h3>") < page.index("Unknown identity 2</h3>")
    assert page.index('class="card alert critical"') < page.index('class="card alert high"')
    assert page.index('class="card alert high"') < page.index('class="card alert medium"')


def test_the_page_holds_no_token_vector_or_script(page: str, day: SampleRun) -> None:
    assert CARD not in page
    assert day.sightings[0].model_dump(mode="json")["vector"] not in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "invoice\\u202egpj.exe" in page


def test_the_same_run_gives_the_same_bytes(day: SampleRun, tmp_path: Path) -> None:
    assert written(tmp_path, day)[0] == written(tmp_path, day)[0]


def test_the_page_is_for_its_owner_alone(day: SampleRun, tmp_path: Path) -> None:
    _, done = written(tmp_path, day)
    assert done.path.stat().st_mode & 0o077 == 0
    assert done.size == done.path.stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    text, _ = written(tmp_path, SampleRun(run=Run("nothing", "m", 0.3, 0.0)))
    assert Checked(text).open == []
    for sentence in ("No rule crossed", "Nobody was seen", "names an ATM", "Every input was used", "used no rules"):
        assert sentence in text
    assert "no pictures" in text


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    taken = event(1, atm=HOSTILE, image_uri=f"file:///{HOSTILE}")
    seen = [sighting(taken, 1, identity_id=HOSTILE), sighting(event(2, DAY + GAP, HOSTILE), 1, identity_id=HOSTILE)]
    raised = alert(seen, "RULE", Severity.HIGH, HOSTILE, advice=HOSTILE, held=HOSTILE, measured={HOSTILE: 3.0})
    hostile = SampleRun(
        [usage(1, 2, identity_id=HOSTILE)],
        seen,
        [raised],
        [rejection(Reason.EMPTY_FILE, HOSTILE, detail=HOSTILE, atm_id=HOSTILE)],
        Run(HOSTILE, HOSTILE, 0.3, 1.0, stage_seconds={HOSTILE: 1.0}, notes=[HOSTILE]),
    )
    text, _ = written(tmp_path, hostile, title=HOSTILE)
    assert Checked(text).open == []
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 10


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    day = sample_day()
    limits = Limits(identities=2, thumbnails=3, visits=4, alerts=1, evidence=2, flags=1, rejections=6, atms=2, rows=2)
    text, _ = written(tmp_path, day, limits=limits)
    for sentence in (
        "Not shown: 3 alerts.",
        "Not shown: 3 more repeated people.",
        "Not shown: 7 visits.",
        "Not shown: 4 pictures.",
        "Not shown: 4 ATMs.",
        "Faces of 8 more visits are not shown",
        "Only the first alerts are marked",
        "other ATMs",
    ):
        assert sentence in text
    assert "All of them are in <code>rejected.jsonl</code>" in text
    assert "atm-06" in text  # the worst stays
    sources = re.findall(r"/day/atm-06/\d+\.jpg|empty\.jpg|script&gt;\.jpg|gpj\.exe|csv:17", text)
    assert len(sources) == 6
    assert "csv:17" in sources  # a frequent reason does not crowd out a rare one


def test_times_are_shown_in_the_zone_asked_for(day: SampleRun, tmp_path: Path) -> None:
    text, _ = written(tmp_path, day, zone="Asia/Taipei")
    assert "2026-03-14 14:00 to" in text
    assert 'datetime="2026-03-14T' in text


def test_a_long_run_names_the_days(tmp_path: Path) -> None:
    seen = [sighting(event(n, DAY + timedelta(days=9 * n)), 1, visits=n + 1) for n in range(5)]
    span = {"first_seen": DAY, "last_seen": seen[-1].event.captured_at}
    text, _ = written(tmp_path, SampleRun([usage(1, 5, **span)], seen))
    assert "2026-04-10 06:00<br>" in text
    assert "first to last visit" in text
    assert "10 Apr" in text


def test_an_alert_about_a_card_or_machine_names_no_card(tmp_path: Path) -> None:
    seen = [sighting(event(1), 1)]
    card = alert(seen, "SHARED", Severity.LOW, "One card", subject="digest77", identity_id=None, number=None)
    unseen = (Evidence(event_id="x", atm_id="atm-01", captured_at=DAY, source="x.jpg"),)
    machine = card.model_copy(update={"alert_id": "m", "atm_id": "atm-01", "evidence": unseen})
    text, _ = written(tmp_path, SampleRun([usage(1, 1)], seen, [card, machine]))
    assert "One payment card" in text
    assert "ATM atm-01" in text
    assert "digest77" not in text
    assert "no picture" in text


# Gathering


def test_pictures_join_into_visits_as_the_roster_counts_them() -> None:
    history = History(usage(1, 5), GAP, Limits())
    for n, (seconds, fields) in enumerate(
        [
            (0, {}),
            (100, {}),
            (300, {}),
            (310, {"session_id": "s"}),
            (900, {"session_id": "s"}),
            (910, {"clock": ClockSource.FILE}),
            (911, {"clock": ClockSource.FILE}),
        ]
    ):
        history.add(sighting(event(n, DAY + timedelta(seconds=seconds), **fields), 1, visits=n + 1))
    assert [v.pictures for v in history.visits] == [2, 1, 2, 1, 1]
    assert history.visits[0].similarity == 0.61
    assert history.visits[2].end - history.visits[2].start == timedelta(seconds=590)


@given(st.integers(1, 300), st.integers(1, 24))
def test_faces_are_bounded_and_evenly_spread(visits: int, limit: int) -> None:
    history = History(usage(1, visits), GAP, Limits(thumbnails=limit))
    for n in range(visits):
        history.add(sighting(event(n, DAY + timedelta(hours=n)), 1, visits=n + 1))
    kept = [n for n, visit in enumerate(history.visits) if visit.sample]
    assert min(visits, limit) <= len(kept) <= 2 * limit + 1
    assert len({b - a for a, b in pairwise(kept)}) <= 1
    faces = history.faces(limit)
    assert len(faces) == min(limit, len(kept))
    assert faces[0] is history.visits[0]


def test_the_best_picture_of_a_visit_stands_for_it() -> None:
    history = History(usage(1, 1), GAP, Limits())
    poor = sighting(event(1), 1).quality.model_copy(update={"score": 0.1})
    for n, quality in enumerate([poor, sighting(event(1), 1).quality, poor]):
        history.add(sighting(event(n, DAY + timedelta(seconds=n)), 1, quality=quality))
    assert [v.sample.event.event_id for v in history.faces(9) if v.sample] == ["event-00001"]


def test_visits_beyond_the_limit_are_counted_not_kept() -> None:
    history = History(usage(1, 9), GAP, Limits(visits_followed=3))
    for n in range(9):
        history.add(sighting(event(n, DAY + timedelta(hours=n)), 1, visits=n + 1))
    assert (len(history.visits), history.overflow) == (3, 6)


def test_each_journal_is_read_once() -> None:
    def once(records: list) -> Iterator:
        yield from records

    seen = [sighting(event(n), 1) for n in range(3)]
    raised = [alert(seen, "R", severity, "T", alert_id=severity) for severity in Severity]
    got = gather([usage(1, 2)], once(seen), once(raised), once([]), limits=Limits(alerts=2), visit_gap=GAP)
    assert [a.severity for a in got.alerts] == [Severity.CRITICAL, Severity.HIGH]
    assert len(got.evidence) == 3
    assert sum(got.histories[0].alerts.values()) == 4


# Thumbnails


def marked_picture(height: int, width: int, box: Box) -> np.ndarray:
    picture = np.full((height, width, 3), 200, np.uint8)
    x, y = int(box.x + box.width / 2), int(box.y + box.height / 2)
    picture[max(y - 4, 0) : y + 4, max(x - 4, 0) : x + 4] = (0, 0, 255)
    return picture


@pytest.mark.parametrize("scale", [0.25, 1, 4])
@pytest.mark.parametrize("place", [(40, 40), (0, 0), (78, 74)])
def test_a_head_lies_in_the_middle_of_its_crop(scale: float, place: tuple[int, int]) -> None:
    box = Box(x=place[0] * scale, y=place[1] * scale, width=20 * scale, height=24 * scale)
    picture = marked_picture(int(100 * scale), int(100 * scale), box)
    crop = head_of(picture, box, 96)
    assert crop.shape == (96, 77, 3)
    assert crop.dtype == np.uint8
    red = np.argwhere(crop[..., 1] < 100) if scale >= 1 else np.argwhere(crop[..., 1] < 190)
    reds = red[(np.abs(red[:, 0] - 48) < 15) & (np.abs(red[:, 1] - 38) < 15)]
    assert len(reds) > 3
    if place == (0, 0):
        assert (crop[0, 0] == GREY).all()


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e5), st.floats(1e-3, 1e5), st.integers(1, 40))
def test_any_box_gives_a_crop(x: float, y: float, width: float, height: float, side: int) -> None:
    picture = np.zeros((side, side + 1, 3), np.uint8)
    assert head_of(picture, Box(x=x, y=y, width=width, height=height), 32).shape == (32, 26, 3)


def test_crops_are_small_jpeg_pictures() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    made = picture_crop(lambda _: b"", lambda _: picture)(event(1), BOX)
    assert made is not None
    assert decode(made).shape == (96, 77, 3)


@pytest.mark.parametrize("error", [BadRecord(Reason.UNREADABLE, "gone"), Unavailable("store"), OSError("disk")])
def test_a_picture_that_is_gone_gives_no_crop(error: Exception, tmp_path: Path) -> None:
    def fetch(_):
        raise error

    crop = picture_crop(fetch, decode)
    assert crop(event(1), BOX) is None
    text, done = written(tmp_path, sample_day(), crop)
    assert done.faces_lost > 0
    assert "can&#39;t be read any more" in text or "can't be read any more" in text


def test_the_album_crops_once_and_keeps_to_its_budget() -> None:
    asked = []
    album = Album(lambda e, _: asked.append(e.event_id) or PIXEL, 100)
    uris = [album.uri(event(1), BOX) for _ in range(5)]
    assert asked == ["event-00001"]
    assert uris[0] == uris[1]
    assert uris[0].startswith("data:image/jpeg;base64,")
    assert uris[-1] is None
    assert album.over_budget > 0


def test_alerts_leave_half_of_the_room_to_people(tmp_path: Path) -> None:
    day = sample_day()
    each = len(Album(lambda _e, _b: PIXEL, 1).uri(event(1), BOX) or "")
    text, done = written(tmp_path, day, limits=Limits(picture_bytes=8 * each))
    images = [image["alt"] or "" for image in Checked(text).all("img")]
    assert sum("unknown identity" in alt for alt in images) == 4
    assert len(images) == 8
    assert done.faces_over_budget > 0


@pytest.mark.parametrize(
    ("content", "uri"),
    [
        (b"RIFF0000WEBP", "data:image/webp;"),
        (b"\x89PNG", "data:image/png;"),
        (b"\xff\xd8" + bytes(70_000), None),
        (None, None),
    ],
)
def test_the_album_names_formats_and_refuses_what_is_large(content: bytes | None, uri: str | None) -> None:
    album = Album(lambda _e, _b: content, 10_000)
    got = album.uri(event(1), BOX)
    assert got is None if uri is None else got.startswith(uri)
    assert album.lost == (uri is None)


def test_faces_without_room_are_counted_on_the_page(tmp_path: Path) -> None:
    text, done = written(tmp_path, sample_day(), limits=Limits(picture_bytes=300))
    assert done.faces_over_budget > 0
    assert "left out to keep this page small" in text


# Drawings


def chart(spans: list[Span], flags: tuple[Flag, ...] = (), days: float = 1.0, **fields) -> str:
    known = {"rows": ["atm-1", "atm-2"], "start": DAY, "end": DAY + timedelta(days=days), "clock": WallClock()}
    return str(timeline(Timeline(title="Visits", spans=spans, flags=flags, **(known | fields))))


def test_a_timeline_draws_visits_and_alerts_in_their_place() -> None:
    noon = DAY + timedelta(hours=12)
    drawing = chart([Span(1, noon, noon + timedelta(hours=1))], (Flag(noon, "high", "<b>"),))
    assert 'aria-label="Visits: 1 visit at 2 ATMs, 2026-03-14 06:00 to 2026-03-15 06:00 (UTC); 1 alert."' in drawing
    assert "atm-2, 2026-03-14 18:00:00, 1 h" in drawing
    assert 'class="flag high"' in drawing
    assert "&lt;b&gt;" in drawing
    left, width = map(int, re.search(r'class="visit" x="(\d+)" y="\d+" width="(\d+)"', drawing).groups())
    assert 440 < left < 500
    assert 28 < width < 40


def test_visits_on_the_same_pixels_are_drawn_once() -> None:
    spans = [Span(0, DAY + timedelta(seconds=n), DAY + timedelta(seconds=n)) for n in range(5000)]
    drawing = chart(spans, days=30)
    assert drawing.count('class="visit"') < 5
    assert "more here" in drawing
    assert len(drawing) < 5000


@given(st.integers(1, 10**9), st.sampled_from(["UTC", "Asia/Kathmandu", "America/New_York", "Europe/Oslo"]))
def test_axes_have_a_few_ticks(seconds: int, zone: str) -> None:
    drawing = chart([], days=seconds / 86400, clock=WallClock(zone))
    assert 1 <= drawing.count('class="tick"') <= 10


def test_a_clock_at_the_calendars_end_is_drawn() -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert chart([Span(0, first, last)], start=first, end=last).startswith("<svg")
    assert WallClock("America/New_York").moment(first).text == "0001-01-01 00:00:00"


def test_bars_are_in_proportion() -> None:
    drawing = str(bars("Times", {"embed": 4.0, "decode": 1.0, "nothing": 0.0}, "ms"))
    widths = [float(w) for w in re.findall(r'class="bar"[^>]* width="([\d.]+)"', drawing)]
    assert widths[0] == pytest.approx(4 * widths[1], rel=0.01)
    assert widths[2] == 1.0
    assert "embed 4.00 ms; decode 1.00 ms" in drawing
    assert "<svg" in bars("Nothing", {}, "ms")


def test_long_names_are_cut_but_told() -> None:
    drawing = chart([], rows=["a-very-long-name-of-an-automated-teller-machine"])
    assert "a-very-long-name-of…</text>" in drawing
    assert "automated-teller-machine</title>" in drawing


# Words


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (1, "100%"), (0.99999, "> 99.9%"), (0.0001, "< 0.1%"), (0.5, "50.0%"), (0.9876, "98.8%")],
)
def test_shares_never_round_to_certainty(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "250 ms"),
        (12.34, "12.3 s"),
        (60, "1 min"),
        (5400, "1 h 30 min"),
        (90061, "1 d 1 h"),
        (59.97, "60 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_and_names() -> None:
    assert number(1234567) == "1,234,567"
    assert number(0.5) == "0.5"
    assert count(1, "visit") == "1 visit"
    assert count(2000, "visit") == "2,000 visits"
    assert count(2, "person", "people") == "2 people"
    assert label("distinct_atms") == "distinct ATMs"
    assert label("speed_kmh") == "speed (km/h)"
    assert label("window_s") == "window"
    assert measure("window_s", 900) == "15 min"
    assert measure("visits", 3.0) == "3"
    assert visits_sentence(usage(1, 1)) == "1 visit to 1 ATM, 1 picture"


def test_subjects() -> None:
    seen = [sighting(event(1), 7)]
    assert subject_of(alert(seen, "R", Severity.LOW, "T", atm_id="a")) == "Unknown identity 7 at ATM a"


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_foreign_text_becomes_one_visible_line(text: str) -> None:
    shown = plain(text, 50)
    assert shown.isprintable() or "\u00a0" in shown or any(c.isspace() for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2069\u200f\x00\x1b\n\r\u2028\ufeff")
    shown.encode()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("file:///day/a%20b/%FF.jpg", "/day/a b/\\xff.jpg"),
        ("file:///day/film.mp4#t=12.500", "/day/film.mp4 at 12.5 s"),
        ("file://elsewhere/x.jpg", "file://elsewhere/x.jpg"),
        ("manifest.csv:17", "manifest.csv:17"),
        ("4111 1111 1111 1111.jpg", "[card number].jpg"),
        ("x" * 300, "…" + "x" * 239),
    ],
)
def test_origins_are_readable_and_hold_no_card(source: str, text: str) -> None:
    assert origin(source) == text
