"""How the report words times, counts, shares and foreign text."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ingest.claim_check import frame_time, printable, uri_path
from ingest.errors import BadRecord
from ingest.records import mask_card_numbers

TEXT_LENGTH = 240

INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that draw nothing, or turn the direction of the text after them."""

UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time as the page shows it: ``text`` on the report's wall clock, ``iso`` in UTC for programs."""

    text: str
    iso: str

    @property
    def clock(self) -> str:
        """The time of day alone."""
        return self.text[11:]


@dataclass(frozen=True, slots=True)
class WallClock:
    """The one time zone in which a page shows its times."""

    zone: str = "UTC"

    def local(self, at: datetime) -> datetime:
        """``at`` on this clock."""
        try:
            return at.astimezone(ZoneInfo(self.zone))
        except OverflowError:  # the first or last day of the calendar
            return at

    def moment(self, at: datetime) -> Moment:
        """``at`` to the second."""
        return Moment(_seconds(self.local(at)).replace("T", " "), _seconds(at.astimezone(UTC)) + "Z")

    def period(self, first: datetime | None, last: datetime | None) -> str:
        """From ``first`` to ``last``, the day named once where it is the same."""
        if first is None or last is None:
            return "no pictures"
        start, end = self.local(first), self.local(last)
        begin, finish = (self.moment(at).text[:16] for at in (start, end))
        until = finish[11:] if start.date() == end.date() else finish
        return f"{begin} to {until} ({self.zone})"


def _seconds(at: datetime) -> str:
    return at.replace(tzinfo=None, microsecond=0).isoformat()


def plain(text: str, length: int = TEXT_LENGTH) -> str:
    """Text from outside as one visible line: what draws nothing is spelt out, what is too long is cut.

    A name may hold a right-to-left override that makes ``gpj.exe`` look like ``exe.jpg``; escaping for HTML
    does not help against that.
    """
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in INVISIBLE else c for c in cut)


def origin(source: str, length: int = TEXT_LENGTH) -> str:
    """Where a picture lies, for people: a file URI as its path and, of a video, the frame's time; the end of it.

    Like ``plain``, and without card numbers.
    """
    text = source
    if source.startswith("file:"):
        at = frame_time(source)
        try:
            text = printable(uri_path(source)) + ("" if at is None else f" at {duration(at)}")
        except BadRecord:
            text = source
    text = mask_card_numbers(text)
    return plain(text if len(text) <= length else "…" + text[1 - length :], length)


def number(value: float) -> str:
    """A count or measure with thousands apart; at most three digits behind the point."""
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def share(value: float) -> str:
    """A probability as per cent; never rounded up to certainty, nor down to nothing."""
    if value >= 1 or value <= 0:
        return f"{100 * value:.0f}%"
    if value > 0.999:
        return "> 99.9%"
    return "< 0.1%" if value < 0.001 else f"{100 * value:.1f}%"


def duration(seconds: float) -> str:
    """Seconds in their two largest units: ``1 h 30 min``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms" if seconds > 0 else "0 s"
    if seconds < 60:
        return f"{number(round(seconds, 1))} s"
    left, parts = round(seconds), []
    for size, unit in UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def count(value: int, noun: str, plural: str | None = None) -> str:
    """``1 visit``, ``2,000 visits``."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {plural or noun + 's'}"


def measure(name: str, value: float) -> str:
    """What a rule measured or allows, by the unit that its name ends in (``_s`` seconds)."""
    return duration(value) if name.endswith("_s") else number(value)


def label(name: str) -> str:
    """A field's name in words: ``distinct_atms`` becomes ``distinct ATMs``."""
    words = name.removesuffix("_s").replace("_kmh", " (km/h)").replace("_", " ")
    return " ".join("ATMs" if w == "atms" else "ATM" if w == "atm" else w for w in words.split())
