"""Session-wide fixtures: `kafka` and `redis_url`. Loaded with `pytest_plugins = ["servers.plugin"]`."""

import os
from collections.abc import Iterator

import pytest

from servers.kafka_broker import kafka_server
from servers.redis_store import redis_server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address (host:port) of a broker shared by the whole run: use topic and group names of your own.

    A test that stops or kills the broker starts one for itself with `servers.kafka_server(tmp_path)`.
    """
    if given := os.environ.get("ATMWATCH_TEST_KAFKA"):
        yield given
        return
    server = kafka_server(tmp_path_factory.mktemp("kafka"))
    yield server.bootstrap
    server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis shared by the whole run: use a key prefix of your own, flush only in one of your own."""
    if given := os.environ.get("ATMWATCH_TEST_REDIS"):
        yield given
        return
    server = redis_server(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.stop()
