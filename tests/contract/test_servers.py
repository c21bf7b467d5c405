"""The servers that the other tests rely on: they start, keep what they must, and never outlive the tests."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from servers import KafkaServer, RedisServer, kafka_server, redis_server

from ingest.kafka_bus.sockets import DIRECT

pytest_plugins = ["servers.plugin"]

TESTS = Path(__file__).parents[1]


def new_topic(bootstrap: str) -> TopicPartition:
    name = f"servers-{uuid.uuid4().hex}"
    with KafkaAdminClient(bootstrap_servers=bootstrap, proxy_url=DIRECT) as admin:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    return TopicPartition(name, 0)


def publish(bootstrap: str, partition: TopicPartition, *values: bytes, commit: bool = True) -> None:
    with KafkaProducer(bootstrap_servers=bootstrap, proxy_url=DIRECT, transactional_id=partition.topic) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        sent = [producer.send(partition.topic, value, partition=0) for value in values]
        producer.flush()
        for future in sent:
            future.get(10)
        producer.commit_transaction() if commit else producer.abort_transaction()


def committed(bootstrap: str, partition: TopicPartition) -> list[bytes]:
    with KafkaConsumer(bootstrap_servers=bootstrap, proxy_url=DIRECT, isolation_level="read_committed") as consumer:
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        values: list[bytes] = []
        while consumer.position(partition) < end:
            values += [record.value for records in consumer.poll(200).values() for record in records]
        return values


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = kafka_server(tmp_path_factory.mktemp("own_kafka"))
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = redis_server(tmp_path)
    yield server
    server.stop()


def test_only_committed_records_are_read_back(kafka: str) -> None:
    partition = new_topic(kafka)
    publish(kafka, partition, b"given up", commit=False)
    publish(kafka, partition, b"first", b"second")
    assert committed(kafka, partition) == [b"first", b"second"]


def test_kafka_keeps_its_data_over_stop_and_kill(own_kafka: KafkaServer) -> None:
    partition = new_topic(own_kafka.bootstrap)
    publish(own_kafka.bootstrap, partition, b"kept")
    for end in (own_kafka.stop, own_kafka.kill):
        first = own_kafka.pid
        end()
        assert not own_kafka.is_running()
        own_kafka.start()
        assert own_kafka.pid != first
        assert committed(own_kafka.bootstrap, partition) == [b"kept"]


@pytest.mark.parametrize(("known", "told"), [(True, "brokers: 1"), (False, "KafkaTimeoutError")])
def test_kafka_takes_the_right_password_only(own_kafka: KafkaServer, known: bool, told: str) -> None:
    # A process of its own, with kafka-python's defaults: a client that could not connect leaves its sockets open.
    script = """if True:
        import sys
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError
        address, user, password = sys.argv[1:]
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=address, bootstrap_timeout_ms=2000, security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="PLAIN", sasl_plain_username=user, sasl_plain_password=password,
            )
            print("brokers:", len(admin.describe_cluster()["brokers"]))
        except KafkaError as error:
            print(type(error).__name__)
        """
    password = own_kafka.password if known else own_kafka.password[:-1]
    command = [sys.executable, "-c", script, own_kafka.sasl_bootstrap, own_kafka.user, password]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == told


def test_redis_wants_its_password_and_stores(redis_url: str) -> None:
    key = f"servers:{uuid.uuid4().hex}"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.set(key, "7", ex=60)
        assert client.get(key) == "7"
    host = redis_url.rsplit("@", 1)[-1]
    with redis.Redis.from_url(f"redis://{host}") as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_redis_forgets_when_flushed_and_when_stopped(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("key", "value")
        own_redis.flush()
        assert client.get("key") is None
        client.set("key", "value")
    own_redis.stop()
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.get("key") is None


def test_a_server_dies_with_sigkilled_tests(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from servers import redis_server\n"
        "server = redis_server(Path(sys.argv[1])); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    ) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        assert is_alive(server)
        run.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while is_alive(server) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_alive(server)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody waited for yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"
