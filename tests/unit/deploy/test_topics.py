"""The topics file: what it makes of the scopes, and what is wrong with it, named."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.topics import MAX_BYTES, load_topics
from ingest.errors import UsageError
from ingest.kafka_bus.config import KafkaConfig

CONFIG = KafkaConfig(scopes=("a", "b", "c"))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "topics.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_shipped_file_has_a_partition_for_each_scope() -> None:
    specs = {spec.name: spec for spec in load_topics(None, CONFIG)}
    assert {name: specs[name].partitions for name in ("atm.faces", "atm.sightings", "atm.alerts")} == {
        "atm.faces": 3,
        "atm.sightings": 3,
        "atm.alerts": 3,
    }
    assert specs["atm.deadletter"].partitions == 1
    assert {spec.replication_factor for spec in specs.values()} == {3}


@pytest.mark.parametrize(("copies", "least"), [(1, "1"), (2, "2"), (5, "2")])
def test_never_more_in_sync_copies_are_asked_for_than_there_are(copies: int, least: str) -> None:
    for spec in load_topics(None, CONFIG, copies):
        assert (spec.replication_factor, spec.config["min.insync.replicas"]) == (copies, least)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1\ntopics: {t: {partitions: 0, replication_factor: 1}}", r"topics\.t\.partitions"),
        ("version: 1\ntopics: {t: {partitions: some, replication_factor: 1}}", r"topics\.t\.partitions"),
        ("version: 1\ntopics: {t: {partitions: 1, replication_factor: 1, configs: {}}}", r"topics\.t\.configs"),
        ("version: 2\ntopics: {}", "version"),
        ("topics: [", "is not YAML"),
        (b"version: 1\n\xff", "is not YAML"),
        ("just words", "dictionary"),
        ("#" * (MAX_BYTES + 1), "larger than 256 KiB"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_topics(written(tmp_path, text), CONFIG)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.yaml: can't be read"):
        load_topics(tmp_path / "nothing.yaml", CONFIG)


def test_a_file_without_settings_has_none(tmp_path: Path) -> None:
    path = written(tmp_path, "version: 1\ntopics: {t: {partitions: per_scope, replication_factor: 2}}")
    (spec,) = load_topics(path, CONFIG)
    assert (spec.name, spec.partitions, spec.replication_factor, dict(spec.config)) == ("t", 3, 2, {})
