"""Manifests: what each column means, and what each kind of bad row leaves behind."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ingest.claim_check import uri_path
from ingest.errors import UsageError
from ingest.manifest import Listing, looks_at_cash_slot, read_manifest
from ingest.plan import ScanOptions
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CARD = "4111111111111111"
HEADER = "path,atm_id,captured_at"


def options(**fields: Any) -> ScanOptions:
    return ScanOptions(**{"now": NOW, **fields})


def listed(folder: Path, content: str, name: str = "manifest.csv", **fields: Any) -> Listing:
    (folder / name).write_text(content, encoding="utf-8")
    return read_manifest(folder / name, options(**fields))


def events(listing: Listing) -> list[AtmEvent]:
    return [AtmEvent.model_validate_json(entry.json) for entry in listing.entries]


def refused(listing: Listing) -> list[tuple[str, Reason]]:
    return [(line.source, line.reason) for line in listing.rejections]


def row_of(folder: Path, option: str | None = None, **fields: str | None) -> tuple[list[AtmEvent], list[Reason]]:
    """What one row gives, whose columns are the usual ones and ``fields``; ``option`` is the option's zone."""
    row = {"path": "a.jpg", "atm_id": "A1", "captured_at": "2024-05-01T10:00:00Z", **fields}
    found = listed(folder, json.dumps(row) + "\n", "one.jsonl", timezone=option)
    return events(found), [line.reason for line in found.rejections]


def test_a_full_row(tmp_path: Path) -> None:
    columns = {
        "path": "north/1.jpg",
        "atm_id": "A1",
        "captured_at": "2024-05-01T12:00:00+02:00",
        "event_id": "e1",
        "session_id": "s1",
        "card_token": "tok_9f",
        "amount": "250.50",
        "currency": "nok",
        "transaction_type": "withdrawal",
        "lat": "59.913868123456789",
        "lon": "10.752245123456789",
        "zone": "Europe/Oslo",
        "scope": "oslo",
        "camera": "portrait",
        "clock_offset_s": "30",
        "sha256": "A" * 64,
        "received_at": "2024-05-01T10:00:05Z",
        "x_branch": "7",
    }
    found = listed(tmp_path, ",".join(columns) + "\n" + ",".join(columns.values()) + "\n")
    assert not found.rejections
    (event,) = events(found)
    assert event.captured_at == datetime(2024, 5, 1, 9, 59, 30, tzinfo=UTC)
    assert event.clock is ClockSource.MANIFEST
    assert event.clock_offset_s == 30
    assert (event.amount, event.currency, event.scope) == (Decimal("250.50"), "NOK", "oslo")
    assert event.atm_location is not None
    assert event.atm_location.lat == pytest.approx(59.913868, abs=1e-6)
    assert event.sha256 == "a" * 64
    assert event.image_uri is not None
    assert uri_path(event.image_uri) == tmp_path / "north/1.jpg"
    assert (event.session_id, event.card_token, event.camera) == ("s1", "tok_9f", "portrait")
    assert event.received_at == datetime(2024, 5, 1, 10, 0, 5, tzinfo=UTC)


def test_csv_and_jsonl_give_the_same(tmp_path: Path) -> None:
    table = f"{HEADER},amount\na.jpg,A1,2024-05-01T10:00:00Z,10\nb.jpg,A2,2024-05-01T11:00:00Z,\n"
    lines = (
        '{"path": "a.jpg", "atm_id": "A1", "captured_at": "2024-05-01T10:00:00Z", "amount": 10}\n'
        '{"path": "b.jpg", "atm_id": "A2", "captured_at": "2024-05-01T11:00:00Z", "amount": null}\n'
    )
    assert listed(tmp_path, table).entries == listed(tmp_path, lines, "m.jsonl").entries


def test_ids_depend_on_the_row_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    content = f"{HEADER}\na.jpg,A1,2024-05-01T10:00:00Z\nb.jpg,A1,2024-05-01T10:00:00Z\n"
    here, there = listed(tmp_path / "here", content), listed(tmp_path / "there", content)
    assert [e.event_id for e in here.entries] == [e.event_id for e in there.entries]
    assert len({e.event_id for e in here.entries}) == 2


