"""How much a client may ask, and how much may be under way at once.  All of it belongs to the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ingest.gateway.problems import Code, Problem


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimits:
    """A token bucket for each client: ``rate_per_s`` requests a second, ``burst`` of them at once.

    There are no more buckets than clients, whose names come from the keys file.
    """

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate_per_s
        self._burst = float(burst)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, client: str) -> None:
        """Count a request of ``client``.  Raises Problem (RATE_LIMITED), which says when there is room again."""
        now = self._clock()
        bucket = self._buckets.setdefault(client, _Bucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1:
            detail = f"At most {self._rate:g} requests a second are taken from this client."
            raise Problem.busy(Code.RATE_LIMITED, detail, (1 - bucket.tokens) / self._rate)
        bucket.tokens -= 1


class InFlight:
    """Bounds the requests, and the bytes of their bodies, that are received and not acknowledged yet."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self.requests = 0
        self.bytes = 0

    def enter(self) -> Slot:
        """Room for one request; leave it in the end.  Raises Problem (OVERLOADED)."""
        if self.requests >= self._most:
            raise _overloaded()
        self.requests += 1
        return Slot(self)

    def grow(self, more: int) -> None:
        """Room for ``more`` bytes.  Raises Problem (OVERLOADED)."""
        if self.bytes + more > self._most_bytes:
            raise _overloaded()
        self.bytes += more


class Slot:
    """One request's share of what is in flight."""

    def __init__(self, flight: InFlight) -> None:
        self._flight: InFlight | None = flight
        self._bytes = 0
        self._lent = False

    def hold(self, size: int) -> None:
        """Have room for a body of ``size`` bytes.  Raises Problem (OVERLOADED)."""
        if self._flight is not None and size > self._bytes:
            self._flight.grow(size - self._bytes)
            self._bytes = size

    def lend(self) -> None:
        """From now on the room is needed until ``leave``, even when the request has long been answered."""
        self._lent = True

    def release(self) -> None:
        """The request is answered: give its room back, unless it was lent."""
        if not self._lent:
            self.leave()

    def leave(self) -> None:
        """Give all of it back; again does nothing."""
        if self._flight is not None:
            self._flight.requests -= 1
            self._flight.bytes -= self._bytes
            self._flight = None


def _overloaded() -> Problem:
    return Problem.busy(Code.OVERLOADED, "Too many events wait for the broker; send this one again.", 1.0)
