"""Settings: from the environment (``ATMWATCH_…``), overridden by command-line options; nothing is read at import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from clustering.decide import Policy
from deploy.environment import check_environment
from embedder.cards import WEIGHTS
from embedder.quality import GateOptions
from ingest.errors import UsageError
from ingest.gateway.config import GatewayConfig
from ingest.kafka_bus.config import KafkaConfig
from ingest.limits import DEFAULT_LIMITS, ImageLimits
from ingest.patience import Patience


class FetchSettings(BaseModel):
    """Which pictures an event of the stream may name by URI: what lies below ``roots``; none by default.

    Roots are URI prefixes such as ``https://pictures.bank.example/atm/``, ``s3://bucket/atm`` or ``file:///srv/atm``.
    A picture that fails ``tries`` times over ``patience_s`` becomes a dead letter while its store gives another; with
    no other to compare with, over ``longest_patience_s``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    roots: tuple[str, ...] = ()
    private_hosts: frozenset[str] = frozenset()
    total_s: Annotated[float, Field(gt=0)] = 10.0
    ca_file: Path | None = None
    tries: Annotated[int, Field(ge=1)] = Patience().tries
    patience_s: Annotated[float, Field(ge=0)] = Patience().least_s
    longest_patience_s: Annotated[float, Field(ge=0)] = Patience().most_s


class HttpSettings(BaseModel):
    """Where a role answers /livez, /readyz and /metrics, and how long its loop may be silent before it is dead."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    patience_s: Annotated[float, Field(gt=0)] = 60.0


class RedisConfig(BaseModel):
    """The Redis that holds the view: ``redis[s]://[[user]:password@]host[:port]/[database]``, and how keys begin."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr | None = None
    prefix: Annotated[str, Field(min_length=1, max_length=100)] = "atmwatch"
    cluster: bool = False


class WebhookConfig(BaseModel):
    """Where alerts are posted (https), and the file with the secrets that sign them, one a line.

    ``timeout_s`` bounds each of connecting, sending and reading; after ``attempts`` tries the alert waits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, Field(min_length=1)] | None = None
    secret_file: Path | None = None
    ca_file: Path | None = None
    proxy: str | None = None
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 5.0
    attempts: Annotated[int, Field(ge=1, le=10)] = 4


class LogSettings(BaseModel):
    """How much a role logs: DEBUG, INFO, WARNING or ERROR."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: str = "INFO"


class Settings(BaseSettings):
    """What can be set for every command.

    ``model``, ``detector``, ``wear_model`` and ``eyes_model`` are the name of a shipped model or the path of a model
    folder.  ``threshold`` replaces the model card's for linking faces.  ``threads`` is how many pictures are worked on
    at a time (0: one per core).  ``view_secret_file`` holds the secret under which the view counts cards; without it,
    one is made and kept below ``state_dir``.  ``alerts_file`` takes alerts as JSON Lines.  Nested settings take two
    underscores: ``ATMWATCH_POLICY__VISIT_GAP=PT3M``.
    """

    model_config = SettingsConfigDict(env_prefix="ATMWATCH_", env_nested_delimiter="__", frozen=True, extra="forbid")

    model: str = "periocular"
    detector: str = "yunet"
    wear_model: str = "wear"
    eyes_model: str = "eyes"
    rules: Path | None = None
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    batch: Annotated[int, Field(ge=1, le=1024)] = 32
    threshold: Annotated[float, Field(gt=-1, lt=1)] | None = None
    max_bytes: Annotated[int, Field(gt=0)] = DEFAULT_LIMITS.max_bytes
    max_pixels: Annotated[int, Field(gt=0)] = DEFAULT_LIMITS.max_pixels
    min_eye_distance: Annotated[float, Field(ge=0)] = GateOptions().eye_distance
    policy: Policy = Policy()
    kafka: KafkaConfig = KafkaConfig()
    fetch: FetchSettings = FetchSettings()
    gateway: GatewayConfig = GatewayConfig()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    redis: RedisConfig = RedisConfig()
    view_secret_file: Path | None = None
    webhook: WebhookConfig = WebhookConfig()
    alerts_file: Path | None = None
    stream_batch: Annotated[int, Field(ge=1, le=10_000)] = 256
    snapshot_every: Annotated[int, Field(ge=1)] = 200
    state_dir: Path = Path("state")

    @property
    def limits(self) -> ImageLimits:
        """How large a picture may be."""
        return ImageLimits(self.max_bytes, self.max_pixels)


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, with the ``overrides`` that are not None put over them.

    Raises ``UsageError`` naming each variable or option that is wrong, or that begins like a setting and is none.
    """
    check_environment(os.environ, Settings)
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate({**Settings().model_dump(), **given})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        message = f"settings (ATMWATCH_… or options): {faults}"
        raise UsageError(message) from error
    except SettingsError as error:  # a nested setting that is no JSON
        message = f"settings (ATMWATCH_…): {error}"
        raise UsageError(message) from error


def model_folder(name: str) -> Path:
    """The folder of a shipped model's ``name``, or ``name`` as a path.  Raises ``UsageError`` with what there is."""
    for folder in (WEIGHTS / name, Path(name)):
        if (folder / "card.json").is_file():
            return folder
    shipped = ", ".join(sorted(path.parent.name for path in WEIGHTS.glob("*/card.json")))
    message = f"no model {name!r}: give the path of a folder with a card.json, or one of {shipped}"
    raise UsageError(message)
