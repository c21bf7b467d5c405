"""The bounded decode: the header is judged first, and only a picture within the limits is decoded.

Every function is safe to call from several threads: nothing global is changed.  Pillow's plugins are opened
directly, because ``Image.open`` warns of large pictures (which is a process's matter) where these limits
refuse them.  The claim check's functions are offered here as well.
"""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ingest import exif, jpeg
from ingest.claim_check import fetch, file_uri, read_file, uri_path
from ingest.errors import BadRecord
from ingest.exif import exif_time
from ingest.limits import DEFAULT_LIMITS, ImageLimits
from ingest.reasons import Reason

__all__ = [
    "DEFAULT_LIMITS",
    "ImageLimits",
    "decode",
    "exif_time",
    "fetch",
    "file_uri",
    "picture_format",
    "read_file",
    "uri_path",
]

MID_GREY = 128
"""What lies behind transparency: neither an edge around the face, nor the darkness of a covered camera."""

_JPEG, _WEBP = "JPEG", "WebP"
_MAGIC = (
    (_JPEG, (jpeg.SOI,)),
    ("PNG", (b"\x89PNG\r\n\x1a\n",)),
    ("GIF", (b"GIF87a", b"GIF89a")),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    _JPEG: JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    _WEBP: WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
_DIB_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_MAX_SIDE = 65_535

_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    struct.error,
    Warning,
)
"""What Pillow raises over damaged data; its warnings too, where the process has made them errors."""
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_TURNS: dict[int, int] = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIPS: dict[int, int] = {2: 1, 4: 0}


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """The picture in ``data`` as a C-contiguous (H, W, 3) uint8 array, BGR, upright after its Exif orientation.

    JPEG, PNG, WebP, BMP, TIFF and GIF, of one picture.  16 bits a channel are scaled to 8, CMYK is converted,
    transparency is laid over mid-grey.  Raises BadRecord: EMPTY_FILE, TOO_MANY_BYTES, NOT_AN_IMAGE,
    ANIMATED_IMAGE, TOO_MANY_PIXELS, TRUNCATED_IMAGE.
    """
    _check_bytes(len(data), limits)
    kind = picture_format(data)
    if kind is None:
        raise BadRecord(Reason.NOT_AN_IMAGE, "The bytes are not a JPEG, PNG, WebP, BMP, TIFF or GIF picture.")
    if kind == _JPEG:
        return _jpeg(data, limits)
    return _other(data, kind, limits)


def picture_format(head: bytes) -> str | None:
    """The format that the first bytes (32 are enough) announce, None when it is not a supported one."""
    for kind, magic in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _DIB_HEADERS:
        return "BMP"
    return None


def _check_bytes(count: int, limits: ImageLimits) -> None:
    if count == 0:
        raise BadRecord(Reason.EMPTY_FILE, Reason.EMPTY_FILE.sentence)
    if count > limits.max_bytes:
        detail = f"The picture has {count:,} bytes; the limit is {limits.max_bytes:,}."
        raise BadRecord(Reason.TOO_MANY_BYTES, detail)


def _check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels or max(width, height) > _MAX_SIDE:
        detail = f"The picture has {width:,} x {height:,} pixels; the limit is {limits.max_pixels:,}."
        raise BadRecord(Reason.TOO_MANY_PIXELS, detail)


def _damaged(kind: str) -> BadRecord:
    detail = f"The {kind} picture ends before it is complete, or its data is damaged."
    return BadRecord(Reason.TRUNCATED_IMAGE, detail)


def _jpeg(data: bytes, limits: ImageLimits) -> NDArray[np.uint8]:
    header = jpeg.header(data)
    if header is None or not header.width or not header.height:
        raise _damaged(_JPEG)
    _check_pixels(header.width, header.height, limits)
    found = jpeg.end(data, header.scan)
    if found is None:
        raise _damaged(_JPEG)
    stop, scans = found
    if header.components in (1, 3) and header.bits == 8:
        pixels = _quick_jpeg(data)
    else:
        pixels = _to_bgr(_open(data, _JPEG, limits), _JPEG)
    if pixels.shape[:2] != (header.height, header.width):
        raise _damaged(_JPEG)
    if header.sequential and scans == 1 and (pixels[-1, -1] == MID_GREY).all():
        try:
            padded = jpeg.was_padded(data, stop, pixels)
        except _BROKEN as error:
            raise _damaged(_JPEG) from error
        if padded:
            raise _damaged(_JPEG)
    return _upright(pixels, 1 if header.exif is None else exif.of_block(data, header.exif).orientation)


