"""A storm over a stream: roles are killed, servers stop and lose what they hold, and everything must come out right.

Every choice is drawn from one seed, so a storm that found something can be raised again; only the scheduler's own
whims can't.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crowd import crowd, pictures
from dashboard import Dashboard
from portraits import ALICE, ALICE_2, ALICE_3, BOB, CAROL, encoded, masked, nobody, portrait
from servers import KafkaServer, RedisServer
from stream import END_S, INPUTS, Stream, make_topics, stream_config
from verdict import Outcome, differences, embedding_differences, undisturbed

from ingest.kafka_bus.config import ALERTS, FACES, SIGHTINGS
from ingest.records import AtmEvent

RULES = Path(__file__).with_name("rules.yaml")
PLANTED = Path(__file__).with_name("planted.py")
NUMBERS, PICTURES = "numbers", "pictures"
"""The scopes: faces made of numbers in one, pictures in the other."""
VIEW = "view"


@dataclass(frozen=True)
class Weather:
    """How bad it gets.  ``roles`` are the processes by name, ``bug`` one of ``planted``.

    ``outages`` are what happens to the servers at random points between the kills: each is given the storm.
    """

    seed: int
    faces: int
    images: int = 0
    kills: int = 6
    outages: tuple[Callable[[Storm], None], ...] = ()
    roles: tuple[tuple[str, str], ...] = (("clusterer", "clusterer"), ("alerter", "alerter"))
    bug: str | None = None
    calm_s: float = 90.0
    killed: tuple[str, ...] = (*INPUTS, VIEW)


@dataclass
class Storm:
    """One run.  ``done`` counts what was done to it; ``chaos`` is drawn from the seed."""

    weather: Weather
    kafka: KafkaServer
    redis: RedisServer
    folder: Path
    done: list[str] = field(default_factory=list)
    kills: int = 0

    def __post_init__(self) -> None:
        weather = self.weather
        self.chaos = random.Random(weather.seed)
        scopes = (NUMBERS, PICTURES)
        config = stream_config(self.kafka.bootstrap, scopes=scopes)
        self.dashboard = Dashboard(config, self.redis.url, config.group)
        wanted = {"rules": RULES, "redis__url": self.redis.url, "redis__prefix": config.group}
        self.stream = Stream(config, self.folder, wanted)
        self.faces = crowd(weather.faces, weather.seed, NUMBERS)
        self.images = pictures(weather.images, weather.seed, PICTURES, looks() if weather.images else [])

    def rage(self) -> list[str]:
        """Send everything while the storm lasts, wait for calm, and say how the outcome differs from the right one."""
        try:
            make_topics(self.stream.config, events=4)
            for name, _ in self.weather.roles:
                self._start(name)
            self._blow()
            self._calm()
            self._stop()
            return self._judge()
        finally:
            self.stream.close()

    def _blow(self) -> None:
        weather = self.weather
        steps: list[Callable[[Storm], None]] = [Storm._kill] * weather.kills
        for outage in weather.outages:  # never the last step: what comes behind must be told from what was lost
            steps.insert(self.chaos.randrange(len(steps)), outage)
        for number, step in enumerate(steps):
            if self.chaos.random() < 0.7 and not self._quiet(8.0):
                self.done.append("did not wait for quiet any longer")
            self.stream.publish(_part(self.faces, number, len(steps)), FACES)
            self.stream.publish(_part(self.images, number, len(steps)))
            time.sleep(self.chaos.uniform(0.05, 0.6))
            step(self)

    def _quiet(self, seconds: float) -> bool:
        """Wait until all is done that was sent, but not for long."""
        until = time.monotonic() + seconds
        for role in self._roles():
            while not self.stream.is_done(role):
                if time.monotonic() > until:
                    return False
                time.sleep(0.05)
        return True

    def _calm(self) -> None:
        """Wait until all is done that was sent, and the view shows it."""
        until = time.monotonic() + self.weather.calm_s
        self.stream.wait_until_done(*self._roles(), seconds=self.weather.calm_s)
        if self.has_view:
            ends = self.dashboard.journal_ends()
            self.stream.wait_until(lambda: self.dashboard.is_up_to(ends), "the view did not follow", until)

    @property
    def has_view(self) -> bool:
        """Whether the view is among the roles."""
        return VIEW in dict(self.weather.roles).values()

    def _kill(self) -> None:
        able = [name for name, role in self.weather.roles if role in self.weather.killed]
        name = self.chaos.choice(able)
        self.stream.children[name].kill()
        self.kills += 1
        self.done.append(f"killed {name}")
        time.sleep(self.chaos.uniform(0, 0.5))
        self._start(name)

    def _start(self, name: str) -> None:
        role = dict(self.weather.roles)[name]
        program = ["-m", "deploy.cli"] if self.weather.bug is None else [str(PLANTED), self.weather.bug]
        self.stream.start(role, name, program)

    def _stop(self) -> None:
        for name, child in self.stream.children.items():
            assert child.is_running(), f"{name} has died by itself: {self.stream.log(name).read_text()[-2000:]}"
            start = time.monotonic()
            child.stop(timeout=END_S + 5)
            took = time.monotonic() - start
            assert took < END_S, f"{name} took {took:.1f} s to stop"

    def _roles(self) -> list[str]:
        there = {role for _, role in self.weather.roles}
        return [role for role in INPUTS if role in there]

    def _judge(self) -> list[str]:
        read = self.stream.read
        numbers, images = read(FACES, 0), read(FACES, 1)
        said = [] if numbers == self.faces else ["the faces in the topic are not those that were sent"]
        said += embedding_differences(self.images, images)
        for partition, arrived in enumerate((numbers, images)):
            alerts = tuple(read(ALERTS, partition))
            found = Outcome(tuple(read(SIGHTINGS, partition)), alerts)  # type: ignore[arg-type]
            expected = undisturbed(arrived, RULES)
            assert expected.alerts or not arrived
            said += differences(expected, found)
            if self.has_view:
                said += self.dashboard.differences(self.stream.config.scopes[partition], expected)
        return said


def broker_stopped(storm: Storm) -> None:
    """The broker ends in an orderly way, and comes back after a while."""
    storm.kafka.stop()
    time.sleep(storm.chaos.uniform(0.5, 4))
    storm.kafka.start()
    storm.done.append("stopped and started the broker")


def broker_killed(storm: Storm) -> None:
    """The broker dies, and comes back."""
    storm.kafka.kill()
    time.sleep(storm.chaos.uniform(0, 2))
    storm.kafka.start()
    storm.done.append("killed and started the broker")


def redis_flushed(storm: Storm) -> None:
    """Somebody's FLUSHALL takes what the view shows, and another what was built of it anew by then."""
    pause = storm.chaos.uniform(0, 1.5)
    _wait(storm.dashboard.shows_anything, 15)  # there must be something to lose
    storm.redis.flush()
    time.sleep(pause)
    storm.redis.flush()
    storm.done.append("flushed Redis twice")


def redis_stopped(storm: Storm) -> None:
    """Redis ends, holds nothing on disk, and comes back empty after a while."""
    storm.redis.stop()
    time.sleep(storm.chaos.uniform(0.5, 4))
    storm.redis.start()
    storm.done.append("stopped and started Redis")


def _wait(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not true():
        time.sleep(0.05)


def looks() -> list[bytes]:
    """Pictures of three people, bare and masked, and of nobody."""
    faces = [portrait(ALICE), portrait(ALICE_2), portrait(ALICE_3), portrait(BOB), portrait(CAROL)]
    hidden = [masked(ALICE, "surgical_blue"), masked(BOB, "n95", 400), masked(CAROL, "black"), nobody()]
    return [encoded(picture) for picture in [*faces, *hidden]]


def _part(everything: Sequence[AtmEvent], number: int, parts: int) -> Sequence[AtmEvent]:
    size = len(everything)
    return everything[size * number // parts : size * (number + 1) // parts]
