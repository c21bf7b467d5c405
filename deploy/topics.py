"""The topics file: how many partitions, copies and which settings each topic is to have."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest.errors import UsageError
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.topics import TopicSpec

MAX_BYTES = 256 * 1024


class _Topic(BaseModel):
    model_config = ConfigDict(extra="forbid")

    partitions: Annotated[int, Field(ge=1)] | Literal["per_scope"]
    replication_factor: Annotated[int, Field(ge=1)]
    config: Mapping[str, str] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    topics: dict[str, _Topic]


def load_topics(path: Path | None, config: KafkaConfig, replication: int | None = None) -> list[TopicSpec]:
    """The topics in the file at ``path``, or those that are shipped; ``replication`` replaces the file's.

    Raises ``UsageError`` that names what is wrong.
    """
    source = path or files("deploy").joinpath("topics.yaml")
    try:
        content = source.read_bytes()
    except OSError as error:
        message = f"{source}: can't be read: {error.strerror}"
        raise UsageError(message) from error
    if len(content) > MAX_BYTES:
        message = f"{source}: larger than {MAX_BYTES // 1024} KiB"
        raise UsageError(message)
    try:
        found = _File.model_validate(yaml.safe_load(content))
    except (yaml.YAMLError, ValidationError) as error:
        faults = (
            "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            if isinstance(error, ValidationError)
            else "is not YAML"
        )
        message = f"{source}: {faults}"
        raise UsageError(message) from error
    return [_spec(name, topic, config, replication) for name, topic in found.topics.items()]


def _spec(name: str, topic: _Topic, config: KafkaConfig, replication: int | None) -> TopicSpec:
    copies = replication or topic.replication_factor
    settings = dict(topic.config)
    if "min.insync.replicas" in settings:  # more than there are copies could never be met
        settings["min.insync.replicas"] = str(min(int(settings["min.insync.replicas"]), copies))
    partitions = len(config.scopes) if topic.partitions == "per_scope" else topic.partitions
    return TopicSpec(name=name, partitions=partitions, replication_factor=copies, config=settings)