@pytest.mark.parametrize(
    ("content", "name", "missing"),
    [
        ("path,captured_at\na.jpg,2024-05-01T10:00:00Z\n", "m.csv", "'atm_id'"),
        ("path;atm_id;captured_at\na;b;c\n", "m.csv", "'path;atm_id;captured_at'"),
        ('{"path": "a.jpg", "atm_id": "A1"}\n{"path": "b.jpg", "atm_id": "A1"}\n', "m.jsonl", "'captured_at'"),
        (f"{HEADER},colour\n", "m.csv", "'colour'"),
        ('{"path": "a.jpg", "atm_id": "A1", "captured_at": "x"}\n{"colour": "red"}\n', "m.jsonl", "2 .*'colour'"),
        (f"{HEADER},{CARD}\n", "m.csv", "card number"),
        ('{"\\ud800": 1}\n', "m.jsonl", "ud800"),
        (f"{HEADER}\n", "m.csv", "names no picture"),
        ("", "m.csv", "empty"),
        ("", "m.jsonl", "names no picture"),
    ],
)
def test_wrong_columns_end_it(tmp_path: Path, content: str, name: str, missing: str) -> None:
    with pytest.raises(UsageError, match=missing) as caught:
        listed(tmp_path, content, name)
    assert name in str(caught.value)
    assert CARD not in str(caught.value)


def test_a_manifest_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone"):
        read_manifest(tmp_path / "gone.csv", options())


def test_bad_rows_name_their_line_and_leave_the_others(tmp_path: Path) -> None:
    content = (
        f"{HEADER},session_id\n"
        'a.jpg,A1,2024-05-01T10:00:00Z,"two\n'
        'lines"\n'
        "b.jpg,A1\n"
        "c.jpg,A1,2024-05-01T10:00:02Z,\n"
        "d.jpg,A1,,\n"
        "e.jpg,A1,yesterday,\n"
        ",A1,2024-05-01T10:00:00Z,\n"
        "g.jpg,,2024-05-01T10:00:00Z,\n"
        "h.jpg,A1,2024-05-01T10:00:03Z,\n"
    )
    found = listed(tmp_path, content)
    assert refused(found) == [
        ("manifest.csv:2", Reason.BAD_ROW),  # an id holds no line break
        ("manifest.csv:4", Reason.BAD_ROW),
        ("manifest.csv:6", Reason.CAPTURED_AT_MISSING),
        ("manifest.csv:7", Reason.BAD_ROW),
        ("manifest.csv:8", Reason.BAD_ROW),
        ("manifest.csv:9", Reason.BAD_ROW),
    ]
    assert [event.captured_at.second for event in events(found)] == [2, 3]
    assert all(line.stage == "ingest" and line.detail.endswith(".") for line in found.rejections)


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(
        f"\ufeff{HEADER}\r\nZ\r\n".encode()
        + b"Z\xfcrich.jpg,A1,2024-05-01T10:00:00Z\r\n"
        + b"b.jpg,A1,2024-05-01T10:00:00Z"
    )
    found = read_manifest(path, options())
    assert refused(found) == [("m.csv:2", Reason.BAD_ROW), ("m.csv:3", Reason.BAD_ROW)]
    assert len(found.entries) == 1


