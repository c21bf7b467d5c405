"""Files and URIs: any name, bounded, and only where it is allowed."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.claim_check import fetch, file_uri, frame_time, printable, read_file, uri_path
from ingest.errors import BadRecord
from ingest.limits import ImageLimits
from ingest.reasons import Reason
from ingest.records import AtmEvent


def event(**fields: Any) -> AtmEvent:
    return AtmEvent(**{"event_id": "e", "atm_id": "a", "captured_at": datetime(2024, 5, 1, tzinfo=UTC), **fields})


def refused(path: Path, limits: ImageLimits | None = None) -> Reason:
    with pytest.raises(BadRecord) as caught:
        read_file(path, limits or ImageLimits())
    return caught.value.reason


def fetch_refused(of: AtmEvent, **options: Any) -> Reason:
    with pytest.raises(BadRecord) as caught:
        fetch(of, **options)
    return caught.value.reason


@given(st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_uris_carry_any_name(name: bytes) -> None:
    path = Path("/data") / os.fsdecode(name)
    if name in (b".", b".."):
        return
    uri = file_uri(path)
    assert uri.isascii()
    assert uri_path(uri) == path
    assert uri_path(file_uri(path, 12.5)) == path
    assert frame_time(uri) is None
    assert frame_time(file_uri(path, 12.5)) == 12.5


@pytest.mark.parametrize("name", [b"gr\xfc\xdfe #1%20?.jpg", "자동화기기-ü.jpg".encode(), b"new\nline.jpg"])
def test_files_of_any_name_are_read(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"pixels")
    assert fetch(event(image_uri=file_uri(path)), roots=[tmp_path]) == b"pixels"
    assert printable(path.name).isprintable()
    printable(path.name).encode()


@pytest.mark.parametrize(
    "uri",
    [
        "http://host/a.jpg",
        "s3://bucket/a.jpg",
        "file://host/a.jpg",
        "a.jpg",
        "file:a.jpg",
        "file:///a%00.jpg",
        "http://[x/a",
    ],
)
def test_other_uris_are_outside(uri: str) -> None:
    assert fetch_refused(event(image_uri=uri)) is Reason.OUTSIDE_ROOT


def test_frame_times_that_make_no_sense() -> None:
    assert frame_time("file:///a.mp4#t=soon") is None
    assert frame_time("file:///a.mp4#page=2") is None


def test_messages_hold_valid_text_and_no_card_number() -> None:
    assert printable(os.fsdecode(b"a\xff\n.jpg")) == "a\\xff\\n.jpg"
    assert printable("x_4111111111111111_1.jpg") == "x_[card number]_1.jpg"
    assert printable("\ud800") == "\\ud800"


def test_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"")
    assert refused(path) is Reason.EMPTY_FILE
    path.write_bytes(bytes(1000))
    assert len(read_file(path, ImageLimits(max_bytes=1000))) == 1000
    assert refused(path, ImageLimits(max_bytes=999)) is Reason.TOO_MANY_BYTES


def test_a_file_that_lies_about_its_size() -> None:
    content = read_file(Path("/proc/self/cmdline"))
    assert content == Path("/proc/self/cmdline").read_bytes()
    assert refused(Path("/proc/self/cmdline"), ImageLimits(max_bytes=5)) is Reason.TOO_MANY_BYTES


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        for name in ("folder.jpg", "pipe.jpg", "socket.jpg", "missing.jpg", "zero\0byte.jpg"):
            assert refused(tmp_path / name) is Reason.UNREADABLE
    assert refused(Path("/dev/zero")) is Reason.UNREADABLE


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").write_bytes(b"pixels")
    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(BadRecord, match="permission denied") as caught:
        read_file(tmp_path / "a.jpg")
    assert caught.value.reason is Reason.UNREADABLE


def test_links(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("pool.jpg")
    (tmp_path / "pool.jpg").symlink_to("loop.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("gone.jpg")
    assert refused(tmp_path / "loop.jpg") is Reason.SYMLINK_LOOP
    assert refused(tmp_path / "nowhere.jpg") is Reason.UNREADABLE
    looping = event(image_uri=file_uri(tmp_path / "loop.jpg"))
    assert fetch_refused(looping, roots=[tmp_path]) is Reason.SYMLINK_LOOP
    lost = event(image_uri=file_uri(tmp_path / "nowhere.jpg"))
    assert fetch_refused(lost, roots=[tmp_path]) is Reason.UNREADABLE


def test_roots_hold_links_too(tmp_path: Path) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret.jpg"
    allowed.mkdir()
    secret.write_bytes(b"secret")
    (allowed / "link.jpg").symlink_to(secret)
    (allowed / "own.jpg").write_bytes(b"own")
    outside = [secret, allowed / ".." / "secret.jpg", allowed / "link.jpg"]
    for path in outside:
        assert fetch_refused(event(image_uri=file_uri(path)), roots=[allowed]) is Reason.OUTSIDE_ROOT
        assert fetch(event(image_uri=file_uri(path))) == b"secret"
    assert fetch(event(image_uri=file_uri(allowed / "own.jpg")), roots=[allowed]) == b"own"


def test_the_event_s_own_picture(tmp_path: Path) -> None:
    digest = sha256(b"pixels").hexdigest()
    assert fetch(event(image=b"pixels", sha256=digest)) == b"pixels"
    assert fetch_refused(event(image=b"pixel", sha256=digest)) is Reason.CHECKSUM_MISMATCH
    assert fetch_refused(event(image=b"")) is Reason.EMPTY_FILE
    assert fetch_refused(event(image=b"pixels"), limits=ImageLimits(max_bytes=5)) is Reason.TOO_MANY_BYTES
    assert fetch_refused(event()) is Reason.BAD_RECORD
    path = tmp_path / "a.jpg"
    path.write_bytes(b"pixels")
    assert fetch(event(image_uri=file_uri(path), sha256=digest)) == b"pixels"
    path.write_bytes(b"other pixels")
    assert fetch_refused(event(image_uri=file_uri(path), sha256=digest)) is Reason.CHECKSUM_MISMATCH
