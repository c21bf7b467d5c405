"""The report's drawings: inline SVG that takes its colours from the page's style sheet, no scripts.

Pure functions from figures to markup.  Every text passes through ``markupsafe``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from deploy.report.wording import WallClock, count, duration, plain

WIDTH = 900
LABELS = 150
LABEL_CHARACTER = 7
LABEL_AIR = 24
ROW = 26
TOP = 24
TOP_BARE = 6
BOTTOM = 26
LABEL_LENGTH = 20
MIN_MARK = 7.0
MAX_TICKS = 9

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2900, 1, 1, tzinfo=UTC)

YEAR = timedelta(days=365)
STEPS = tuple(
    timedelta(minutes=m)
    for m in (
        1,
        2,
        5,
        10,
        15,
        30,
        60,
        120,
        180,
        360,
        720,
        1440,
        2880,
        10080,
        20160,
        43200,
        129600,
        525600,
        1051200,
        2628000,
        5256000,
        52560000,
    )
)


@dataclass(frozen=True, slots=True)
class Span:
    """One visit on a timeline: from ``start`` to ``end`` in row ``row``."""

    row: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Flag:
    """An alert on a timeline."""

    at: datetime
    severity: str
    title: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a timeline shows: rows from top to bottom, visits and alerts between ``start`` and ``end``."""

    title: str
    rows: Sequence[str]
    spans: Sequence[Span]
    flags: Sequence[Flag]
    start: datetime
    end: datetime
    clock: WallClock


def timeline(chart: Timeline) -> Markup:
    """``chart`` as SVG: x is time, one row per ATM, a bar per visit, a marked line per alert.

    Bars that would fall on the same pixels are drawn once, so the drawing's size is bounded by its width.
    """
    low, high = _padded(chart.start, chart.end)
    top = TOP if chart.flags else TOP_BARE
    labels = _label_width(chart.rows)
    bottom = top + ROW * len(chart.rows)
    whole = (high - low).total_seconds()

    def x_of(at: datetime) -> float:
        along = min(max((at - low).total_seconds() / whole, 0.0), 1.0)
        return labels + along * (WIDTH - labels - 12)

    parts = [_rows(chart.rows, top, labels)]
    for at, text in _ticks(low, high, chart.clock):
        x = x_of(at)
        parts.append(Markup('<line class="grid" x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}"/>').format(x, top, bottom))
        parts.append(Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(x, bottom + 17, text))
    parts += [_bar(chart, spans, box, top + row * ROW) for (row, *box), spans in _merged(chart.spans, x_of).items()]
    for flag in chart.flags:
        x = x_of(flag.at)
        words = f"{flag.severity} alert: {plain(flag.title)}, {chart.clock.moment(flag.at).text}"
        parts.append(
            Markup(
                '<g class="flag {}"><title>{}</title><line x1="{:.1f}" y1="14" x2="{:.1f}" y2="{}"/>'
                '<path d="M{:.1f} 16l-6 -11h12z"/></g>'
            ).format(flag.severity, words, x, x, bottom, x)
        )
    words = (
        f"{plain(chart.title)}: {count(len(chart.spans), 'visit')} at {count(len(chart.rows), 'ATM')}, "
        f"{chart.clock.period(chart.start, chart.end)}; {count(len(chart.flags), 'alert')}."
    )
    return _svg("timeline", WIDTH, bottom + BOTTOM, words, parts)


def bars(title: str, values: Mapping[str, float], unit: str) -> Markup:
    """``values`` (0 or more) as horizontal bars in the given order."""
    longest = max(values.values(), default=0.0) or 1.0
    labels = _label_width(list(values))
    room = WIDTH - labels - 110
    parts = []
    for place, (name, value) in enumerate(values.items()):
        y = 4 + place * ROW
        length = max(value / longest * room, 1.0)
        parts.append(
            Markup(
                '<text class="label" x="{}" y="{}">{}</text><rect class="bar" x="{}" y="{}" width="{:.1f}" '
                'height="{}" rx="3"/><text class="value" x="{:.1f}" y="{}">{:.2f} {}</text>'
            ).format(
                *(labels - 12, y + 17, _short(name), labels, y + 4, length, ROW - 8),
                *(labels + length + 8, y + 17, value, unit),
            )
        )
    words = f"{title}: " + "; ".join(f"{plain(name)} {value:.2f} {unit}" for name, value in values.items())
    return _svg("bars", WIDTH, 8 + ROW * len(values), words, parts)


