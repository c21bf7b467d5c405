"""The bounded decode: every kind of picture that a bank may send, and every kind of file that is none."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ingest import jpeg
from ingest.errors import BadRecord
from ingest.images import MID_GREY, ImageLimits, decode, picture_format
from ingest.reasons import Reason

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def scene(height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    """A smooth RGB picture whose four corners differ, so that each turn of it shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)]).astype(np.uint8)


def noise(height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(data: bytes, limits: ImageLimits | None = None) -> Reason:
    with pytest.raises(BadRecord) as caught:
        decode(data, limits or ImageLimits())
    assert caught.value.detail.endswith(".")
    return caught.value.reason


def distance(pixels: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> float:
    assert pixels.shape == rgb.shape
    return float(np.abs(pixels.astype(int) - rgb[:, :, ::-1].astype(int)).mean())


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_becomes_contiguous_bgr(kind: str) -> None:
    data = encoded(Image.fromarray(scene()), kind)
    pixels = decode(data)
    assert (pixels.dtype, pixels.shape, pixels.flags.c_contiguous) == (np.uint8, (120, 160, 3), True)
    assert distance(pixels, scene()) < (6 if kind == "GIF" else 3)
    assert picture_format(data[:32]) is not None


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"optimize": True}]
)
def test_every_flavour_of_jpeg(options: dict[str, Any]) -> None:
    data = encoded(Image.fromarray(scene()), "JPEG", quality=90, **options)
    assert distance(decode(data), scene()) < 3
    assert refused(data[: len(data) // 2]) is Reason.TRUNCATED_IMAGE


def grey() -> NDArray[np.uint8]:
    return scene()[:, :, 0]


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (Image.fromarray(grey()), "JPEG"),
        (Image.fromarray(grey()), "PNG"),
        (Image.fromarray(grey().astype(np.uint16) * 257), "PNG"),
        (Image.fromarray(grey().astype(np.uint16) * 257), "TIFF"),
        (Image.fromarray(grey().astype(np.int32) * 257), "TIFF"),
        (Image.merge("LA", (Image.fromarray(grey()), Image.new("L", (160, 120), 255))), "PNG"),
    ],
    ids=["jpeg", "png", "16-bit png", "16-bit tiff", "32-bit tiff of 16", "with alpha"],
)
def test_grey_pictures_keep_their_scale(picture: Image.Image, kind: str) -> None:
    pixels = decode(encoded(picture, kind))
    assert distance(pixels, np.dstack([grey()] * 3)) < 2
    assert pixels.max() > 240


def test_sixteen_bits_of_colour_are_scaled() -> None:
    good, data = cv2.imencode(".png", scene()[:, :, ::-1].astype(np.uint16) * 257)
    assert good
    assert distance(decode(data.tobytes()), scene()) < 1


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(scene()).quantize(64),
        Image.fromarray(scene()).convert("P"),
        Image.fromarray(scene()).convert("RGBA"),
    ],
    ids=["palette", "web palette", "opaque alpha"],
)
def test_palettes_and_opaque_alpha(picture: Image.Image) -> None:
    assert distance(decode(encoded(picture, "PNG")), np.asarray(picture.convert("RGB"))) == 0


def test_one_bit() -> None:
    pixels = decode(encoded(Image.fromarray(scene()).convert("1"), "PNG"))
    assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted(kind: str) -> None:
    data = encoded(Image.fromarray(scene()).convert("CMYK"), kind)
    assert distance(decode(data), scene()) < 4


