"""Whatever dies, and however often: in the end the counts and alerts are those of a run that nothing disturbed.

Seeds are drawn anew, and printed; ATMWATCH_CHAOS_SEED raises the same storm again, and ATMWATCH_CHAOS_FULL=1 (`make
chaos`) a long one.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from servers import KafkaServer, RedisServer, kafka_server, redis_server
from storm import Storm, Weather, broker_killed, broker_stopped, redis_flushed, redis_stopped

Servers = tuple[KafkaServer, RedisServer]
FULL = bool(os.environ.get("ATMWATCH_CHAOS_FULL"))
SMALL = Weather(
    seed=0,
    faces=3_000,
    images=40,
    kills=8,
    outages=(broker_stopped, redis_flushed, redis_stopped),
    roles=(("embedder", "embedder"), ("clusterer", "clusterer"), ("alerter", "alerter"), ("view", "view")),
)
LARGE = Weather(
    seed=0,
    faces=20_000,
    images=300,
    kills=24,
    outages=(broker_stopped, broker_killed, broker_stopped, *[redis_flushed] * 4, redis_stopped, redis_stopped),
    roles=(
        ("embedder", "embedder"),
        ("embedder-2", "embedder"),
        ("clusterer", "clusterer"),
        ("clusterer-2", "clusterer"),
        ("alerter", "alerter"),
        ("view", "view"),
    ),
    calm_s=240,
)


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that may be stopped."""
    server = kafka_server(tmp_path_factory.mktemp("chaos_kafka"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that may be flushed and stopped."""
    server = redis_server(tmp_path_factory.mktemp("chaos_redis"))
    yield server
    server.stop()


@pytest.fixture
def servers(own_kafka: KafkaServer, own_redis: RedisServer) -> Servers:
    """Both, running whatever happened to them before."""
    own_kafka.start()
    own_redis.start()
    return own_kafka, own_redis


@pytest.fixture
def seed(capsys: pytest.CaptureFixture[str]) -> int:
    given = os.environ.get("ATMWATCH_CHAOS_SEED")
    drawn = int(given) if given else random.SystemRandom().randrange(1_000_000)
    with capsys.disabled():
        print(f"\nchaos: ATMWATCH_CHAOS_SEED={drawn}", flush=True)
    return drawn


def raged(weather: Weather, servers: Servers, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    start = time.monotonic()
    storm = Storm(weather, *servers, folder)
    found = storm.rage()
    with capsys.disabled():
        print(
            f"chaos: {storm.kills} kills, {len(storm.done)} disturbances in {time.monotonic() - start:.0f} s",
            flush=True,
        )
    return found


def test_a_storm_changes_nothing(
    servers: Servers, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weather = LARGE if FULL else SMALL
    assert raged(replace(weather, seed=seed), servers, tmp_path, capsys) == []


@pytest.mark.parametrize("bug", ["offsets-first", "no-memory-of-faces"])
def test_the_check_finds_a_planted_bug(
    servers: Servers, seed: int, bug: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weather = Weather(seed=seed, faces=900, kills=5, bug=bug, killed=("clusterer",))
    found = raged(weather, servers, tmp_path, capsys)
    wanted = {"offsets-first": "lost", "no-memory-of-faces": "double"}[bug]
    assert any(wanted in said for said in found), found


def test_the_check_finds_a_view_that_does_not_see_that_it_was_flushed(
    servers: Servers, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roles = (("clusterer", "clusterer"), ("alerter", "alerter"), ("view", "view"))
    weather = Weather(seed, 600, kills=2, outages=(redis_flushed,), roles=roles, bug="blind-view", killed=("alerter",))
    found = raged(weather, servers, tmp_path, capsys)
    assert found
    assert all(said.startswith("view of numbers: ") for said in found), found