def _quick_jpeg(data: bytes) -> NDArray[np.uint8]:
    """OpenCV's decode, three times as fast as Pillow's; the orientation is left to us, so that it counts once."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _damaged(_JPEG) from error
    if pixels is None:
        raise _damaged(_JPEG)
    return np.asarray(pixels, np.uint8)


def _other(data: bytes, kind: str, limits: ImageLimits) -> NDArray[np.uint8]:
    if kind == _WEBP:
        _check_webp(data, limits)
    pixels = _to_bgr(_open(data, kind, limits), kind)
    # Pillow turns a TIFF itself, and no other format.
    return _upright(pixels, exif.of_bytes(data).orientation if kind in ("PNG", _WEBP) else 1)


def _check_webp(data: bytes, limits: ImageLimits) -> None:
    """Judge a WebP by its first chunk, because opening one allocates its canvas."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise _damaged(_WEBP)
    if chunk == b"VP8X":
        if body[0] & 0x02:
            raise BadRecord(Reason.ANIMATED_IMAGE, Reason.ANIMATED_IMAGE.sentence)
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
    elif chunk == b"VP8L":
        sides = int.from_bytes(body[1:5], "little")
        width, height = (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    _check_pixels(width, height, limits)


def _open(data: bytes, kind: str, limits: ImageLimits) -> ImageFile.ImageFile:
    """The picture with its header read and judged, and nothing decoded."""
    try:
        picture = _PLUGINS[kind](io.BytesIO(data))
        animated = bool(getattr(picture, "is_animated", False))
    except _BOMB as error:
        raise BadRecord(Reason.TOO_MANY_PIXELS, Reason.TOO_MANY_PIXELS.sentence) from error
    except _BROKEN as error:
        raise _damaged(kind) from error
    if animated:
        raise BadRecord(Reason.ANIMATED_IMAGE, Reason.ANIMATED_IMAGE.sentence)
    _check_pixels(*picture.size, limits)
    return picture


def _to_bgr(picture: ImageFile.ImageFile, kind: str) -> NDArray[np.uint8]:
    try:
        with picture:
            picture.load()
            rgb = _eight_bits(picture, kind) if picture.mode.startswith(("I", "F")) else _rgb(picture)
            return np.asarray(cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR), np.uint8)
    except _BOMB as error:  # pragma: no cover - the header was within the limits
        raise BadRecord(Reason.TOO_MANY_PIXELS, Reason.TOO_MANY_PIXELS.sentence) from error
    except (*_BROKEN, cv2.error) as error:
        raise _damaged(kind) from error


def _rgb(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    alpha = layer.getchannel("A")
    if alpha.getextrema() == (0, 0):  # a camera that leaves the fourth channel blank
        return layer.convert("RGB")
    behind = Image.new("RGB", layer.size, (MID_GREY, MID_GREY, MID_GREY))
    behind.paste(layer, mask=alpha)
    return behind


def _eight_bits(picture: Image.Image, kind: str) -> NDArray[np.uint8]:
    """16-bit grey as (H, W, 3) uint8, full scale to full scale.  32 bits and floats have no known scale."""
    grey = np.asarray(picture)
    if picture.mode.startswith("F") or int(grey.max()) > 0xFFFF or int(grey.min()) < 0:
        detail = f"The {kind} picture has numbers of unknown scale; send 8 or 16 bits a channel."
        raise BadRecord(Reason.NOT_AN_IMAGE, detail)
    small = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(small[:, :, None], 3, axis=2)


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation in _TURNS:
        pixels = np.asarray(cv2.rotate(pixels, _TURNS[orientation]), np.uint8)
    elif orientation in _FLIPS:
        pixels = np.asarray(cv2.flip(pixels, _FLIPS[orientation]), np.uint8)
    elif orientation == 5:  # mirrored over the main diagonal
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    elif orientation == 7:  # mirrored over the other diagonal
        pixels = np.asarray(cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180), np.uint8)
    return np.ascontiguousarray(pixels)
