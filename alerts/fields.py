"""How durations and hours are written in a rules file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = timedelta(days=92)
_DURATION = re.compile(r"(?:[0-9]{1,6}[smhd])+", re.ASCII)
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def parse_duration(value: object) -> timedelta:
    """``90s``, ``15m``, ``24h``, ``7d``, ``1h30m``.  Raises ``ValueError`` with what to write instead."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    if text.startswith("-"):
        message = "must be positive"
        raise ValueError(message)
    if not _DURATION.fullmatch(text):
        message = "must be a number with a unit, such as 90s, 15m, 24h, 7d or 1h30m"
        raise ValueError(message)
    seconds = sum(int(part[:-1]) * UNITS[part[-1]] for part in re.findall(r"[0-9]+[smhd]", text))
    if seconds > LONGEST.total_seconds():
        message = f"must be at most {format_duration(LONGEST)}"
        raise ValueError(message)
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The shortest way to write ``value`` in whole units, with hours up to a day: ``15m``, ``24h``, ``7d``."""
    seconds = int(value.total_seconds())
    for unit in "dhm":
        size = UNITS[unit]
        if seconds % size == 0 and seconds >= (2 * size if unit == "d" else size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        message = "must be positive"
        raise ValueError(message)
    return value


_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^([0-9]+[smhd])+$", "examples": ["15m", "24h", "7d"]})

Duration = Annotated[timedelta, BeforeValidator(parse_duration), _SCHEMA]
"""A length of time that may be zero."""

Window = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive), _SCHEMA]
"""A length of time above zero."""


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of every day, in minutes after local midnight: from ``start`` up to but without ``end``."""

    start: int
    end: int

    def hold(self, minute: int) -> bool:
        """Whether ``minute`` lies within; hours that end before they start go over midnight."""
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def __str__(self) -> str:
        first, last = (f"{m // 60:02d}:{m % 60:02d}" for m in (self.start, self.end))
        return f"{first}-{last}"


def _parse_hours(value: object) -> Hours:
    if isinstance(value, Hours):
        return value
    found = _HOURS.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        message = 'must be hours such as "23:00-05:00"'
        raise ValueError(message)
    a, b, c, d = map(int, found.groups())
    if (start := a * 60 + b) == (end := c * 60 + d):
        message = "must not start and end at the same minute"
        raise ValueError(message)
    return Hours(start, end)


LocalHours = Annotated[
    Hours,
    BeforeValidator(_parse_hours),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$"}),
]
