"""What can be said about a Kafka cluster.  Imports no Kafka client, so settings can be read without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from ingest.records import Name

MIB = 1024 * 1024

EVENTS, FACES, SIGHTINGS, ALERTS, DEADLETTER = (
    "atm.events",
    "atm.faces",
    "atm.sightings",
    "atm.alerts",
    "atm.deadletter",
)


class KafkaConfig(BaseModel):
    """How to reach the cluster, and how the work is divided.

    ``scopes`` are the areas in which people are tracked, in the order of their partitions: a scope's number is its
    partition in faces, sightings and alerts, so that scopes may be appended but never moved.  ``group`` is the
    prefix of consumer groups and transactional ids, and ``topic_prefix`` stands before the name of every topic: two
    installations on one cluster need two of each.  Positions name topics without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bootstrap: Annotated[str, Field(min_length=1)] = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    scopes: Annotated[tuple[Name, ...], Field(min_length=1)] = ("default",)
    group: Name = "atmwatch"
    topic_prefix: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    max_message_bytes: Annotated[int, Field(ge=MIB)] = 21 * MIB
    session_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    transaction_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 10.0

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            message = f"{self.security_protocol} needs sasl_username and sasl_password"
            raise ValueError(message)
        if len(set(self.scopes)) < len(self.scopes):
            message = "a scope is named twice"
            raise ValueError(message)
        return self

    def partition_of(self, scope: str) -> int | None:
        """The partition of a scope's faces, sightings and alerts; None when it is not configured."""
        return self.scopes.index(scope) if scope in self.scopes else None
