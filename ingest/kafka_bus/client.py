"""Connections, and what a Kafka error means for us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import errors

from ingest.errors import AtmwatchError, Superseded, Unavailable, UsageError
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.login import check_login
from ingest.kafka_bus.sockets import DIRECT

LOST = (
    errors.ProducerFencedError,
    errors.InvalidProducerEpochError,
    errors.TransactionCoordinatorFencedError,
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.FencedInstanceIdError,
    errors.InvalidProducerIdMappingError,
)
"""Another member has, or is about to have, what this one works on."""

REFUSED = (
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.AuthorizationError,
    errors.IncompatibleBrokerVersion,
    errors.KafkaConfigurationError,
)
"""Trying again changes nothing."""


def connection(config: KafkaConfig) -> dict[str, Any]:
    """The options that every client needs."""
    options: dict[str, Any] = {
        "bootstrap_servers": config.bootstrap.split(","),
        "security_protocol": config.security_protocol,
        "request_timeout_ms": _ms(config.request_timeout_s),
        "bootstrap_timeout_ms": _ms(config.request_timeout_s),
        "reconnect_backoff_max_ms": 1_000,
        "proxy_url": DIRECT,
    }
    if config.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = config.sasl_mechanism
        options["sasl_plain_username"] = config.sasl_username
        options["sasl_plain_password"] = config.sasl_password.get_secret_value() if config.sasl_password else None
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path = getattr(config, name)
        if path is not None:
            options[name] = str(path)
    return options


@contextmanager
def connecting(config: KafkaConfig) -> Iterator[None]:
    """Around the making of a client: nothing is made while the cluster is away or refuses us.

    Raises as ``check_login`` and ``translated`` do.
    """
    check_login(config)
    with translated():
        yield


@contextmanager
def translated() -> Iterator[None]:
    """Kafka's errors as ours: ``UsageError`` refused, ``Superseded`` lost, ``Unavailable`` everything that may heal."""
    try:
        yield
    except errors.KafkaError as error:
        raise meaning(error) from error


def meaning(error: BaseException) -> AtmwatchError:
    """Our error for one of Kafka's."""
    if isinstance(error, REFUSED):
        return UsageError(f"Kafka refuses: {type(error).__name__}; check credentials, rights and broker version")
    if isinstance(error, LOST):
        return Superseded(f"another process has taken over ({type(error).__name__})")
    return Unavailable(f"Kafka ({type(error).__name__})")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