@pytest.mark.parametrize(
    ("text", "zone", "option", "utc"),
    [
        ("2024-05-01T12:00:00+02:00", None, None, "2024-05-01T10:00"),
        ("2024-05-01 12:00:00", "Europe/Oslo", None, "2024-05-01T10:00"),
        ("2024-01-01 12:00:00", "Europe/Oslo", None, "2024-01-01T11:00"),
        ("2024-01-01 12:00:00", "Europe/Oslo", "Asia/Seoul", "2024-01-01T11:00"),
        ("2024-01-01 12:00:00", None, "Asia/Seoul", "2024-01-01T03:00"),
        ("20240501T120000Z", "Asia/Seoul", None, "2024-05-01T12:00"),
        ("2023-10-29 02:30:00", "Europe/Oslo", None, "2023-10-29T00:30"),
        ("2024-03-31 02:30:00", "Europe/Oslo", None, "2024-03-31T01:30"),
    ],
    ids=["offset", "summer", "winter", "row first", "option", "basic", "twice in autumn", "never in spring"],
)
def test_zones(tmp_path: Path, text: str, zone: str | None, option: str | None, utc: str) -> None:
    found, bad = row_of(tmp_path, option, captured_at=text, zone=zone)
    assert not bad
    assert found[0].captured_at.isoformat().startswith(utc)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"captured_at": ""}, Reason.CAPTURED_AT_MISSING),
        ({"captured_at": "2024-05-01T10:00:00"}, Reason.CAPTURED_AT_NAIVE),
        ({"received_at": "2024-05-01T10:00:00"}, Reason.CAPTURED_AT_NAIVE),
        ({"captured_at": "2024-06-01T00:05:01Z"}, Reason.CAPTURED_AT_IN_FUTURE),
        ({"captured_at": "2024-06-01T00:04:00Z", "clock_offset_s": "-120"}, Reason.CAPTURED_AT_IN_FUTURE),
        ({"captured_at": "2024-05-01"}, Reason.BAD_ROW),
        ({"captured_at": "1714557600"}, Reason.BAD_ROW),
        ({"captured_at": "0001-01-01T00:00:00+14:00"}, Reason.BAD_ROW),
        ({"clock_offset_s": "9e9"}, Reason.BAD_ROW),
        ({"clock_offset_s": "nan"}, Reason.BAD_ROW),
        ({"clock_offset_s": "late"}, Reason.BAD_ROW),
        ({"zone": "Mars/Olympus"}, Reason.BAD_ROW),
        ({"zone": "../etc/passwd"}, Reason.BAD_ROW),
        ({"lat": "1"}, Reason.BAD_ROW),
        ({"lat": "91", "lon": "0"}, Reason.BAD_ROW),
        ({"amount": "-1"}, Reason.BAD_ROW),
        ({"amount": "1,000"}, Reason.BAD_ROW),
        ({"currency": "kroner"}, Reason.BAD_ROW),
        ({"sha256": "abc"}, Reason.BAD_ROW),
        ({"session_id": "s" * 201}, Reason.BAD_ROW),
        ({"session_id": "\ud800"}, Reason.BAD_ROW),
        ({"path": "a\0.jpg"}, Reason.BAD_ROW),
        ({"path": "\ud800.jpg"}, Reason.BAD_ROW),
        ({"path": "../a.jpg"}, Reason.OUTSIDE_ROOT),
        ({"path": "x/../../a.jpg"}, Reason.OUTSIDE_ROOT),
        ({"path": "/etc/passwd"}, Reason.OUTSIDE_ROOT),
        ({"camera": "exitSlot"}, Reason.CASH_SLOT_CAMERA),
        ({"camera": "Cash_Slot", "captured_at": ""}, Reason.CASH_SLOT_CAMERA),
    ],
    ids=str,
)
def test_rows_are_refused_under_a_reason(tmp_path: Path, fields: dict[str, str], reason: Reason) -> None:
    found, bad = row_of(tmp_path, **fields)
    assert (found, bad) == ([], [reason])


