"""The topics' settings keep what must be kept, and the image's lock is a part of the developers'."""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
from shared import DEPLOY, ROOT, load

from ingest.limits import DEFAULT_LIMITS

TOPICS: dict[str, Any] = load(DEPLOY / "topics.yaml")["topics"]
PER_SCOPE = ("atm.faces", "atm.sightings", "atm.alerts")


def test_every_topic_is_there() -> None:
    assert set(TOPICS) == {"atm.events", *PER_SCOPE, "atm.deadletter"}


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_is_complete(name: str) -> None:
    topic = TOPICS[name]
    assert set(topic) == {"partitions", "replication_factor", "config"}
    assert topic["replication_factor"] == 3
    config = topic["config"]
    assert all(isinstance(value, str) for value in config.values()), "Kafka takes strings"
    assert config["min.insync.replicas"] == "2"
    assert config["unclean.leader.election.enable"] == "false"
    assert config["message.timestamp.type"] == "LogAppendTime", "an ATM's clock must not decide what is deleted"
    # kafka-python decodes gzip by itself; any other codec needs a library that is not in the lock.
    assert config["compression.type"] in {"producer", "uncompressed", "gzip"}


def test_scopes_have_one_partition_number() -> None:
    assert [TOPICS[name]["partitions"] for name in PER_SCOPE] == ["per_scope"] * 3
    assert TOPICS["atm.deadletter"]["partitions"] == 1


@pytest.mark.parametrize("name", ["atm.sightings", "atm.alerts"])
def test_the_journal_is_never_compacted_and_never_ends(name: str) -> None:
    config = TOPICS[name]["config"]
    assert config["cleanup.policy"] == "delete", "the key is the scope: compaction would keep one record of each"
    assert config["retention.ms"] == config["retention.bytes"] == "-1"


def test_the_largest_picture_fits() -> None:
    room = int(TOPICS["atm.events"]["config"]["max.message.bytes"]) - DEFAULT_LIMITS.max_bytes
    assert 64 * 1024 <= room <= 2 * 1024 * 1024


def test_dead_letters_do_not_outlive_what_they_refer_to() -> None:
    def days(name: str) -> int:
        return int(TOPICS[name]["config"]["retention.ms"]) // 86_400_000

    assert days("atm.faces") <= 3
    assert days("atm.deadletter") <= days("atm.events") == 30


@pytest.mark.parametrize("name", ["atm.events", "atm.faces", "atm.deadletter"])
def test_segments_roll_early_enough_for_the_retention_to_be_true(name: str) -> None:
    config = TOPICS[name]["config"]
    assert int(config["segment.ms"]) * 6 <= int(config["retention.ms"])


def test_compose_has_the_same_topics_with_one_copy() -> None:
    expected = deepcopy(load(DEPLOY / "topics.yaml"))
    for topic in expected["topics"].values():
        topic["replication_factor"] = 1
        topic["config"]["min.insync.replicas"] = "1"
    assert load(DEPLOY / "compose" / "topics.yaml") == expected


def _pins(lock: str) -> dict[str, tuple[str, ...]]:
    """Each requirement of a lock file, with its hashes."""
    text = (ROOT / lock).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {line.split(" --hash=")[0].strip(): tuple(sorted(re.findall(r"--hash=(\S+)", line))) for line in lines}


def test_the_locks_agree() -> None:
    locks = [_pins(f"requirements{name}.lock") for name in ("-run", "", "-train")]
    for smaller, larger in pairwise(locks):
        apart = {pin for pin in smaller if smaller[pin] != larger.get(pin)}
        assert not apart, "make the locks anew: README.md says how"
        assert all(smaller.values()), "every requirement has hashes"
        assert set(smaller) < set(larger)


def test_the_image_has_what_the_project_depends_on_and_no_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    pinned = {pin.split("==")[0].strip() for pin in _pins("requirements-run.lock")}

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^A-Za-z0-9.-]", requirement)[0].lower() for requirement in requirements}

    needed = names(project["project"]["dependencies"])
    assert needed <= pinned
    assert not (names(project["dependency-groups"]["dev"]) - needed) & pinned
    assert not any("http" in pin for pin in pinned if "://" in pin), "a lock names no index host"
    assert any(pin.startswith("setuptools==") for pin in _pins("requirements.lock")), "the image is built with it"
