"""Still pictures out of video files, by OpenCV's FFmpeg.

A frame is named by its time: the one shown first at or after ``at_s`` seconds.  Times come from the frames' own
stamps, so a frame is the same one whether the reader came to it step by step or by a leap.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2

from ingest.errors import BadRecord
from ingest.limits import DEFAULT_LIMITS, ImageLimits
from ingest.reasons import Reason

SUFFIXES = frozenset({".mp4", ".m4v", ".avi", ".mkv", ".mov", ".mjpeg", ".mjpg"})
MAX_DURATION_S = 48 * 3600.0
MAX_FPS = 1000.0
JPEG_QUALITY = 95

_LEAP_S = 10.0
_RUN_UP_S = 2.0
_CLOSE_S = 1e-3
_TIMEOUT_MS = 30_000


@dataclass(frozen=True, slots=True)
class Footage:
    """What a video offers: ``count`` frames, one each ``every_s`` seconds from 0 on, and its length.

    ``complete`` is false when the file ends before the length that it announces.
    """

    duration_s: float
    every_s: float
    count: int
    complete: bool = True

    def times(self) -> list[float]:
        """The frames' times in seconds, ascending, in whole milliseconds."""
        return [round(number * self.every_s, 3) for number in range(self.count)]


def frames_of(path: Path, every_s: float = 1.0, limits: ImageLimits = DEFAULT_LIMITS) -> Footage:
    """What a frame each ``every_s`` seconds gives, from the file's index and a look at its end.

    Raises BadRecord: BAD_VIDEO (no video, or none of its frames can be read, or longer than MAX_DURATION_S),
    TOO_MANY_PIXELS, UNREADABLE, EMPTY_FILE.
    """
    capture = _open(path, limits)
    try:
        announced, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        if 0 < rate <= MAX_FPS and announced >= 1:
            if announced / rate > MAX_DURATION_S:
                detail = f"The video says it is longer than {MAX_DURATION_S / 3600:g} hours; split it."
                raise BadRecord(Reason.BAD_VIDEO, detail)
            footage = _sampled((announced - 1) / rate, announced / rate, every_s)
            if _can_read(capture, footage.times()[-1]):
                return footage
            capture.release()
            capture = _open(path, limits)
        last = _last_stamp(capture)
        if last is None:
            raise BadRecord(Reason.BAD_VIDEO, "No frame of the video can be read.")
        step = 1 / rate if 0 < rate <= MAX_FPS else 0.0
        found = _sampled(last, last + step, every_s)
        return Footage(found.duration_s, every_s, found.count, complete=announced < 1)
    finally:
        capture.release()


