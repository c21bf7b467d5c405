"""Folders as sources: what is read, in which order, and what every kind of bad input leaves behind."""

from __future__ import annotations

import io
import os
import socket
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ingest.errors import BadRecord, Corrupt, UsageError
from ingest.folder import FolderSource, plan
from ingest.footage import frame_events
from ingest.images import decode, fetch, uri_path
from ingest.plan import Described, Picture, Plan, ScanOptions, in_order, instant, micros
from ingest.reasons import Reason
from ingest.records import AtmEvent, ClockSource, Position, Record, Rejection

NOW = datetime(2024, 6, 1, tzinfo=UTC)
DAY = datetime(2024, 5, 1, tzinfo=UTC)
CARD = "4111111111111111"


def options(**fields: Any) -> ScanOptions:
    return ScanOptions(**{"now": NOW, **fields})


def photo(path: Path, exif: str | None = None, at: datetime | None = None, offset: str | None = None) -> Path:
    """A small JPEG, taken at its Exif's time, or of a file written at ``at``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = Image.Exif()
    tags[0x010F] = "Camera maker"
    if exif is not None:
        tags.get_ifd(0x8769)[0x9003] = exif
    if offset is not None:
        tags.get_ifd(0x8769)[0x9011] = offset
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 120, 150)).save(buffer, "JPEG", exif=tags)
    path.write_bytes(buffer.getvalue())
    return aged(path, at or DAY)


def aged(path: Path, at: datetime) -> Path:
    os.utime(path, ns=(micros(at) * 1000, micros(at) * 1000))
    return path


def film(path: Path, frames: int = 25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), number * 5, np.uint8))
    writer.release()
    return aged(path, DAY)


def replayed(inputs: Plan, batch: int = 3) -> list[Record]:
    source = FolderSource(inputs)
    records: list[Record] = []
    while not source.exhausted:
        for delivery in source.poll(batch):
            assert delivery.position == Position(partition="replay", offset=len(records))
            records.append(delivery.record)
    assert source.poll(batch) == []
    source.close()
    return records


def events(path: Path, **fields: Any) -> list[AtmEvent]:
    return [record for record in replayed(plan(path, options(**fields))) if isinstance(record, AtmEvent)]


def refused(path: Path, **fields: Any) -> dict[str, Reason]:
    lines = [record for record in replayed(plan(path, options(**fields))) if isinstance(record, Rejection)]
    assert all(line.stage == "ingest" and line.position is not None for line in lines)
    assert len({line.source for line in lines}) == len(lines), "one line for each bad input"
    return {line.source: line.reason for line in lines}


def test_a_sub_folder_is_a_machine(tmp_path: Path) -> None:
    photo(tmp_path / "bank" / "A1" / "1.jpg", "2024:05:01 10:00:00")
    photo(tmp_path / "bank" / "A1" / "2024" / "05" / "2.PNG", "2024:05:01 10:00:01")
    photo(tmp_path / "bank" / "A2" / "3.jpeg", "2024:05:01 10:00:02")
    photo(tmp_path / "bank" / "4.webp", "2024:05:01 10:00:03")
    found = events(tmp_path / "bank", scope="oslo")
    assert [event.atm_id for event in found] == ["A1", "A1", "A2", "bank"]
    assert {event.scope for event in found} == {"oslo"}
    assert fetch(found[1]) == (tmp_path / "bank/A1/2024/05/2.PNG").read_bytes()


def test_a_flat_folder_and_a_relative_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "A7" / "1.jpg")
    assert [event.atm_id for event in events(tmp_path / "A7")] == ["A7"]
    monkeypatch.chdir(tmp_path / "A7")
    (relative,) = events(Path())
    assert relative.atm_id == "A7"
    assert uri_path(str(relative.image_uri)) == tmp_path / "A7" / "1.jpg"


def test_ids_are_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    for place in ("here", "there"):
        for name in ("A1/1.jpg", "A1/2.jpg", "A2/1.jpg"):
            photo(tmp_path / place / name)
    here, there = (plan(tmp_path / place, options()) for place in ("here", "there"))
    assert [entry.event_id for entry in here.entries] == [entry.event_id for entry in there.entries]
    assert len({entry.event_id for entry in here.entries}) == 3
    assert here.digest(3) == there.digest(3)


def test_order_is_by_time_then_by_id(tmp_path: Path) -> None:
    for number in range(12):
        photo(tmp_path / f"A{number % 3}" / f"{number}.jpg", at=DAY + timedelta(seconds=(number * 7) % 5))
    found = events(tmp_path)
    keys = [(event.captured_at, event.event_id) for event in found]
    assert keys == sorted(keys)
    assert len(keys) == 12


def test_times_come_from_exif_and_else_from_the_file(tmp_path: Path) -> None:
    photo(tmp_path / "1.jpg", "2024:04:01 10:00:00")
    photo(tmp_path / "2.jpg", "2024:04:01 10:00:00", offset="+05:30")
    photo(tmp_path / "3.jpg", "0000:00:00 00:00:00")
    photo(tmp_path / "4.jpg", "0001:01:01 00:00:00", offset="+05:30")
    inputs = plan(tmp_path, options(timezone="Europe/Oslo"))
    found = {uri_path(str(e.image_uri)).name: e for e in replayed(inputs) if isinstance(e, AtmEvent)}
    assert found["1.jpg"].captured_at == datetime(2024, 4, 1, 8, tzinfo=UTC)
    assert found["2.jpg"].captured_at == datetime(2024, 4, 1, 4, 30, tzinfo=UTC)
    assert found["3.jpg"].captured_at == found["4.jpg"].captured_at == DAY
    assert [found[f"{n}.jpg"].clock for n in (1, 3)] == [ClockSource.EXIF, ClockSource.FILE]
    assert found["1.jpg"].session_id is None
    assert found["3.jpg"].session_id is None
    assert inputs.assumed_visits == 2
    assert next(e for e in events(tmp_path) if e.clock is ClockSource.EXIF).captured_at.hour in {4, 10}


def test_the_future_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "exif.jpg", "2024:06:01 00:06:00")
    photo(tmp_path / "file.jpg", at=NOW + timedelta(minutes=6))
    photo(tmp_path / "soon.jpg", at=NOW + timedelta(minutes=4))
    os.utime(photo(tmp_path / "never.jpg"), (1, 1 << 40))
    found = refused(tmp_path)
    assert found == dict.fromkeys(("exif.jpg", "file.jpg", "never.jpg"), Reason.CAPTURED_AT_IN_FUTURE)
    assert len(events(tmp_path)) == 1


def test_what_is_no_input_is_ignored_and_counted(tmp_path: Path) -> None:
    photo(tmp_path / "A1" / "1.jpg")
    for name in ("notes.txt", "index.json", ".DS_Store", ".hidden.jpg", "A1/Thumbs.db", "A1/1.jpg.part", "README"):
        (tmp_path / name).write_text("no picture")
    photo(tmp_path / ".trash" / "2.jpg")
    (tmp_path / "A1" / "gone.txt").symlink_to("nowhere.txt")
    inputs = plan(tmp_path, options())
    assert (len(inputs), inputs.ignored) == (1, 9)


def test_pictures_without_a_suffix_are_known_by_their_bytes(tmp_path: Path) -> None:
    photo(tmp_path / "A1" / "000123")
    os.mkfifo(tmp_path / "A1" / "pipe")
    inputs = plan(tmp_path, options())
    assert (len(inputs), inputs.ignored) == (1, 1)


def test_bad_files_are_left_to_who_decodes_them(tmp_path: Path) -> None:
    """They are events, so that each leaves exactly one line: there, where it is found out."""
    for name, content in (
        ("empty.jpg", b""),
        ("text.jpg", b"text"),
        ("cut.jpg", b"\xff\xd8\xff"),
        ("new.heic", b"ftyp"),
    ):
        (tmp_path / name).write_bytes(content)
        aged(tmp_path / name, DAY)
    inputs = plan(tmp_path, options())
    assert (len(inputs.entries), inputs.rejections, inputs.assumed_visits) == (4, (), 4)


@pytest.mark.parametrize("folder", ["{}", "A1"])
def test_card_numbers_in_names_are_masked(tmp_path: Path, folder: str) -> None:
    name = folder.format(CARD)
    photo(tmp_path / name / f"120000_{CARD}_Portrait.jpeg")
    photo(tmp_path / "A2" / "1.jpg")
    inputs = plan(tmp_path, options())
    (line,) = inputs.rejections
    assert line.reason is Reason.RAW_CARD_NUMBER
    assert "1111" not in line.to_json()
    assert line.source.endswith("/120000_[card number]_Portrait.jpeg")
    assert len(inputs.entries) == 1


def test_the_root_s_own_name_may_hold_a_card_number(tmp_path: Path) -> None:
    photo(tmp_path / CARD / "1.jpg")
    photo(tmp_path / "A1" / "2.jpg")
    for path in (tmp_path / CARD, tmp_path / CARD / "1.jpg"):
        (record,) = replayed(plan(path, options()))
        assert isinstance(record, Rejection)
        assert record.reason is Reason.RAW_CARD_NUMBER
        assert "1111" not in record.to_json()


def test_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    photo(root / "A1" / "1.jpg")
    photo(tmp_path / "outside" / "2.jpg")
    (root / "A1" / "loop.jpg").symlink_to("loop.jpg")
    (root / "A1" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "A1" / "gone").symlink_to("nowhere")
    (root / "A1" / "up").symlink_to("..")
    (root / "A1" / "self").symlink_to(".")
    (root / "A2").symlink_to(tmp_path / "outside")
    (root / "A3").symlink_to("A1")
    (root / "A4.jpg").symlink_to(tmp_path / "outside" / "2.jpg")
    (tmp_path / "outside" / "back").symlink_to(root)
    assert refused(root) == {
        "A1/loop.jpg": Reason.SYMLINK_LOOP,
        "A1/gone.jpg": Reason.UNREADABLE,
        "A1/gone": Reason.UNREADABLE,
        "A1/up": Reason.SYMLINK_LOOP,
        "A1/self": Reason.SYMLINK_LOOP,
        "A2/back": Reason.SYMLINK_LOOP,
    }
    assert Counter(event.atm_id for event in events(root)) == {"A1": 1, "A2": 1, "root": 1}
    assert plan(root, options()).ignored == 1, "A3 is A1 by another name"


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "folder.jpg" / "1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        assert refused(tmp_path) == {"pipe.jpg": Reason.UNREADABLE, "socket.jpg": Reason.UNREADABLE}
        assert [event.atm_id for event in events(tmp_path)] == ["folder.jpg"]


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A1/1.jpg", "A1/locked.jpg", "A2/2.jpg"):
        photo(tmp_path / name)
    (tmp_path / "locked").write_bytes(b"no suffix")
    real_open, real_scan = os.open, os.scandir

    def guarded_open(path: Any, *rest: Any, **named: Any) -> int:
        if "locked" in os.fspath(path):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *rest, **named)

    def guarded_scan(path: Any) -> Any:
        if os.fspath(path).endswith("A2"):
            raise PermissionError(13, "Permission denied")
        return real_scan(path)

    monkeypatch.setattr(os, "open", guarded_open)
    monkeypatch.setattr(os, "scandir", guarded_scan)
    assert refused(tmp_path) == {"A1/locked.jpg": Reason.UNREADABLE, "A2": Reason.UNREADABLE}
    assert len(events(tmp_path)) == 1


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = [b"A\xff/gr\xfc\xdfe.jpg", "은행/얼굴-ü-😀.jpg".encode(), b"A\n2/new\nline.jpg", b"A 3/100%#1?.jpg"]
    for name in names:
        photo(tmp_path / os.fsdecode(name))
    (tmp_path / os.fsdecode(b"b\xfcse.jpg")).symlink_to("nowhere")
    found = events(tmp_path)
    assert {event.atm_id for event in found} == {"A\\xff", "은행", "A\\n2", "A 3"}
    read = {os.fsencode(uri_path(str(event.image_uri)).relative_to(tmp_path)) for event in found}
    assert read == set(names)
    assert all(decode(fetch(event)).shape == (16, 16, 3) for event in found)
    assert all(AtmEvent.model_validate_json(event.to_json()) == event for event in found)
    assert refused(tmp_path) == {"b\\xfcse.jpg": Reason.UNREADABLE}


def test_a_name_that_is_too_long_for_an_event(tmp_path: Path) -> None:
    photo(tmp_path / ("A" * 201) / "1.jpg")
    (record,) = replayed(plan(tmp_path, options()))
    assert isinstance(record, Rejection)
    assert record.reason is Reason.BAD_RECORD
    assert "atm_id" in record.detail


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_a_manifest_in_the_folder_is_what_counts(tmp_path: Path, name: str) -> None:
    photo(tmp_path / "1.jpg")
    photo(tmp_path / "2.jpg")
    rows = {
        "manifest.csv": "path,atm_id,captured_at\n2.jpg,A9,2024-05-01T10:00:00Z\n2.jpg,A9,\n",
        "manifest.jsonl": '{"path":"2.jpg","atm_id":"A9","captured_at":"2024-05-01T10:00:00Z"}\n'
        '{"path":"2.jpg","atm_id":"A9"}\n',
    }
    (tmp_path / name).write_text(rows[name])
    for path in (tmp_path, tmp_path / name):
        first, second = replayed(plan(path, options()))
        assert isinstance(first, Rejection)
        assert (first.reason, first.source[: len(name)]) == (Reason.CAPTURED_AT_MISSING, name)
        assert isinstance(second, AtmEvent)
        assert (second.atm_id, second.clock, second.session_id) == ("A9", ClockSource.MANIFEST, None)
        assert fetch(second) == (tmp_path / "2.jpg").read_bytes()


def test_two_manifests_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,atm_id,captured_at\n")
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="name the one"):
        plan(tmp_path, options())


def test_one_picture(tmp_path: Path) -> None:
    photo(tmp_path / "A1" / "1.jpg", "2024:05:01 10:00:00")
    (event,) = events(tmp_path / "A1" / "1.jpg")
    assert event.atm_id == "A1"


def test_videos_bring_their_frames(tmp_path: Path) -> None:
    film(tmp_path / "A1" / "clip.avi")
    photo(tmp_path / "A2" / "1.jpg", at=DAY - timedelta(seconds=1, milliseconds=200))
    (tmp_path / "A3.mp4").write_text("no video")
    inputs = plan(tmp_path, options())
    found = [record for record in replayed(inputs) if isinstance(record, AtmEvent)]
    assert [event.atm_id for event in found] == ["A1", "A1", "A2", "A1"]
    frames = [event for event in found if event.atm_id == "A1"]
    assert [frame.captured_at for frame in frames] == [DAY - timedelta(seconds=2.5 - t) for t in range(3)]
    assert {(frame.clock, frame.session_id) for frame in frames} == {(ClockSource.VIDEO, None)}
    brightness = [float(decode(frame.image or b"").mean()) for frame in frames]
    assert brightness == pytest.approx([0, 50, 100], abs=4)
    assert fetch(frames[2].model_copy(update={"image": None})) == frames[2].image
    assert [line.reason for line in inputs.rejections] == [Reason.BAD_VIDEO]
    assert inputs.assumed_visits == 1
    assert len(events(tmp_path / "A1" / "clip.avi", frame_every_s=0.5)) == 5


def test_bad_videos_leave_one_line(tmp_path: Path) -> None:
    film(tmp_path / "cut.avi", 40)
    (tmp_path / "cut.avi").write_bytes((tmp_path / "cut.avi").read_bytes()[:-9000])
    film(tmp_path / "future.avi")
    film(tmp_path / ("A" * 201) / "clip.avi")
    aged(tmp_path / "cut.avi", DAY)
    aged(tmp_path / "future.avi", NOW + timedelta(days=1))
    os.utime(film(tmp_path / "never.avi"), (1, 1 << 40))
    assert refused(tmp_path) == {
        "cut.avi": Reason.BAD_VIDEO,
        "future.avi": Reason.CAPTURED_AT_IN_FUTURE,
        "never.avi": Reason.CAPTURED_AT_IN_FUTURE,
        f"{'A' * 201}/clip.avi": Reason.BAD_RECORD,
    }
    assert events(tmp_path)


def test_a_video_whose_time_makes_no_sense(tmp_path: Path) -> None:
    event = AtmEvent(event_id="e", atm_id="A1", captured_at=DAY)
    clip = film(tmp_path / "clip.avi")
    with pytest.raises(BadRecord) as caught:
        frame_events(event, clip, options(), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert caught.value.reason is Reason.CAPTURED_AT_IN_FUTURE


def test_a_frame_that_can_not_be_read_any_more(tmp_path: Path) -> None:
    film(tmp_path / "clip.avi")
    inputs = plan(tmp_path, options())
    (tmp_path / "clip.avi").unlink()
    records = replayed(inputs)
    assert len(records) == 3
    assert all(isinstance(record, Rejection) and record.reason is Reason.UNREADABLE for record in records)
    assert {record.atm_id for record in records if isinstance(record, Rejection)} == {tmp_path.name}


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(UsageError, match=r"\.jpg.*\.mp4.*manifest\.csv.*1 other"):
        plan(tmp_path, options())
    with pytest.raises(UsageError, match="not a picture"):
        plan(tmp_path / "notes.txt", options())
    for name in ("gone", "gone.csv", "gone.jpg"):
        with pytest.raises(UsageError, match="no such file"):
            plan(tmp_path / name, options())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"timezone": "Mars/Olympus"}, "IANA"),
        ({"frame_every_s": 0.0}, "step"),
        ({"now": datetime(2024, 6, 1)}, "zone"),  # noqa: DTZ001 - naive on purpose
        ({"max_files": 1}, "more than 1"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, fields: dict[str, Any], text: str) -> None:
    photo(tmp_path / "1.jpg")
    photo(tmp_path / "2.jpg")
    with pytest.raises(UsageError, match=text):
        plan(tmp_path, options(**fields))


def test_progress_is_reported(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"{number}.jpg").touch()
    reported: list[int] = []
    plan(tmp_path, ScanOptions(), reported.append)
    assert reported == [500, 1000]


def test_seeking(tmp_path: Path) -> None:
    for number in range(6):
        photo(tmp_path / f"{number}.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    inputs = plan(tmp_path, options())
    everything = replayed(inputs)
    for offset in range(len(everything)):
        source = FolderSource(inputs)
        source.seek(Position(offset=offset))
        assert [delivery.record for delivery in source.poll(99)] == everything[offset + 1 :]
        assert source.exhausted
        source.seek(None)
        assert len(source.poll(2)) == 2
    with pytest.raises(Corrupt, match="fewer"):
        FolderSource(inputs).seek(Position(offset=7))


def test_the_digest_tells_inputs_apart(tmp_path: Path) -> None:
    for number in range(5):
        photo(tmp_path / f"{number}.jpg", at=DAY + timedelta(seconds=number))
    before = plan(tmp_path, options())
    photo(tmp_path / "9.jpg", at=DAY + timedelta(seconds=9))
    after = plan(tmp_path, options())
    assert [before.digest(upto) for upto in (5, 2, 0)] == [after.digest(upto) for upto in (5, 2, 0)]
    assert len({after.digest(upto) for upto in range(7)}) == 7
    photo(tmp_path / "0.jpg", at=DAY + timedelta(microseconds=1))
    assert plan(tmp_path, options()).digest(1) != before.digest(1)
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    assert plan(tmp_path, options()).digest(1) != before.digest(1)
    with pytest.raises(ValueError, match="5 inputs"):
        before.digest(6)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 20)), max_size=20, unique=True))
def test_any_entries_come_in_one_order(found: list[tuple[int, int]]) -> None:
    entries = [
        Described(at, f"{name:02}", b"") if name % 2 else Picture(at, f"{name}.jpg", "A1", ClockSource.EXIF)
        for at, name in found
    ]
    ordered = in_order(entries)
    assert ordered == in_order(reversed(entries))
    assert [(e.at_us, e.event_id) for e in ordered] == sorted((e.at_us, e.event_id) for e in entries)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_fit_into_microseconds(at: datetime) -> None:
    assert instant(micros(at)) == at
