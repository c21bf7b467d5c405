"""What can be said about the gateway.  Imports no web framework, so settings can be read without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MIB = 1024 * 1024


class GatewayConfig(BaseModel):
    """Where the gateway listens, whom it lets in, and how much of everything.

    ``keys_file`` is described in ``ingest.gateway.keys``.  Without it nobody is let in, unless ``allow_anonymous``:
    then whoever sends no key is one client, named anonymous.  ``rate_per_s`` and ``burst`` are a client's token
    bucket, in requests.  ``max_in_flight`` and ``max_in_flight_bytes`` bound what is received and not yet acknowledged
    by the broker.  ``ack_timeout_s`` is how long a request waits for that, ``body_timeout_s`` how long a client may
    take to send.  ``remembered`` acknowledged event ids are known as duplicates.  ``max_event_bytes`` bounds a JSON
    event, ``max_body_bytes`` a whole body.  TLS is served with ``tls_certfile`` and ``tls_keyfile``; ``openapi``
    serves /openapi.json.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    keys_file: Path | None = None
    allow_anonymous: bool = False
    tls_certfile: Path | None = None
    tls_keyfile: Path | None = None
    openapi: bool = False
    max_body_bytes: Annotated[int, Field(ge=64 * 1024)] = 21 * MIB
    max_event_bytes: Annotated[int, Field(ge=1024, le=MIB)] = 64 * 1024
    rate_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    burst: Annotated[int, Field(ge=1)] = 200
    max_connections: Annotated[int, Field(ge=1)] = 1000
    max_in_flight: Annotated[int, Field(ge=1)] = 256
    max_in_flight_bytes: Annotated[int, Field(ge=64 * 1024)] = 64 * MIB
    ack_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0, le=300)] = 30.0
    remembered: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000

    @property
    def lets_in(self) -> bool:
        """Whether it says who may send; a gateway where it does not won't start."""
        return self.keys_file is not None or self.allow_anonymous

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.max_in_flight_bytes < self.max_body_bytes:
            message = "max_in_flight_bytes must hold a body of max_body_bytes"
            raise ValueError(message)
        if (self.tls_certfile is None) != (self.tls_keyfile is None):
            message = "tls_certfile and tls_keyfile go together"
            raise ValueError(message)
        return self