def _svg(kind: str, width: int, height: int, words: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">{}</svg>'
    ).format(kind, width, height, words, Markup("").join(parts))


def _rows(names: Sequence[str], top: int, labels: int) -> Markup:
    parts = []
    for row, name in enumerate(names):
        y = top + row * ROW
        shade = "stripe" if row % 2 == 0 else "plain"
        parts.append(
            Markup(
                '<rect class="{}" x="0" y="{}" width="{}" height="{}"/>'
                '<text class="label" x="{}" y="{}"><title>{}</title>{}</text>'
            ).format(shade, y, WIDTH, ROW, labels - 12, y + 17, plain(name), _short(name))
        )
    return Markup("").join(parts)


def _merged(spans: Sequence[Span], x_of: Callable[[datetime], float]) -> dict[tuple[int, int, int], list[Span]]:
    places: dict[tuple[int, int, int], list[Span]] = {}
    for span in spans:
        left, right = x_of(span.start), x_of(span.end)
        if right - left < MIN_MARK:
            middle = (left + right) / 2
            left, right = middle - MIN_MARK / 2, middle + MIN_MARK / 2
        places.setdefault((span.row, round(left), round(right)), []).append(span)
    return places


def _bar(chart: Timeline, spans: Sequence[Span], box: Sequence[int], y: int) -> Markup:
    left, right = box
    first = spans[0]
    words = f"{plain(chart.rows[first.row])}, {chart.clock.moment(first.start).text}"
    if first.end > first.start:
        words += f", {duration((first.end - first.start).total_seconds())}"
    if len(spans) > 1:
        words += f", and {len(spans) - 1} more here"
    return Markup('<rect class="visit" x="{}" y="{}" width="{}" height="{}" rx="3"><title>{}</title></rect>').format(
        left, y + 6, max(right - left, round(MIN_MARK)), ROW - 12, words
    )


def _padded(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A little air at both ends, and at least ten minutes in all.  A terminal's clock may say anything."""
    start, end = (min(max(at, EARLIEST), LATEST) for at in (start, end))
    pad = max((end - start) * 0.03, timedelta(minutes=5))
    return start - pad, end + pad


def _label_width(names: Sequence[str]) -> int:
    longest = max((len(_short(name)) for name in names), default=0)
    return min(LABEL_AIR + LABEL_CHARACTER * longest, LABELS)


def _ticks(low: datetime, high: datetime, clock: WallClock) -> list[tuple[datetime, str]]:
    """Round points in time between ``low`` and ``high`` on the wall clock, at most nine or so."""
    step = next((s for s in STEPS if (high - low) / s <= MAX_TICKS), STEPS[-1])
    days = step >= timedelta(days=1)
    local = clock.local(low)
    at = local.replace(hour=0, minute=0, second=0, microsecond=0)
    at += ((local - at) // step + 1) * step
    ticks: list[tuple[datetime, str]] = []
    last_day = local.date()
    while at < high and len(ticks) <= MAX_TICKS:
        new_day = at.date() != last_day or not ticks
        date = f"{at:%b %Y}" if step >= YEAR else f"{at:%d %b}"
        ticks.append((at, date if days else f"{at:%d %b %H:%M}" if new_day else f"{at:%H:%M}"))
        last_day = at.date()
        at += step
    return ticks


def _short(name: str) -> str:
    shown = plain(name)
    return shown if len(shown) <= LABEL_LENGTH else shown[: LABEL_LENGTH - 1] + "…"
