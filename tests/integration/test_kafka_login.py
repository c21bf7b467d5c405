"""A right login works, encrypted too; a wrong one, or no trust, is told at once in plain words, and tried once."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from command import spawn
from crowd import CARD
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion
from servers import KafkaServer, kafka_server
from servers.children import free_port
from servers.kafka_broker import USER
from stream import END_S, Stream, make_topics, stream_config

from clustering.records import Sighting
from deploy.bench_crowd import Crowd
from ingest.errors import Unavailable, UsageError
from ingest.kafka_bus.config import FACES, SIGHTINGS, KafkaConfig
from ingest.kafka_bus.login import check_login
from ingest.kafka_bus.sockets import DIRECT
from ingest.kafka_bus.topics import Admin

TELLER = "teller"
"""A user that logs in by SCRAM, with the password of the server's own, which logs in by PLAIN."""
SASL = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = kafka_server(tmp_path_factory.mktemp("guarded_kafka"), tls=True)
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap, proxy_url=DIRECT)) as admin:
        teller = UserScramCredentialUpsertion(TELLER, ScramMechanism.SCRAM_SHA_512, server.password, iterations=4096)
        assert admin.alter_user_scram_credentials([teller]) == {TELLER: None}
    yield server
    server.stop()


def config(server: KafkaServer, **more: object) -> KafkaConfig:
    login = {"bootstrap": server.sasl_bootstrap, "sasl_username": server.user, "sasl_password": server.password}
    return KafkaConfig.model_validate({**SASL, **login, **more})


def encrypted(server: KafkaServer, **more: object) -> KafkaConfig:
    options = {
        "bootstrap": server.tls_bootstrap,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": TELLER,
        "ssl_cafile": server.ca_path,
    }
    return config(server, **{**options, **more})


def test_the_right_password_opens(guarded: KafkaServer) -> None:
    check_login(config(guarded))
    admin = Admin(config(guarded))
    assert admin.partitions() == {}
    admin.close()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sasl_password": "wrong"}, "Authentication failed: Invalid username or password"),
        ({"sasl_mechanism": "SCRAM-SHA-256"}, "it offers no SCRAM-SHA-256"),
    ],
)
def test_a_refused_login_is_told_in_the_brokers_words(guarded: KafkaServer, wrong: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told) as failed:
        check_login(config(guarded, **wrong))
    assert guarded.password not in str(failed.value)


def test_a_login_where_none_is_wanted_and_encryption_where_there_is_none(guarded: KafkaServer) -> None:
    with pytest.raises(UsageError, match="refuses the login"):
        check_login(config(guarded, bootstrap=guarded.bootstrap))
    with pytest.raises((UsageError, Unavailable), match="Kafka"):
        check_login(KafkaConfig(bootstrap=guarded.bootstrap, security_protocol="SSL"))


def test_files_that_are_no_certificates(guarded: KafkaServer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "nothing.pem"):
        with pytest.raises(UsageError, match="TLS files"):
            check_login(KafkaConfig(bootstrap=guarded.bootstrap, security_protocol="SSL", ssl_cafile=tmp_path / name))


def test_nobody_there_may_change_but_no_address_may_not() -> None:
    with pytest.raises(Unavailable, match="refused"):
        check_login(KafkaConfig(bootstrap=f"127.0.0.1:{free_port()}"))
    with pytest.raises(UsageError, match="not host:port"):
        check_login(KafkaConfig(bootstrap="broker"))


def test_one_of_several_addresses_is_enough(guarded: KafkaServer) -> None:
    check_login(config(guarded, bootstrap=f"127.0.0.1:{free_port()}, {guarded.sasl_bootstrap}"))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x0a\x00\x00"])
def test_whatever_else_answers_is_no_broker(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.recv(100)
                link.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"hung up|no Kafka"):
            check_login(
                KafkaConfig.model_validate({**SASL, "bootstrap": address, "sasl_username": "u", "sasl_password": "p"})
            )
        thread.join()


