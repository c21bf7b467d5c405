"""Real servers for the tests: Apache Kafka and Redis, started on loopback and stopped with the tests.

`children` starts a process that cannot outlive the tests, `cache` keeps what was downloaded, `kafka_broker` and
`redis_store` know the two servers, `plugin` holds the pytest fixtures. `python -m servers` (with `tests` on
PYTHONPATH) fetches both beforehand, with progress, so that the tests' first run need not.
"""

from servers.cache import Missing
from servers.kafka_broker import KafkaServer, kafka_server
from servers.redis_store import RedisServer, redis_server

__all__ = ["KafkaServer", "Missing", "RedisServer", "kafka_server", "redis_server"]
