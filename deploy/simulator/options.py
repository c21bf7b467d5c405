"""What a simulated day is made of, besides the people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zlib import crc32
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.random import Generator

from ingest.errors import UsageError

MOST_ATMS = 500
MOST_PEOPLE = 5000


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """``day`` begins at midnight of ``zone`` and runs a few hours over its end, as nights out do.

    ``atms`` machines stand in one city; ``mask_share`` is the share of sessions in which a mask is worn.
    ``people`` bounds how many of the folder's people take part, in the order of their names.  ``currency`` is an
    ISO 4217 code.  Construction raises ``UsageError`` for values that can't be.
    """

    seed: int = 1
    day: date = date(2025, 3, 14)
    atms: int = 6
    zone: str = "Europe/Oslo"
    currency: str = "NOK"
    mask_share: float = 0.5
    people: int = 500

    def __post_init__(self) -> None:
        if self.seed < 0:
            message = f"seed must be 0 or more, not {self.seed}"
            raise UsageError(message)
        if not 4 <= self.atms <= MOST_ATMS:
            message = f"a day needs 4 to {MOST_ATMS} ATMs, not {self.atms}"
            raise UsageError(message)
        if not 1 <= self.people <= MOST_PEOPLE:
            message = f"a day needs 1 to {MOST_PEOPLE} people, not {self.people}"
            raise UsageError(message)
        if not 0 <= self.mask_share <= 1:
            message = f"mask_share is a share between 0 and 1, not {self.mask_share:g}"
            raise UsageError(message)
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = f"{self.zone!r} is not an IANA time zone such as Europe/Oslo"
            raise UsageError(message) from error


def chance(seed: int, *names: str | int) -> Generator:
    """A source of random numbers of its own for whatever ``names`` says: one more picture changes no other."""
    return np.random.default_rng([seed, *(crc32(str(name).encode("utf-8", "surrogatepass")) for name in names)])
