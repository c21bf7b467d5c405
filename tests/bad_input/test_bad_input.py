"""Nothing that a folder or manifest holds stops a replay, and nothing is lost without a line that says why."""

from __future__ import annotations

import json
import os
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from bad_files import (
    BAD,
    CARD,
    GOOD,
    IGNORED,
    LOOP,
    NOT_UTF8,
    REASONS,
    RING,
    SPECIAL,
    UNICODE_NAME,
    permissions,
    write_all,
)
from command import Outcome, run

from ingest.reasons import Reason


@dataclass(frozen=True)
class Replayed:
    """One replay through the command line, and what it left."""

    outcome: Outcome
    summary: dict[str, Any]
    sightings: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    content: bytes
    memory_mb: float

    def lines_of(self, name: str) -> list[dict[str, Any]]:
        """The rejected lines whose source names this file: as a path, or as the end of a URI."""
        return [line for line in self.rejected if line["source"].rpartition("/")[2] == name or line["source"] == name]

    def person_in(self, name: str) -> int:
        ending = "/" + quote_from_bytes(os.fsencode(name))
        [found] = [s for s in self.sightings if s["event"]["image_uri"].endswith(ending)]
        return int(found["number"])


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    base = tmp_path_factory.mktemp("bad")
    folder, out = base / "pictures", base / "out"
    write_all(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with permissions():
        outcome = run("replay", folder, "--out", out, "--json")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return Replayed(
        outcome,
        json.loads(outcome.out),
        [json.loads(line) for line in (out / "sightings.jsonl").read_text().splitlines()],
        [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()],
        b"\0".join(str(path.name).encode() + path.read_bytes() for path in files),
        grown,
    )


def test_a_folder_of_bad_files_is_replayed_to_its_end(replayed: Replayed) -> None:
    assert replayed.outcome.code == 0
    assert replayed.outcome.err == ""
    summary = replayed.summary
    assert summary["events"] == len(GOOD) + len(BAD) + len(SPECIAL)
    assert summary["accepted"] == len(GOOD) == len(replayed.sightings)
    assert summary["rejected"] == len(BAD) + len(SPECIAL) == len(replayed.rejected)
    assert summary["events"] == summary["accepted"] + summary["rejected"]
    assert summary["rejected_by_reason"] == dict(sorted(Counter(map(str, REASONS.values())).items()))
    assert any(f"{len(IGNORED)} files that are no pictures or videos" in note for note in summary["notes"])


@pytest.mark.parametrize("name", [name for name in REASONS if CARD not in name])
def test_a_bad_file_leaves_one_line(replayed: Replayed, name: str) -> None:
    [line] = replayed.lines_of(name)
    assert line["reason"] == REASONS[name]
    assert line["detail"].endswith(".")
    assert " " in line["detail"]


def test_what_names_its_machine_says_so(replayed: Replayed) -> None:
    unusable = [line for line in replayed.rejected if line["stage"] == "embedder"]
    assert unusable
    assert all(line["atm_id"] == "pictures" and line["event_id"] and line["captured_at"] for line in unusable)


@pytest.mark.parametrize("name", [LOOP, RING])
def test_a_loop_of_links_is_named_and_left(replayed: Replayed, name: str) -> None:
    assert [line["reason"] for line in replayed.lines_of(name)] == [Reason.SYMLINK_LOOP]


def test_bombs_are_refused_before_they_are_decoded(replayed: Replayed) -> None:
    assert replayed.memory_mb < 450  # the smaller of the two would take 300 decoded to colour, the other 2,700


def test_a_file_named_by_a_card_number_is_refused_and_the_number_never_written(replayed: Replayed) -> None:
    assert [line["reason"] for line in replayed.lines_of("[card number].jpg")] == [Reason.RAW_CARD_NUMBER]
    assert CARD.encode() not in replayed.content
    assert CARD not in replayed.outcome.out + replayed.outcome.err


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith(("bob", "carol"))])
def test_every_kind_of_picture_is_matched_to_the_plain_one(replayed: Replayed, name: str) -> None:
    assert GOOD[name][0] == "alice"
    assert replayed.person_in(name) == replayed.person_in("alice.jpg")


def test_other_people_stay_other_people(replayed: Replayed) -> None:
    assert replayed.summary["identities"] == 3
    assert len({replayed.person_in(name) for name in ("alice.jpg", "bob.jpg", "carol.jpg")}) == 3
    assert replayed.person_in("carol_masked.bmp") == replayed.person_in("carol.jpg")


@pytest.mark.parametrize("name", [UNICODE_NAME, NOT_UTF8], ids=["unicode", "not UTF-8"])
def test_any_file_name_goes_through(replayed: Replayed, name: str) -> None:
    assert replayed.person_in(name)
    assert replayed.content.decode("utf-8", "replace")


def test_each_person_has_a_folder_with_every_picture(replayed: Replayed) -> None:
    assert replayed.content.count(b"identity.json{") == 3
    assert replayed.outcome.err.count("could no longer be read") == 0