def test_cmyk_is_inverted_as_adobe_has_it_with_and_without_the_mark() -> None:
    data = encoded(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    at = data.index(b"\xff\xee")
    unmarked = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]
    assert distance(decode(data), scene()) < 4
    assert distance(decode(unmarked), scene()) < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_over_mid_grey(kind: str) -> None:
    alpha = np.zeros((120, 160), np.uint8)
    alpha[:60] = 255
    picture = Image.fromarray(np.dstack([scene(), alpha]))
    pixels = decode(encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert (pixels[60:] == MID_GREY).all()
    assert distance(pixels[:60], scene()[:60]) == 0


def test_a_transparent_colour_lies_over_mid_grey() -> None:
    plain = np.zeros((40, 40, 3), np.uint8)
    plain[:, 20:] = (200, 10, 10)
    pixels = decode(encoded(Image.fromarray(plain), "PNG", transparency=(0, 0, 0)))
    assert (pixels[:, :20] == MID_GREY).all()
    assert (pixels[:, 20:] == (10, 10, 200)).all()


def test_a_blank_fourth_channel_hides_nothing() -> None:
    picture = Image.fromarray(np.dstack([scene(), np.zeros((120, 160), np.uint8)]))
    assert distance(decode(encoded(picture, "PNG")), scene()) == 0


def upright_by_pillow(data: bytes) -> NDArray[np.uint8]:
    from PIL import ImageOps

    with Image.open(io.BytesIO(data)) as picture:
        turned = ImageOps.exif_transpose(picture)
        return np.asarray(turned.convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_counts_exactly_once(kind: str, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = encoded(Image.fromarray(scene()), kind, exif=tags)
    pixels = decode(data)
    assert pixels.flags.c_contiguous
    assert pixels.shape[:2] == ((160, 120) if orientation >= 5 else (120, 160))
    assert distance(pixels, upright_by_pillow(data)) < 2


def test_empty_and_oversized() -> None:
    assert refused(b"") is Reason.EMPTY_FILE
    data = encoded(Image.fromarray(scene()), "JPEG")
    assert refused(data, ImageLimits(max_bytes=len(data) - 1)) is Reason.TOO_MANY_BYTES
    assert refused(data, ImageLimits(max_pixels=120 * 160 - 1)) is Reason.TOO_MANY_PIXELS
    assert decode(data, ImageLimits(max_bytes=len(data), max_pixels=120 * 160)).shape == (120, 160, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"Dear Sir or Madam, please find attached",
        b"BMW drives past the camera",
        b"<html>504 Gateway Timeout</html>",
        b"%PDF-1.7",
        b"\x00\x00\x00\x18ftypheic",
        b"P6 2 2 255 abcdefghijkl",
        b"\x00" * 64,
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
    ],
)
def test_text_and_foreign_formats(data: bytes) -> None:
    assert refused(data) is Reason.NOT_AN_IMAGE


def test_numbers_without_a_scale() -> None:
    floats = encoded(Image.fromarray(grey().astype(np.float32)), "TIFF")
    wide = encoded(Image.fromarray(grey().astype(np.int32) * 1_000_000), "TIFF")
    assert refused(floats) is Reason.NOT_AN_IMAGE
    assert refused(wide) is Reason.NOT_AN_IMAGE


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + ihdr + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.fromarray(scene()), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        png_header(30_000, 30_000),
        png_header(10_000, 10_000),
        jpeg_of_size(10_000, 10_000),
        b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b"\x2c" + bytes(20) + b"\x3b",
        b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(64),
        b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0" + bytes(16),
        b"RIFF\x24\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(16),
        b"RIFF\x24\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(16),
    ],
    ids=["png bomb", "png 100 MP", "jpeg 100 MP", "gif", "bmp", "webp x", "webp l", "webp"],
)
def test_bombs_are_refused_by_their_header(data: bytes) -> None:
    assert refused(data) is Reason.TOO_MANY_PIXELS


def test_a_tiff_bomb() -> None:
    data = bytearray(encoded(Image.fromarray(grey()), "TIFF"))
    with Image.open(io.BytesIO(bytes(data))) as picture:
        assert picture.size == (160, 120)
    for tag, side in ((256, 40_000), (257, 30_000)):
        at = (
            data.index(struct.pack("<HH", tag, 3))
            if struct.pack("<HH", tag, 3) in data
            else data.index(struct.pack("<HH", tag, 4))
        )
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, side)
    assert refused(bytes(data)) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_and_many_pages(kind: str) -> None:
    pages = [Image.fromarray(np.roll(scene(), shift, 1)) for shift in (0, 40, 80)]
    data = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
    assert refused(data) is Reason.ANIMATED_IMAGE


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_truncated_pictures(kind: str, share: float) -> None:
    data = encoded(Image.fromarray(noise()), kind)
    assert refused(data[: int(len(data) * share) + 20]) is Reason.TRUNCATED_IMAGE


