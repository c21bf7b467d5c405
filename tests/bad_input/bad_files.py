"""A folder with every kind of file that must not stop a replay, among pictures that must be counted."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from portraits import ALICE, ALICE_2, ALICE_3, BOB, CAROL, NOON, crowd, encoded, masked, nobody, portrait, put

from ingest.reasons import Reason

CARD = "4111111111111111"
"""A number of a card's form that every payment provider's manual gives as an example."""

BOMB_SIDE = 30_000


def bomb() -> bytes:
    """A real PNG of 110 kilobytes that decodes to 900 million pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + BOMB_SIDE // 8)
    pixels = b"".join(packer.compress(row * 1000) for _ in range(BOMB_SIDE // 1000)) + packer.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def truncated() -> bytes:
    data = encoded(portrait())
    return data[: len(data) * 2 // 3]


def animation(kind: str) -> bytes:
    return encoded(portrait(), kind, save_all=True, append_images=[nobody().resize(portrait().size)], duration=100)


def sixteen_bits() -> bytes:
    grey = np.asarray(portrait().convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(grey), "PNG")


def see_through() -> bytes:
    picture = portrait().copy()
    picture.putalpha(250)
    return encoded(picture, "PNG")


BAD: dict[str, tuple[Reason, Callable[[], bytes]]] = {
    "empty.jpg": (Reason.EMPTY_FILE, bytes),
    "text.jpg": (Reason.NOT_AN_IMAGE, lambda: b"Dear Sir or Madam,\nplease find attached no picture.\n"),
    "page.png": (Reason.NOT_AN_IMAGE, lambda: b"<!doctype html><title>404</title>"),
    "phone.heic": (Reason.NOT_AN_IMAGE, lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    "truncated.jpg": (Reason.TRUNCATED_IMAGE, truncated),
    "only_magic.jpg": (Reason.TRUNCATED_IMAGE, lambda: b"\xff\xd8\xff\xe0"),
    "bomb.png": (Reason.TOO_MANY_PIXELS, bomb),
    "hundred_megapixels.jpg": (Reason.TOO_MANY_PIXELS, lambda: encoded(Image.new("L", (10_000, 10_000), 90))),
    "huge.jpg": (Reason.TOO_MANY_BYTES, lambda: encoded(portrait()) + bytes(20 << 20)),
    "animated.gif": (Reason.ANIMATED_IMAGE, partial(animation, "GIF")),
    "animated.webp": (Reason.ANIMATED_IMAGE, partial(animation, "WEBP")),
    "nobody.jpg": (Reason.NO_FACE, lambda: encoded(nobody())),
    "twenty_faces.jpg": (Reason.TOO_MANY_FACES, lambda: encoded(crowd(20), quality=92)),
    "far_away.jpg": (Reason.FACE_TOO_SMALL, lambda: encoded(portrait(ALICE, 90), quality=95)),
    "covered.jpg": (Reason.CAMERA_OBSCURED, lambda: encoded(Image.new("RGB", (320, 240), (9, 9, 9)))),
    "noise.mp4": (Reason.BAD_VIDEO, lambda: b"\0\0\0\x18ftypmp42" + b"\x5a" * 4000),
    f"{CARD}.jpg": (Reason.RAW_CARD_NUMBER, lambda: encoded(portrait())),
}
"""Files by name, with the reason for which each is refused."""

IN_FUTURE, FORBIDDEN, DANGLING, PIPE, LOOP = "tomorrow.jpg", "forbidden.jpg", "gone.jpg", "pipe.jpg", "loop.jpg"
RING, LOCKED = "ring/again", "locked"
SPECIAL = {
    IN_FUTURE: Reason.CAPTURED_AT_IN_FUTURE,
    FORBIDDEN: Reason.UNREADABLE,
    DANGLING: Reason.UNREADABLE,
    PIPE: Reason.UNREADABLE,
    LOOP: Reason.SYMLINK_LOOP,
    RING: Reason.SYMLINK_LOOP,
    LOCKED: Reason.UNREADABLE,
}
"""What it takes more than bytes to make."""

REASONS = {name: reason for name, (reason, _) in BAD.items()} | SPECIAL

UNICODE_NAME = "Überwachung 照片 🏧.jpg"
NOT_UTF8 = os.fsdecode(b"caf\xe9.jpg")

GOOD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "alice.jpg": ("alice", lambda: encoded(portrait(ALICE))),
    "alice_again.jpg": ("alice", lambda: encoded(portrait(ALICE_2))),
    "alice_masked.jpg": ("alice", lambda: encoded(masked(ALICE_3))),
    "cmyk.jpg": ("alice", lambda: encoded(portrait().convert("CMYK"))),
    "sixteen_bits.png": ("alice", sixteen_bits),
    "grey.jpg": ("alice", lambda: encoded(portrait().convert("L"))),
    "palette.gif": ("alice", lambda: encoded(portrait().quantize(256), "GIF")),
    "see_through.png": ("alice", see_through),
    "no_suffix": ("alice", lambda: encoded(portrait(), "WEBP", quality=90)),
    "wrong_suffix.png": ("alice", lambda: encoded(portrait())),
    UNICODE_NAME: ("alice", lambda: encoded(portrait(ALICE_3))),
    NOT_UTF8: ("alice", lambda: encoded(portrait(ALICE, 300))),
    "bob.jpg": ("bob", lambda: encoded(portrait(BOB, 400))),
    "carol.jpg": ("carol", lambda: encoded(portrait(CAROL))),
    "carol_masked.bmp": ("carol", lambda: encoded(masked(CAROL), "BMP")),
}
"""Files that must be counted, with who is in them."""

IGNORED = {"notes.txt": b"not an input", ".hidden.jpg": b"", "Thumbs.db": b"\0"}


def write_all(folder: Path) -> None:
    """Every file above, below ``folder``."""
    for name, (_, make) in (BAD | GOOD).items():
        put(folder / name, make(), NOON)
    for name, content in IGNORED.items():
        put(folder / name, content, NOON)
    put(folder / IN_FUTURE, portrait(), datetime(2999, 1, 1, tzinfo=UTC))
    put(folder / FORBIDDEN, portrait(), NOON)
    (folder / DANGLING).symlink_to("nowhere.jpg")
    os.mkfifo(folder / PIPE)
    (folder / LOOP).symlink_to(LOOP)
    (folder / RING).parent.mkdir()
    (folder / RING).symlink_to("..")
    (folder / LOCKED).mkdir()


@contextmanager
def permissions() -> Iterator[None]:
    """``FORBIDDEN`` and ``LOCKED`` can't be read, as mode 000 would have it for anybody but root."""
    really_open, really_list = os.open, os.scandir

    def guarded_open(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fsdecode(path).endswith(FORBIDDEN):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really_open(path, *arguments, **options)

    def guarded_list(path: Any) -> Any:
        if os.fsdecode(path).endswith(LOCKED):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really_list(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", guarded_open)
        patch.setattr(os, "scandir", guarded_list)
        yield
