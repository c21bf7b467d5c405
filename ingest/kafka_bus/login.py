"""Whether a broker can be reached, and takes our login, asked before any client is made.

The client itself can't say: a refused password and an absent broker are one timeout to it, every attempt that fails
leaves a thread and its sockets behind, and it would try a wrong password for ever.  So each connection begins with
this question, over a socket of its own, in the first messages of the Kafka protocol (SaslHandshake, KIP-43;
SaslAuthenticate, KIP-152).
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any

from kafka.errors import KafkaError
from kafka.net.sasl import get_sasl_mechanism

from ingest.errors import Unavailable, UsageError
from ingest.kafka_bus.config import KafkaConfig

HANDSHAKE, AUTHENTICATE = 17, 36
NO_SUCH_MECHANISM, NO_LOGIN_WANTED = 33, 34
LARGEST_ANSWER = 65_536
PATIENCE_S = 5.0


def check_login(config: KafkaConfig) -> None:
    """Return once one of the brokers named takes the connection.

    Raises ``UsageError`` with the broker's own words when it refuses us, and ``Unavailable`` when nobody answers.
    Takes at most a few seconds for each address.
    """
    problem = "no address"
    for address in config.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal():
            message = f"kafka.bootstrap: {address.strip()!r} is not host:port"
            raise UsageError(message)
        try:
            _greet(host.strip("[]"), int(port), config)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, TimeoutError) as error:
            problem = f"{address.strip()}: {error or 'no answer'}"
        except ssl.SSLError as error:
            message = f"Kafka at {address.strip()}: no TLS connection ({error.reason or error}); check ssl_cafile"
            raise UsageError(message) from error
        except (OSError, EOFError) as error:
            problem = f"{address.strip()}: {error or type(error).__name__}"
        else:
            return
    what = f"Kafka ({problem})"
    raise Unavailable(what)


def _greet(host: str, port: int, config: KafkaConfig) -> None:
    tls = _tls(config)
    with socket.create_connection((host, port), timeout=PATIENCE_S) as plain:
        if tls is None:
            _log_in(plain, host, config)
        else:
            with tls.wrap_socket(plain, server_hostname=host) as link:
                _log_in(link, host, config)


def _tls(config: KafkaConfig) -> ssl.SSLContext | None:
    if not config.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=config.ssl_cafile)
        if config.ssl_certfile is not None:
            context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile)
    except OSError as error:  # also of what is no certificate
        message = f"kafka: the TLS files can't be used: {error.strerror or error}"
        raise UsageError(message) from error
    return context


def _log_in(link: socket.socket, host: str, config: KafkaConfig) -> None:
    if not config.security_protocol.startswith("SASL"):
        return
    mechanism = config.sasl_mechanism
    answer = _ask(link, HANDSHAKE, 1, _text(mechanism))
    (code,) = struct.unpack(">h", answer[:2])
    if code:
        why = {
            NO_SUCH_MECHANISM: f"it offers no {mechanism}",
            NO_LOGIN_WANTED: "it takes no login on this port",
        }.get(code, f"error {code}")
        _refused(host, why)
    password = config.sasl_password
    talk = get_sasl_mechanism(mechanism)(
        host=host,
        sasl_mechanism=mechanism,
        sasl_plain_username=config.sasl_username,
        sasl_plain_password=None if password is None else password.get_secret_value(),
    )
    while not talk.is_done():
        _authenticate(link, host, talk)
    if not talk.is_authenticated():
        _refused(host, "the login failed")


def _authenticate(link: socket.socket, host: str, talk: Any) -> None:
    token = talk.auth_bytes()
    answer = _ask(link, AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
    code, size = struct.unpack(">hh", answer[:4])
    rest = 4 + max(size, 0)
    if code:
        _refused(host, answer[4:rest].decode(errors="replace")[:200])
    (length,) = struct.unpack(">i", answer[rest : rest + 4])
    try:
        talk.receive(answer[rest + 4 : rest + 4 + length])
    except (KafkaError, ValueError) as error:  # the server could not prove that it knows the password
        _refused(host, f"the login failed ({type(error).__name__})")


def _refused(host: str, why: str) -> None:
    message = f"Kafka at {host} refuses the login: {why}"
    raise UsageError(message)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _ask(link: socket.socket, api: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", api, version, 1) + _text("atmwatch") + body
    link.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _read(link, 4))
    if not 8 <= size <= LARGEST_ANSWER:
        message = "no Kafka broker answers there"
        raise EOFError(message)
    return _read(link, size)[4:]


def _read(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            message = "the broker hung up"
            raise EOFError(message)
        data += more
    return data