@pytest.mark.parametrize("lost", [1, 2, 3, 100])
def test_a_jpeg_without_its_end(lost: int) -> None:
    data = encoded(Image.fromarray(noise()), "JPEG")
    assert refused(data[:-lost]) is Reason.TRUNCATED_IMAGE


def test_an_end_marker_of_a_thumbnail_does_not_count() -> None:
    thumbnail = encoded(Image.fromarray(scene(30, 40)), "JPEG")
    tags = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    data = encoded(Image.fromarray(noise()), "JPEG", exif=tags)
    assert distance(decode(data), noise()) < 60
    assert refused(data[: data.index(thumbnail) + len(thumbnail)]) is Reason.TRUNCATED_IMAGE
    assert refused(data[: len(data) // 2]) is Reason.TRUNCATED_IMAGE


@pytest.mark.parametrize("options", [{}, {"quality": 95, "subsampling": 0}, {"restart_marker_rows": 1}])
def test_an_end_marker_put_behind_cut_data_does_not_count(options: dict[str, Any]) -> None:
    data = encoded(Image.fromarray(noise(480, 640)), "JPEG", **options)
    assert refused(data[: len(data) // 2] + jpeg.EOI) is Reason.TRUNCATED_IMAGE


@pytest.mark.parametrize(
    "options", [{}, {"optimize": True}, {"quality": 95, "subsampling": 0}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("shape", [(480, 640), (250, 250)])
def test_real_grey_at_the_bottom_is_no_damage(shape: tuple[int, int], options: dict[str, Any]) -> None:
    picture = noise(*shape)
    picture[shape[0] // 2 :] = MID_GREY
    assert decode(encoded(Image.fromarray(picture), "JPEG", **options)).shape == picture.shape
    picture[:] = MID_GREY
    assert decode(encoded(Image.fromarray(picture), "JPEG", **options)).shape == picture.shape


def test_what_follows_a_jpeg_does_not_matter() -> None:
    data = encoded(Image.fromarray(scene()), "JPEG")
    assert np.array_equal(decode(data), decode(data + b"\0" * 500 + b"trailer \xff\xd8 of a camera"))


def test_stray_and_fill_bytes_between_segments_are_skipped() -> None:
    data = encoded(Image.fromarray(scene()), "JPEG")
    assert distance(decode(data[:2] + b"\xff\xff\xff" + data[2:]), scene()) < 4
    assert jpeg.header(data[:2] + b"\0\0\xff\x01" + data[2:]) is not None


@pytest.mark.parametrize(
    "data",
    [
        jpeg.SOI,
        jpeg.SOI + jpeg.EOI,
        jpeg.SOI + b"\xff\xe0\x00\x01",
        jpeg_of_size(0, 0),
        jpeg_of_size(4000, 3000),
        encoded(Image.fromarray(scene()), "JPEG").replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
        b"RIFF\x24\0\0\0WEBPVP8 ",
        b"GIF89a",
    ],
    ids=["start", "start and end", "length", "no size", "cut", "12 bits", "webp", "gif"],
)
def test_headers_that_make_no_sense(data: bytes) -> None:
    assert refused(data) is Reason.TRUNCATED_IMAGE


@given(st.sampled_from(FORMATS), st.data())
def test_damage_is_a_bad_record_and_never_a_crash(kind: str, draw: st.DataObject) -> None:
    data = bytearray(encoded(Image.fromarray(scene(24, 32)), kind))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(1, len(data)))
    reason: Reason | None = None
    try:
        pixels = decode(bytes(data[:cut]), ImageLimits(max_pixels=100_000))
    except BadRecord as error:
        reason = error.reason
    else:
        assert (pixels.dtype, pixels.ndim) == (np.uint8, 3)
    expected = {Reason.NOT_AN_IMAGE, Reason.TRUNCATED_IMAGE, Reason.TOO_MANY_PIXELS, Reason.ANIMATED_IMAGE}
    assert reason is None or reason in expected


def test_threads_do_not_disturb_each_other() -> None:
    pictures = [encoded(Image.fromarray(scene()), kind) for kind in FORMATS] * 4
    pictures += [png_header(30_000, 30_000)] * 4

    def outcome(data: bytes) -> int:
        try:
            return int(decode(data).sum())
        except BadRecord:
            return -1

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, pictures)) == [outcome(data) for data in pictures]