def read_frame(path: Path, at_s: float, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """One frame as JPEG bytes.  For many frames of a video use a ``FrameReader``.  Raises as its ``read``."""
    with FrameReader(max_open=1, limits=limits) as reader:
        return reader.read(path, at_s)


class FrameReader:
    """Reads frames of a few videos in turn, and keeps the last ``max_open`` of them open.

    Times that increase within a video are read straight on.  A reader belongs to one thread.
    """

    def __init__(self, max_open: int = 8, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self._max_open = max_open
        self._limits = limits
        self._open: OrderedDict[Path, _Film] = OrderedDict()

    def read(self, path: Path, at_s: float) -> bytes:
        """The first frame at or after ``at_s`` as JPEG bytes, upright, quality 95.

        Raises BadRecord: BAD_VIDEO when there is none or it is damaged, UNREADABLE, EMPTY_FILE, TOO_MANY_PIXELS.
        """
        film = self._open.pop(path, None)
        if film is not None and film.asked_s > at_s:
            film.capture.release()
            film = None
        if film is None:
            film = _Film(_open(path, self._limits))
        self._open[path] = film
        while len(self._open) > self._max_open:
            self._open.popitem(last=False)[1].capture.release()
        if not film.go_to(at_s):
            if not film.leapt:
                raise _no_frame(at_s)
            # The index led astray: read it frame by frame.
            film.capture.release()
            film = self._open[path] = _Film(_open(path, self._limits), leaps=False)
            if not film.go_to(at_s):
                raise _no_frame(at_s)
        return film.jpeg(at_s)

    def close(self) -> None:
        """Let go of every video; the reader can be used again."""
        while self._open:
            self._open.popitem()[1].capture.release()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Film:
    """An open video.  ``at_s`` is the stamp of the frame in hand, ``asked_s`` the last time that was asked for."""

    capture: cv2.VideoCapture
    leaps: bool = True
    at_s: float = -1.0
    asked_s: float = -1.0
    leapt: bool = False

    def go_to(self, at_s: float) -> bool:
        """Take the first frame at or after ``at_s`` in hand; false when there is none."""
        self.asked_s = at_s
        if self.leaps and at_s - max(self.at_s, 0.0) > _LEAP_S:
            self.leapt = True
            self.capture.set(cv2.CAP_PROP_POS_MSEC, (at_s - _RUN_UP_S) * 1000)
            if not self._next() or self.at_s > at_s - _CLOSE_S:
                return False
        while self.at_s < at_s - _CLOSE_S:
            if not self._next():
                return False
        return True

    def _next(self) -> bool:
        before = self.at_s
        if not self.capture.grab():
            return False
        self.at_s = max(_stamp(self.capture), before)
        return self.at_s <= MAX_DURATION_S

    def jpeg(self, at_s: float) -> bytes:
        try:
            good, pixels = self.capture.retrieve()
            if good and pixels is not None and pixels.size:
                good, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                if good:
                    return encoded.tobytes()
        except cv2.error as error:
            raise _no_frame(at_s) from error
        raise _no_frame(at_s)


def _no_frame(at_s: float) -> BadRecord:
    return BadRecord(Reason.BAD_VIDEO, f"The video's frame at {at_s:.3f} s can't be read.")


def _stamp(capture: cv2.VideoCapture) -> float:
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def _sampled(last_s: float, duration_s: float, every_s: float) -> Footage:
    return Footage(duration_s, every_s, int(last_s / every_s + 1e-6) + 1)


def _can_read(capture: cv2.VideoCapture, at_s: float) -> bool:
    return _Film(capture).go_to(at_s)


def _last_stamp(capture: cv2.VideoCapture) -> float | None:
    """The stamp of the last frame that can be read, frame by frame; None without any."""
    last: float | None = None
    while capture.grab():
        last = _stamp(capture)
        if last > MAX_DURATION_S:
            detail = f"The video is longer than {MAX_DURATION_S / 3600:g} hours; split it."
            raise BadRecord(Reason.BAD_VIDEO, detail)
    return last


def _open(path: Path, limits: ImageLimits) -> cv2.VideoCapture:
    """A capture of a local file.

    It is opened through its descriptor: OpenCV crashes on a name that is not UTF-8, and takes others for
    patterns or addresses.  The first bytes are looked at first, because FFmpeg would follow a playlist.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # it else writes on standard error
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        reason = Reason.UNREADABLE
        raise BadRecord(reason, f"The video can't be read: {(error.strerror or 'error').lower()}.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadRecord(Reason.UNREADABLE, "It is a folder, pipe, socket or device, not a file.")
        head = os.pread(descriptor, 16, 0)
        if not head:
            raise BadRecord(Reason.EMPTY_FILE, Reason.EMPTY_FILE.sentence)
        if not is_video(head):
            raise BadRecord(Reason.BAD_VIDEO, "The file is not a video of a supported format.")
        try:
            capture = cv2.VideoCapture(
                f"/proc/self/fd/{descriptor}",
                cv2.CAP_FFMPEG,
                [
                    *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS),
                    *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS),
                ],
            )
        except cv2.error as error:
            raise BadRecord(Reason.BAD_VIDEO, "The video can't be opened.") from error
    finally:
        os.close(descriptor)
    if not capture.isOpened():
        raise BadRecord(Reason.BAD_VIDEO, "The video can't be opened: it is damaged or of an unknown kind.")
    pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if pixels > limits.max_pixels:
        capture.release()
        raise BadRecord(
            Reason.TOO_MANY_PIXELS, f"A frame has {pixels:,.0f} pixels; the limit is {limits.max_pixels:,}."
        )
    return capture


def is_video(head: bytes) -> bool:
    """Whether the first 16 bytes are those of an MP4, MOV, AVI, Matroska or Motion JPEG file."""
    return (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head[:4] == b"\x1aE\xdf\xa3"
        or head[:3] == b"\xff\xd8\xff"
    )
