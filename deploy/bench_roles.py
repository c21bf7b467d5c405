"""Roles as processes of their own, as ``atmwatch run`` starts them, watched from outside while they work."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import httpx

from ingest.errors import AtmwatchError

LOOK_EVERY_S = 0.2
"""Each look takes a role a few milliseconds, and would show in its rate were it taken more often."""
ANSWER_S = 5.0
FAREWELL_S = 30.0
START_LIMIT_S = 90.0
"""How long a role may take until it works, besides what it has to restore."""
TENTHS = 10
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_EVENTS = re.compile(r"^atmwatch_events_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Look:
    """A role at one moment: ``at`` on the monotonic clock, inputs committed, processor seconds, resident MB."""

    at: float
    events: int
    cpu_s: float
    rss_mb: float


@dataclass(slots=True)
class RoleProcess:
    """One running role; ``looks`` are kept in the order of time."""

    role: str
    process: subprocess.Popen[bytes]
    address: str
    log: Path
    started: float
    looks: list[Look] = field(default_factory=list)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=ANSWER_S))
    """One for all looks: to make one takes longer than to look."""

    def look(self) -> Look | None:
        """How the role is now; None while it does not answer.  Raises ``AtmwatchError`` when it has ended."""
        if self.process.poll() is not None:
            said = self.log.read_text("utf-8", "replace").strip().splitlines()
            message = f"the {self.role} ended: {said[-1] if said else 'it said nothing'}"
            raise AtmwatchError(message)
        try:
            text = self.client.get(f"{self.address}/metrics").text
        except httpx.HTTPError:
            return None
        cpu_s, rss_mb = usage(self.process.pid)
        now = Look(monotonic(), round(sum(map(float, _EVENTS.findall(text)))), cpu_s, rss_mb)
        self.looks.append(now)
        return now

    def wait_for(self, events: int, limit_s: float) -> Look:
        """Look again and again until so many inputs are committed.  Raises ``AtmwatchError`` after ``limit_s``."""
        end = monotonic() + limit_s
        while monotonic() < end:
            now = self.look()
            if now is not None and now.events >= events:
                return now
            sleep(LOOK_EVERY_S)
        message = f"the {self.role} had not committed {events:,} inputs after {limit_s:.0f} s"
        raise AtmwatchError(message)

    def wait_ready(self, limit_s: float) -> None:
        """Wait until the role says that it can work."""
        end = monotonic() + limit_s
        while monotonic() < end:
            if self.look() is not None and self.client.get(f"{self.address}/readyz").is_success:
                return
            sleep(LOOK_EVERY_S)
        message = f"the {self.role} was not ready after {limit_s:.0f} s"
        raise AtmwatchError(message)

    @property
    def course(self) -> list[Look]:
        """The looks from the first committed input to the last."""
        most = max((look.events for look in self.looks), default=0)
        first = next((at for at, look in enumerate(self.looks) if look.events), 0)
        last = next((at for at, look in enumerate(self.looks) if look.events == most), 0)
        return self.looks[first : last + 1]

    @property
    def rate(self) -> float:
        """Inputs committed a second, from the first that were seen to the last; 0 where one look saw all."""
        course = self.course
        seconds = course[-1].at - course[0].at if course else 0
        return (course[-1].events - course[0].events) / seconds if seconds else 0.0

    @property
    def most_mb(self) -> float:
        """The largest resident memory that was seen, in MB."""
        return round(max((look.rss_mb for look in self.looks), default=0.0), 1)

    @property
    def tenths_mb(self) -> list[float]:
        """Resident memory in MB when each tenth of the inputs was first seen done; fewer values where looks lack."""
        course = self.course
        step = max(1, course[-1].events // TENTHS) if course else 1
        tenths = {look.events // step: round(look.rss_mb, 1) for look in reversed(course)}
        return [tenths[tenth] for tenth in sorted(tenths) if tenth]

    @property
    def cpu_ms(self) -> float:
        """Processor milliseconds for each input, all threads together."""
        course = self.course
        events = course[-1].events - course[0].events if course else 0
        return 1000 * (course[-1].cpu_s - course[0].cpu_s) / events if events else 0.0


@contextmanager
def running(role: str, settings: Mapping[str, str], scratch: Path) -> Iterator[RoleProcess]:
    """``atmwatch run ROLE`` with ``settings`` in its environment; told to stop at the end, and waited for."""
    port = free_port()
    log = scratch / f"{role}.log"
    command = [sys.executable, "-m", "deploy.cli", "run", role]
    environment = {**os.environ, **settings, "ATMWATCH_HTTP__HOST": "127.0.0.1", "ATMWATCH_HTTP__PORT": str(port)}
    started = monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)  # noqa: S603
    watched = RoleProcess(role, process, f"http://127.0.0.1:{port}", log, started)
    try:
        yield watched
    finally:
        watched.client.close()
        process.terminate()
        try:
            process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def usage(pid: int) -> tuple[float, float]:
    """A process's processor seconds and resident memory in MB (10^6 bytes), from /proc (Linux)."""
    # The second field is the program's name in brackets, and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    user, system, pages = int(fields[11]), int(fields[12]), int(fields[21])
    return (user + system) * TICK_S, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
