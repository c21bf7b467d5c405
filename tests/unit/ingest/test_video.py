"""Frames out of videos that OpenCV writes on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ingest import video
from ingest.errors import BadRecord
from ingest.images import ImageLimits, decode
from ingest.reasons import Reason
from ingest.video import Footage, FrameReader, frames_of, read_frame

BITS = 10


def numbered(number: int) -> NDArray[np.uint8]:
    """A picture of ten upright bars, black and white: the bits of a number, which survive any codec."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    return np.repeat(np.tile(np.repeat(np.uint8(bits) * 255, 16), (120, 1))[:, :, None], 3, axis=2)


def number_of(frame: bytes) -> int:
    bars = decode(frame).mean((0, 2)).reshape(BITS, 16).mean(1)
    return sum(1 << bit for bit in range(BITS) if bars[bit] > 128)


def film(path: Path, frames: int = 35, rate: float = 10.0, code: str = "mp4v") -> Path:
    """Frame n shows n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (160, 120))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(numbered(number))
    writer.release()
    return path


def refused(path: Path, limits: ImageLimits | None = None) -> Reason:
    with pytest.raises(BadRecord) as caught:
        frames_of(path, 1.0, limits or ImageLimits())
    return caught.value.reason


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("films") / "clip.mp4")


@pytest.mark.parametrize(("name", "code"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.mov", "mp4v")])
def test_containers(tmp_path: Path, name: str, code: str) -> None:
    path = film(tmp_path / name, code=code)
    footage = frames_of(path)
    assert footage == Footage(duration_s=3.5, every_s=1.0, count=4)
    assert footage.times() == [0.0, 1.0, 2.0, 3.0]
    with FrameReader() as reader:
        assert [number_of(reader.read(path, at_s)) for at_s in footage.times()] == [0, 10, 20, 30]


def test_bare_motion_jpeg_has_no_index_and_25_frames_a_second(tmp_path: Path) -> None:
    path = tmp_path / "a.mjpeg"
    pictures = [numbered(n) for n in range(35)]
    path.write_bytes(b"".join(cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures))
    footage = frames_of(path, 0.5)
    assert footage.complete
    assert footage.times() == [0.0, 0.5, 1.0]
    assert [number_of(read_frame(path, at_s)) for at_s in footage.times()] == [0, 13, 25]


@pytest.mark.parametrize(("every_s", "count"), [(0.1, 35), (0.25, 14), (3.4, 2), (3.5, 1), (60.0, 1)])
def test_the_step(clip: Path, every_s: float, count: int) -> None:
    footage = frames_of(clip, every_s)
    assert footage.count == count
    read_frame(clip, footage.times()[-1])


def test_a_frame_is_the_same_however_the_reader_comes_to_it(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mp4", frames=400)
    with FrameReader() as onwards, FrameReader() as leaping:
        straight = {at_s: onwards.read(path, at_s) for at_s in (0.0, 5.05, 12.0, 20.0, 25.5, 38.0, 39.9)}
        for at_s in (38.0, 12.0, 39.9, 0.0, 25.5):
            assert leaping.read(path, at_s) == straight[at_s]
            assert read_frame(path, at_s) == straight[at_s]


def test_the_same_frame_can_be_asked_for_again(clip: Path) -> None:
    with FrameReader() as reader:
        assert reader.read(clip, 1.0) == reader.read(clip, 1.0) == reader.read(clip, 0.95)
        assert number_of(reader.read(clip, 1.05)) == 11


def test_videos_in_turn_with_few_open(tmp_path: Path) -> None:
    films = [film(tmp_path / f"{n}.mp4", frames=25) for n in range(4)]
    with FrameReader(max_open=2) as reader:
        for at_s in (0.0, 1.0, 2.0):
            assert {number_of(reader.read(path, at_s)) for path in films} == {int(at_s * 10)}


def test_an_index_that_leads_astray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "long.mp4", frames=250)
    right = read_frame(path, 20.0)
    monkeypatch.setattr(video, "_RUN_UP_S", -3.0)
    assert read_frame(path, 20.0) == right


def test_names_that_are_not_utf8_or_look_like_patterns(tmp_path: Path, clip: Path) -> None:
    for name in (b"gr\xfc\xdfe.mp4", b"a-%03d.mp4", "영상.mp4".encode(), b"#t=1.mp4"):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(clip.read_bytes())
        assert frames_of(path).count == 4
        assert number_of(read_frame(path, 3.0)) == 30


def test_what_is_no_video(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "a.mp4"
    assert refused(path) is Reason.UNREADABLE
    path.write_bytes(b"")
    assert refused(path) is Reason.EMPTY_FILE
    path.write_bytes(b"#EXTM3U\n#EXTINF:1,\nhttp://10.0.0.1/secret\n")
    assert refused(path) is Reason.BAD_VIDEO
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refused(tmp_path / "pipe.mp4") is Reason.UNREADABLE
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert refused(path) is Reason.BAD_VIDEO
    path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(500))
    assert refused(path) is Reason.BAD_VIDEO


def test_an_avi_that_ends_early_gives_what_is_there(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", frames=40, code="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    footage = frames_of(path)
    assert not footage.complete
    assert 1 <= footage.count < 4
    read_frame(path, footage.times()[-1])
    with pytest.raises(BadRecord, match=r"3\.000 s"):
        read_frame(path, 3.0)


def test_limits(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(clip, ImageLimits(max_pixels=160 * 120 - 1)) is Reason.TOO_MANY_PIXELS
    monkeypatch.setattr(video, "MAX_DURATION_S", 2.0)
    assert refused(clip) is Reason.BAD_VIDEO
    with pytest.raises(BadRecord):
        read_frame(clip, 3.0)


def test_a_time_behind_the_end(clip: Path) -> None:
    with FrameReader() as reader:
        for at_s in (3.6, 500.0):
            with pytest.raises(BadRecord) as caught:
                reader.read(clip, at_s)
            assert caught.value.reason is Reason.BAD_VIDEO
        assert number_of(reader.read(clip, 2.0)) == 20