def test_a_role_with_a_wrong_password_ends_at_once(guarded: KafkaServer, tmp_path: Path) -> None:
    environment = {
        "ATMWATCH_KAFKA__BOOTSTRAP": guarded.sasl_bootstrap,
        "ATMWATCH_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "ATMWATCH_KAFKA__SASL_MECHANISM": "PLAIN",
        "ATMWATCH_KAFKA__SASL_USERNAME": guarded.user,
        "ATMWATCH_KAFKA__SASL_PASSWORD": "a-wrong-one",
        "ATMWATCH_HTTP__PORT": "0",
        "ATMWATCH_STATE_DIR": str(tmp_path),
    }
    start = time.monotonic()
    outcome = spawn("run", "clusterer", environment=environment)
    assert outcome.code == 2
    assert outcome.err.count("Authentication failed: Invalid username or password") == 1
    assert "a-wrong-one" not in outcome.err
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("login", [{}, {"sasl_mechanism": "PLAIN", "sasl_username": USER}])
def test_the_right_password_opens_an_encrypted_door(guarded: KafkaServer, login: dict[str, str]) -> None:
    right = encrypted(guarded, **login)
    check_login(right)
    with closing(Admin(right)) as admin:
        assert isinstance(admin.partitions(), dict)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sasl_password": "wrong"}, "refuses the login: Authentication failed .* invalid credentials"),
        ({"sasl_username": "nobody"}, "refuses the login: Authentication failed .* invalid credentials"),
        ({"sasl_mechanism": "SCRAM-SHA-256"}, "it offers no SCRAM-SHA-256"),
        ({"ssl_cafile": None}, r"no TLS connection \(CERTIFICATE_VERIFY_FAILED\); check ssl_cafile"),
    ],
)
def test_what_an_encrypted_door_refuses(guarded: KafkaServer, wrong: dict[str, str | None], told: str) -> None:
    for attempt in (check_login, Admin):
        with pytest.raises(UsageError, match=told) as failed:
            attempt(encrypted(guarded, **wrong))
        assert guarded.password not in str(failed.value)


def test_a_certificate_of_another_host_is_refused(guarded: KafkaServer) -> None:
    port = guarded.tls_bootstrap.rpartition(":")[2]
    with pytest.raises(UsageError, match="CERTIFICATE_VERIFY_FAILED"):
        check_login(encrypted(guarded, bootstrap=f"localhost:{port}"))


def test_a_role_works_over_an_encrypted_connection(guarded: KafkaServer, tmp_path: Path) -> None:
    plain = stream_config(guarded.bootstrap)
    names = {"group": plain.group, "topic_prefix": plain.topic_prefix}
    secret = {"kafka__sasl_password": guarded.password}  # which a configuration does not give away
    beside = Stream(plain, tmp_path)
    make_topics(plain)
    with closing(Stream(encrypted(guarded, **names), tmp_path, secret)) as stream:
        stream.start("clusterer")
        beside.wait_until_joined("clusterer")
        (face,) = Crowd(CARD, 8).faces(1)
        beside.publish([face], FACES)
        stream.wait_until(lambda: beside.read(SIGHTINGS) != [], "the clusterer wrote nothing", time.monotonic() + 30)
        assert [record.face_id for record in beside.read(SIGHTINGS) if isinstance(record, Sighting)] == [face.face_id]


def test_a_role_with_a_wrong_password_ends_at_once_when_encrypted(guarded: KafkaServer, tmp_path: Path) -> None:
    right = encrypted(guarded)
    environment = {
        "ATMWATCH_KAFKA__BOOTSTRAP": right.bootstrap,
        "ATMWATCH_KAFKA__SECURITY_PROTOCOL": right.security_protocol,
        "ATMWATCH_KAFKA__SASL_MECHANISM": right.sasl_mechanism,
        "ATMWATCH_KAFKA__SASL_USERNAME": TELLER,
        "ATMWATCH_KAFKA__SASL_PASSWORD": "a-wrong-one",
        "ATMWATCH_KAFKA__SSL_CAFILE": str(right.ssl_cafile),
        "ATMWATCH_HTTP__PORT": "0",
        "ATMWATCH_STATE_DIR": str(tmp_path),
    }
    start = time.monotonic()
    outcome = spawn("run", "clusterer", environment=environment)
    assert outcome.code == 2
    assert outcome.err.count("refuses the login") == 1
    assert "a-wrong-one" not in outcome.err
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("role", ["embedder", "clusterer", "alerter"])
def test_a_role_stops_in_time_while_the_broker_is_away(guarded: KafkaServer, role: str, tmp_path: Path) -> None:
    guarded.start()
    stream = Stream(stream_config(guarded.bootstrap), tmp_path)
    with closing(stream):
        make_topics(stream.config)
        child = stream.start(role)
        stream.wait_until_joined(role)
        guarded.kill()
        time.sleep(1)
        start = time.monotonic()
        child.stop(timeout=END_S + 5)
        assert time.monotonic() - start < END_S
