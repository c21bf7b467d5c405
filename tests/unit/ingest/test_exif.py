"""Times and turns out of Exif."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ingest import exif
from ingest.exif import exif_time

ORIGINAL, DIGITISED, CHANGED = 0x9003, 0x9004, 0x0132


def picture(tags: dict[int, Any], kind: str = "JPEG") -> bytes:
    block = Image.Exif()
    block[0x010F] = "Camera maker"
    for tag, value in tags.items():
        if tag in (CHANGED, 0x0112):
            block[tag] = value
        else:
            block.get_ifd(0x8769)[tag] = value
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind, exif=block)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_time_is_naive_without_an_offset(kind: str, tmp_path: Path) -> None:
    data = picture({CHANGED if kind == "TIFF" else ORIGINAL: "2024:05:01 12:34:56"}, kind)
    assert exif_time(data) == datetime(2024, 5, 1, 12, 34, 56)  # noqa: DTZ001 - that is the point
    (tmp_path / "a").write_bytes(data)
    assert exif_time(tmp_path / "a") == exif_time(data)


def test_the_time_has_the_camera_s_offset_and_fraction() -> None:
    taken = exif_time(picture({ORIGINAL: "2024:05:01 12:34:56", 0x9011: "-03:30", 0x9291: "25"}))
    assert taken == datetime(2024, 5, 1, 12, 34, 56, 250_000, timezone(-timedelta(hours=3, minutes=30)))
    assert exif_time(picture({ORIGINAL: "2024:05:01 12:34:56", 0x9011: "Z"})) == datetime(
        2024, 5, 1, 12, 34, 56, tzinfo=UTC
    )


def test_original_before_digitised_before_changed() -> None:
    times = {ORIGINAL: "2024:05:01 01:00:00", DIGITISED: "2024:05:01 02:00:00", CHANGED: "2024:05:01 03:00:00"}
    for hour, tag in enumerate((ORIGINAL, DIGITISED, CHANGED), start=1):
        taken = exif_time(picture(times))
        assert taken is not None
        assert taken.hour == hour
        del times[tag]
    assert exif_time(picture(times)) is None


@pytest.mark.parametrize(
    "text",
    ["0000:00:00 00:00:00", "2024:13:01 00:00:00", "2024:02:30 10:00:00", "    :  :     :  :  ", "yesterday", ""],
)
def test_nonsense_is_no_time(text: str) -> None:
    assert exif_time(picture({ORIGINAL: text})) is None
    taken = exif_time(picture({ORIGINAL: text, CHANGED: "2024:05:01 03:00:00"}))
    assert taken is not None
    assert taken.hour == 3


@pytest.mark.parametrize("offset", ["+99:00", "CEST", "+1"])
def test_a_nonsense_offset_is_none(offset: str) -> None:
    taken = exif_time(picture({ORIGINAL: "2024:05:01 12:34:56", 0x9011: offset}))
    assert taken is not None
    assert taken.tzinfo is None


def test_orientation() -> None:
    assert exif.of_bytes(picture({0x0112: 6})).orientation == 6
    assert exif.of_bytes(picture({0x0112: 77})).orientation == 1
    assert exif.of_bytes(picture({})).orientation == 1


def test_pictures_without_exif() -> None:
    for data in (b"", b"text", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\xff\xd8", b"II*\0", b"MM\0*\0\0\0\x08"):
        assert exif_time(data) is None


def test_big_endian_blocks_of_cameras() -> None:
    block = b"MM\0*\0\0\0\x08\0\x01\x01\x32\0\x02\0\0\0\x14\0\0\0\x1a\0\0\0\0" + b"2024:05:01 12:34:56\0"
    taken = exif_time(block)
    assert taken is not None
    assert taken.minute == 34


def test_a_file_s_exif_far_behind_its_head(tmp_path: Path) -> None:
    data = picture({ORIGINAL: "2024:05:01 12:34:56"})
    comment = b"\xff\xfe\xea\x60" + bytes(0xEA60 - 2)
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + comment * 3 + data[2:])
    assert exif_time(path) is not None
    path.write_bytes(data[:2] + comment * 90 + data[2:])
    assert exif_time(path) is None, "reads are bounded"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="seek"):
        exif_time(tmp_path / "pipe.jpg")


@given(st.data())
def test_damaged_exif_is_no_exif(draw: st.DataObject) -> None:
    kind = draw.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]))
    data = bytearray(picture({ORIGINAL: "2024:05:01 12:34:56", 0x0112: 6}, kind))
    for _ in range(draw.draw(st.integers(1, 10))):
        data[draw.draw(st.integers(8, min(len(data) - 1, 400)))] = draw.draw(st.integers(0, 255))
    found = exif.of_bytes(bytes(data[: draw.draw(st.integers(0, len(data)))]))
    assert 1 <= found.orientation <= 8