@pytest.mark.parametrize(
    "fields",
    [
        {"card_token": CARD},
        {"card_token": "4111-1111-1111-1111"},
        {"session_id": f"s-{CARD}"},
        {"event_id": CARD},
        {"amount": CARD},
        {"path": f"20240501/120000_{CARD}_Portrait.jpeg"},
        {"x_note": f"PAN{CARD}"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_card_number_is_refused_and_never_echoed(tmp_path: Path, fields: dict[str, str]) -> None:
    row = {"path": "a.jpg", "atm_id": "A1", "captured_at": "2024-05-01T10:00:00Z", **fields}
    found = listed(tmp_path, json.dumps(row) + "\n", "one.jsonl")
    (line,) = found.rejections
    assert line.reason is Reason.RAW_CARD_NUMBER
    assert next(iter(fields)) in line.detail
    assert "1111" not in line.to_json()


def test_a_card_number_that_json_has_as_a_number(tmp_path: Path) -> None:
    content = f'{{"path": "a.jpg", "atm_id": "A1", "captured_at": "2024-05-01T10:00:00Z", "card_token": {CARD}}}\n'
    assert refused(listed(tmp_path, content, "m.jsonl")) == [("m.jsonl:1", Reason.RAW_CARD_NUMBER)]


def test_the_first_of_two_rows_counts(tmp_path: Path) -> None:
    content = (
        f"{HEADER},event_id\n"
        "late.jpg,A1,2024-05-01T11:00:00Z,e1\n"
        "early.jpg,A1,2024-05-01T10:00:00Z,e1\n"
        "same.jpg,A1,2024-05-01T12:00:00Z,\n"
        "same.jpg,A1,2024-05-01T12:00:00Z,\n"
    )
    found = listed(tmp_path, content)
    assert refused(found) == [
        ("manifest.csv:3", Reason.DUPLICATE_EVENT),
        ("manifest.csv:5", Reason.DUPLICATE_EVENT),
    ]
    assert found.rejections[0].event_id == "e1"
    assert [str(event.image_uri)[-8:] for event in events(found)] == ["late.jpg", "same.jpg"]


def test_further_roots_and_names_of_any_kind(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    other = str(tmp_path / "archive" / "a.jpg")
    content = json.dumps({"path": other, "atm_id": "A1", "captured_at": "2024-05-01T10:00:00Z"})
    assert refused(listed(tmp_path / "in", content, "m.jsonl")) == [("m.jsonl:1", Reason.OUTSIDE_ROOT)]
    found = listed(tmp_path / "in", content, "m.jsonl", roots=(tmp_path / "archive",))
    assert uri_path(str(events(found)[0].image_uri)) == Path(other)
    found = listed(tmp_path, content.replace(json.dumps(other), '"gr\\udcfc\\u00fc.jpg"'), "m.jsonl")
    assert os.fsencode(uri_path(str(events(found)[0].image_uri)).name) == b"gr\xfc\xc3\xbc.jpg"


def test_limits_and_progress(tmp_path: Path) -> None:
    content = f"{HEADER}\n" + "".join(f"{n}.jpg,A1,2024-05-01T10:00:00Z\n" for n in range(1200))
    (tmp_path / "m.csv").write_text(content)
    reported: list[int] = []
    assert len(read_manifest(tmp_path / "m.csv", options(), reported.append).entries) == 1200
    assert reported == [500, 1000]
    with pytest.raises(UsageError, match="1,000"):
        read_manifest(tmp_path / "m.csv", options(max_files=1000))


def test_cameras_that_see_the_cash() -> None:
    assert looks_at_cash_slot("CASH-SLOT")
    assert looks_at_cash_slot("exitSlot")
    assert not looks_at_cash_slot("person")
    assert not looks_at_cash_slot(None)


def film(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(frames):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()


def test_a_row_may_name_a_video(tmp_path: Path) -> None:
    film(tmp_path / "a.avi", 25)
    digest = sha256((tmp_path / "a.avi").read_bytes()).hexdigest()
    rows = [f"a.avi,A1,2024-05-01T10:00:00Z,s1,e1,{digest}", f"a.avi,A1,2024-05-01T10:00:00Z,s1,e2,{'0' * 64}"]
    rows += [
        "a.avi,A1,2024-05-01T10:00:00Z,,e3,",
        "b.avi,A1,2024-05-01T10:00:00Z,,e4,",
        f"b.avi,A1,2024-05-01T10:00:00Z,,e5,{digest}",
    ]
    rows += ["a.avi,A1,2024-06-01T00:04:59Z,,e6,", f"a.avi,A1,2024-05-01T10:00:00Z,,{'e' * 196},"]
    found = listed(tmp_path, "\n".join([f"{HEADER},session_id,event_id,sha256", *rows]))
    frames = events(found)
    assert [frame.event_id for frame in frames] == [f"e{n}-t{t}.000" for n in (1, 3) for t in range(3)]
    start = datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert [frame.captured_at - start for frame in frames[:3]] == [timedelta(seconds=t) for t in range(3)]
    assert {frame.session_id for frame in frames[:3]} == {"s1"}
    assert {frame.clock for frame in frames} == {ClockSource.MANIFEST}
    assert {frame.sha256 for frame in frames} == {None}
    assert str(frames[1].image_uri).endswith("/a.avi#t=1.000")
    assert [line.reason for line in found.rejections] == [
        Reason.CHECKSUM_MISMATCH,
        Reason.UNREADABLE,
        Reason.UNREADABLE,
        Reason.CAPTURED_AT_IN_FUTURE,
        Reason.BAD_RECORD,
    ]
    with pytest.raises(UsageError, match="frames"):
        listed(tmp_path, f"{HEADER}\na.avi,A1,2024-05-01T10:00:00Z\n", max_files=2)
    (tmp_path / "a.avi").write_bytes((tmp_path / "a.avi").read_bytes()[: (tmp_path / "a.avi").stat().st_size * 2 // 3])
    cut = listed(tmp_path, f"{HEADER}\na.avi,A1,2024-05-01T10:00:00Z\n")
    assert cut.entries
    assert refused(cut) == [("manifest.csv:2", Reason.BAD_VIDEO)]
