"""The topics as they should be and as they are: creation, and drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import Annotated, Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError
from pydantic import BaseModel, ConfigDict, Field

from ingest.errors import UsageError
from ingest.kafka_bus.client import connecting, connection, translated
from ingest.kafka_bus.config import ALERTS, FACES, SIGHTINGS, KafkaConfig

PER_SCOPE = (FACES, SIGHTINGS, ALERTS)
LOOKS, LOOK_AGAIN_S = 4, 0.75


class TopicSpec(BaseModel):
    """One topic: ``partitions`` (at least one per scope where it is divided by scope), copies, and its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    partitions: Annotated[int, Field(ge=1)]
    replication_factor: Annotated[int, Field(ge=1)] = 1
    config: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class TopicState:
    """What was found or done about one topic; ``drift`` lists how it differs from its specification."""

    name: str
    created: bool
    drift: tuple[str, ...] = ()


class Admin:
    """The cluster's administration.  Close it after use."""

    def __init__(self, config: KafkaConfig) -> None:
        self._prefix = config.topic_prefix
        with connecting(config):
            self._client = KafkaAdminClient(**connection(config), client_id=f"{config.group}-admin")

    def close(self) -> None:
        self._client.close()

    def partitions(self) -> dict[str, int]:
        """How many partitions each topic of this installation has, by its name without the prefix."""
        with translated():
            described: list[dict[str, Any]] = self._client.describe_topics()
        return {
            topic["name"].removeprefix(self._prefix): len(topic["partitions"])
            for topic in described
            if topic["name"].startswith(self._prefix) and not topic.get("error_code")
        }

    def ensure(self, specs: list[TopicSpec]) -> list[TopicState]:
        """Create what is missing; report, and leave alone, what differs."""
        states = []
        for spec in specs:
            known = self.partitions()
            if spec.name in known:
                states.append(TopicState(spec.name, created=False, drift=self._drift(spec, known[spec.name])))
                continue
            topic = NewTopic(
                self._prefix + spec.name, spec.partitions, spec.replication_factor, topic_configs=dict(spec.config)
            )
            with translated(), suppress(TopicAlreadyExistsError):  # somebody else was as quick
                self._client.create_topics([topic])
            states.append(TopicState(spec.name, created=True))
        return states

    def delete(self, names: Sequence[str]) -> None:
        """Delete topics, with all that is in them."""
        with translated():
            self._client.delete_topics([self._prefix + name for name in names])

    def _drift(self, spec: TopicSpec, partitions: int) -> tuple[str, ...]:
        found = []
        if partitions != spec.partitions:
            found.append(f"{partitions} partitions instead of {spec.partitions}")
        resource = ConfigResource(ConfigResourceType.TOPIC, self._prefix + spec.name)
        with translated():
            described = self._client.describe_configs([resource], config_filter="all")
        settings = _settings(described, self._prefix + spec.name)
        found += [
            f"{name} is {settings.get(name, 'not set')} instead of {value}"
            for name, value in spec.config.items()
            if settings.get(name) != value
        ]
        return tuple(found)


def _settings(described: dict[str, Any], topic: str) -> dict[str, str]:
    return {name: str(found["value"]) for name, found in described["topic"][topic].items()}


def check_topics(config: KafkaConfig, names: tuple[str, ...]) -> None:
    """Raise ``UsageError`` when a topic is missing, or one divided by scope has not one partition for each scope.

    A topic that was just made, or a broker that just came back, may be late in telling: it is asked for some seconds.
    """
    admin = Admin(config)
    try:
        for _ in range(LOOKS):
            wrong = _wrong(config, names, admin.partitions())
            if not wrong:
                return
            sleep(LOOK_AGAIN_S)
    finally:
        admin.close()
    message = f"topics are not as they should be: {'; '.join(wrong)}; run `atmwatch topics create`"
    raise UsageError(message)


def _wrong(config: KafkaConfig, names: tuple[str, ...], known: dict[str, int]) -> list[str]:
    wrong = [f"{config.topic_prefix}{name} is missing" for name in names if name not in known]
    return wrong + [
        f"{config.topic_prefix}{name} has {known[name]} partitions for {len(config.scopes)} scopes"
        for name in names
        if name in PER_SCOPE and name in known and known[name] != len(config.scopes)
    ]
