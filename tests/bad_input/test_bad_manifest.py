"""A manifest's bad rows are refused one by one, by their line; a manifest that can't be meant is bad usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bad_files import CARD
from command import Outcome, run
from portraits import ALICE, ALICE_2, BOB, manifest, nobody, portrait, put

from ingest.reasons import Reason

GROUPED = "4111 1111 1111 1111"
AT = "2024-05-06T12:{:02d}:00Z"


def row(minute: int, **fields: object) -> dict[str, object]:
    return {"path": "alice.jpg", "atm_id": "ATM-1", "captured_at": AT.format(minute), **fields}


ROWS: list[tuple[str, dict[str, object], Reason | None, str]] = [
    ("plain", row(0, event_id="e-1"), None, ""),
    ("the same event again", row(0, event_id="e-1"), Reason.DUPLICATE_EVENT, "counted once"),
    ("the same event at another time", row(9, event_id="e-1", atm_id="ATM-2"), Reason.DUPLICATE_EVENT, "once"),
    ("no time", row(1, captured_at=""), Reason.CAPTURED_AT_MISSING, "does not say when"),
    ("a time without a zone", row(2, captured_at="2024-05-06 12:02:00"), Reason.CAPTURED_AT_NAIVE, "--timezone"),
    ("a naive time with a zone beside it", row(2, captured_at="2024-05-06 14:02", zone="Europe/Oslo"), None, ""),
    ("the future", row(3, captured_at="2999-01-01T00:00:00Z"), Reason.CAPTURED_AT_IN_FUTURE, "2999-01-01"),
    ("a date", row(3, captured_at="2024-05-06"), Reason.BAD_ROW, "a date without a time"),
    ("no time at all", row(3, captured_at="noon"), Reason.BAD_ROW, "ISO 8601"),
    ("no machine", row(4, atm_id=""), Reason.BAD_ROW, "atm_id is blank"),
    ("no path", row(4, path=""), Reason.BAD_ROW, "path is blank"),
    ("a negative amount", row(5, amount="-3"), Reason.BAD_ROW, "amount"),
    ("half a place", row(5, lat="59.9"), Reason.BAD_ROW, "lat and lon"),
    ("an unknown zone", row(5, zone="Europe/Atlantis"), Reason.BAD_ROW, "IANA"),
    ("a card number for a token", row(6, card_token=CARD), Reason.RAW_CARD_NUMBER, "card_token"),
    ("a card number in groups", row(6, card_token=f"card {GROUPED}"), Reason.RAW_CARD_NUMBER, "card_token"),
    ("a card number as session", row(6, session_id=CARD), Reason.RAW_CARD_NUMBER, "session_id"),
    ("a card number as event", row(6, event_id=f"evt_{CARD}"), Reason.RAW_CARD_NUMBER, "event_id"),
    ("a card number in a column of the bank's own", row(6, x_memo=CARD), Reason.RAW_CARD_NUMBER, "x_memo"),
    ("a token", row(7, path="alice_2.jpg", card_token="tok_7f3a", amount="250.00", currency="eur"), None, ""),  # noqa: S106
    ("out of the folder", row(8, path="../alice.jpg"), Reason.OUTSIDE_ROOT, "leaves the manifest's folder"),
    ("an absolute path", row(8, path="/etc/passwd"), Reason.OUTSIDE_ROOT, "leaves the manifest's folder"),
    ("no such file", row(8, path="nowhere.jpg"), Reason.UNREADABLE, "can't be read"),
    ("another picture", row(8, sha256="0" * 64), Reason.CHECKSUM_MISMATCH, "sha256"),
    ("a cash slot camera", row(8, camera="exitSlot"), Reason.CASH_SLOT_CAMERA, "cash slot"),
    ("nobody there", row(9, path="nobody.jpg"), Reason.NO_FACE, "No face"),
    ("somebody else", row(10, path="bob.jpg", atm_id="Oslo S – nord"), None, ""),
]
TORN = f'"{CARD},never closed,{AT.format(11)}'
LATE = row(12)


@dataclass(frozen=True)
class Replayed:
    outcome: Outcome
    summary: dict[str, Any]
    sightings: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    content: bytes


def pictures(folder: Path) -> Path:
    put(folder / "alice.jpg", portrait())
    put(folder / "alice_2.jpg", portrait(ALICE_2))
    put(folder / "bob.jpg", portrait(BOB, 400))
    put(folder / "nobody.jpg", nobody())
    return folder


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    base = tmp_path_factory.mktemp("rows")
    path = manifest(pictures(base / "day"), [fields for _, fields, _, _ in ROWS])
    header, *lines = path.read_text("utf-8").splitlines()
    cells = dict(LATE)
    last = ",".join(str(cells.get(name, "")) for name in header.split(","))
    path.write_text("\n".join([header, *lines, TORN, last]) + "\n", "utf-8")
    out = base / "out"
    outcome = run("replay", base / "day", "--out", out, "--json")
    return Replayed(
        outcome,
        json.loads(outcome.out),
        [json.loads(line) for line in (out / "sightings.jsonl").read_text().splitlines()],
        [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()],
        b"\0".join(file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()),
    )


def lines_about(replayed: Replayed, number: int) -> list[dict[str, Any]]:
    """The rejected lines of row ``number``: by its line, or, when its picture was at fault, by its time."""
    fields = ROWS[number][1]
    named = [line for line in replayed.rejected if line["source"] == f"manifest.csv:{number + 2}"]
    ending = f"/{fields['path']}"
    looked_at = [line for line in replayed.rejected if line["stage"] == "embedder"]
    wanted = str(fields["captured_at"])
    return named + [x for x in looked_at if x["captured_at"] == wanted and x["source"].endswith(ending)]


def test_every_row_is_accounted_for(replayed: Replayed) -> None:
    good = sum(reason is None for _, _, reason, _ in ROWS) + 1
    assert replayed.outcome.code == 0
    assert replayed.outcome.err == ""
    assert replayed.summary["accepted"] == good == len(replayed.sightings)
    assert replayed.summary["rejected"] == len(ROWS) + 2 - good == len(replayed.rejected)
    assert replayed.summary["events"] == len(ROWS) + 2
    assert replayed.summary["identities"] == 2


@pytest.mark.parametrize(
    "number", [i for i, (_, _, reason, _) in enumerate(ROWS) if reason], ids=[n for n, _, r, _ in ROWS if r]
)
def test_a_bad_row_leaves_one_line_that_names_it(replayed: Replayed, number: int) -> None:
    _, _, reason, part = ROWS[number]
    [line] = [line for line in lines_about(replayed, number) if line["reason"] == reason]
    assert part in line["detail"]
    assert line["detail"].endswith(".")


def test_a_torn_row_costs_one_line_and_not_the_rest(replayed: Replayed) -> None:
    [line] = [line for line in replayed.rejected if line["source"] == f"manifest.csv:{len(ROWS) + 2}"]
    assert line["reason"] == Reason.BAD_ROW
    assert replayed.sightings[-1]["event"]["captured_at"] == LATE["captured_at"]


def test_a_duplicate_event_counts_once(replayed: Replayed) -> None:
    assert [s["event"]["event_id"] for s in replayed.sightings].count("e-1") == 1
    assert replayed.sightings[0]["visits"] == 1


def test_a_card_number_is_in_no_output(replayed: Replayed) -> None:
    for number in (CARD, GROUPED, CARD[:6] + "******" + CARD[-4:]):
        assert number.encode() not in replayed.content
        assert number not in replayed.outcome.out + replayed.outcome.err
    assert b"tok_7f3a" in replayed.content  # in the journal, where rules need it


def test_naive_times_are_taken_in_the_zone_that_is_given(tmp_path: Path) -> None:
    pictures(tmp_path)
    table = [row(0, captured_at="2024-05-06 12:00:00"), row(1, captured_at="2024-05-06T12:30:00+00:00")]
    outcome = run(
        *("replay", manifest(tmp_path, table), "--out", tmp_path / "out", "--timezone", "Asia/Kolkata", "--json")
    )
    summary = json.loads(outcome.out)
    assert (outcome.code, summary["rejected"]) == (0, 0)
    assert (summary["first_captured_at"], summary["last_captured_at"]) == (
        "2024-05-06T06:30:00Z",
        "2024-05-06T12:30:00Z",
    )


def test_bad_lines_of_json_are_refused_by_line(tmp_path: Path) -> None:
    pictures(tmp_path)
    good = json.dumps(row(0))
    lines = [good, "{", "[1]", json.dumps(row(1, card_token=int(CARD))), "", json.dumps(row(2, zone=["x"]))]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    outcome = run("replay", tmp_path, "--out", tmp_path / "out", "--json")
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert outcome.code == 0
    assert [(r["source"], r["reason"]) for r in rejected] == [
        ("manifest.jsonl:2", Reason.BAD_ROW),
        ("manifest.jsonl:3", Reason.BAD_ROW),
        ("manifest.jsonl:4", Reason.RAW_CARD_NUMBER),
        ("manifest.jsonl:6", Reason.BAD_ROW),
    ]
    assert CARD not in (tmp_path / "out" / "rejected.jsonl").read_text() + outcome.out + outcome.err


def missing_column(folder: Path) -> str:
    (folder / "manifest.csv").write_text("path,captured_at\nalice.jpg,2024-05-06T12:00:00Z\n")
    return "manifest.csv lacks the column 'atm_id'; it has 'captured_at', 'path'"


def missing_key(folder: Path) -> str:
    (folder / "manifest.jsonl").write_text('{"path": "alice.jpg", "atm_id": "ATM-1"}\n')
    return "manifest.jsonl lacks the column 'captured_at'"


def unknown_column(folder: Path) -> str:
    (folder / "manifest.csv").write_text("path,atm_id,captured_at,colour\nalice.jpg,A,2024-05-06T12:00:00Z,red\n")
    return "manifest.csv has an unknown column 'colour'"


def repeated_column(folder: Path) -> str:
    (folder / "manifest.csv").write_text("path,atm_id,captured_at,path\nalice.jpg,A,2024-05-06T12:00:00Z,b.jpg\n")
    return "manifest.csv has the column 'path' twice"


def header_of_a_card_number(folder: Path) -> str:
    (folder / "manifest.csv").write_text(f"path,atm_id,captured_at,{CARD}\nalice.jpg,A,2024-05-06T12:00:00Z,1\n")
    return "unknown column '[card number]'"


def no_rows(folder: Path) -> str:
    (folder / "manifest.csv").write_text("path,atm_id,captured_at\n")
    return "manifest.csv names no picture"


def nothing(folder: Path) -> str:
    (folder / "manifest.csv").write_bytes(b"")
    return "manifest.csv is empty"


def binary(folder: Path) -> str:
    (folder / "manifest.csv").write_bytes(b"\xff\xfe\0p\0a\0t\0h\n")
    return "the first line of manifest.csv is not a header in UTF-8"


def two(folder: Path) -> str:
    missing_column(folder)
    missing_key(folder)
    return "holds manifest.csv and manifest.jsonl; name the one to use"


@pytest.mark.parametrize(
    "write",
    [
        missing_column,
        missing_key,
        unknown_column,
        repeated_column,
        header_of_a_card_number,
        no_rows,
        nothing,
        binary,
        two,
    ],
)
def test_a_wrong_manifest_is_bad_usage_and_writes_nothing(tmp_path: Path, write: Callable[[Path], str]) -> None:
    put(tmp_path / "alice.jpg", portrait(ALICE))
    told = write(tmp_path)
    outcome = run("replay", tmp_path, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert told in outcome.err
    assert CARD not in outcome.err
    assert outcome.out == ""
    assert not (tmp_path / "out").exists()
