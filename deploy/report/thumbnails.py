"""Small pictures of heads, cut out of the events' pictures and carried inside the page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.records import Box
from ingest.errors import BadRecord, Unavailable
from ingest.records import AtmEvent

Image = NDArray[np.uint8]
Crop = Callable[[AtmEvent, Box], bytes | None]
"""The face at a box of an event's picture as an encoded thumbnail; None when it can't be had."""

ASPECT = 0.8
"""Width by height.  All crops have the same, so that a contact sheet lines up."""
HEAD = 1.55
"""Height of a crop in heights of the face's box: hair, the whole mask, and a little around them."""
LOWER = 0.04
"""How far a crop's middle lies above the box's, in its heights: there is more head above a face than below."""
GREY = 96
"""What lies beyond the picture's edge."""
JPEG_QUALITY = 82
MAX_BYTES = 65536


def head_of(image: Image, box: Box, height: int) -> Image:
    """The head around ``box`` as a (height, width, 3) BGR picture, ``ASPECT`` as wide as it is high.

    ``image`` is (H, W, 3) BGR of the upright picture, to which ``box`` refers in pixels.  A head at the edge
    stays in the middle of its crop; what lies beyond the edge is grey.
    """
    tall = max(HEAD * box.height, HEAD * box.width / ASPECT, 2.0)
    middle = (box.x + box.width / 2, box.y + box.height * (0.5 - LOWER))
    width = round(ASPECT * height)
    scale = height / tall
    # A shrinking warp would skip pixels: shrink the neighbourhood by area first, then place it exactly.
    left, top = max(int(middle[0] - tall), 0), max(int(middle[1] - tall), 0)
    right, bottom = max(int(middle[0] + tall) + 1, 0), max(int(middle[1] + tall) + 1, 0)
    around = image[top:bottom, left:right]
    if not around.size:
        return np.full((height, width, 3), GREY, np.uint8)
    shrink = min(scale, 1.0)
    size = (max(round(around.shape[1] * shrink), 1), max(round(around.shape[0] * shrink), 1))
    small = cv2.resize(around, size, interpolation=cv2.INTER_AREA)
    grow = scale / shrink
    place = np.array(
        [
            [grow, 0.0, width / 2 - (middle[0] - left) * scale],
            [0.0, grow, height / 2 - (middle[1] - top) * scale],
        ]
    )
    border = (GREY, GREY, GREY)
    crop = cv2.warpAffine(small, place, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=border)
    return np.asarray(crop, np.uint8)


def picture_crop(fetch: Callable[[AtmEvent], bytes], decode: Callable[[bytes], Image], height: int = 96) -> Crop:
    """A ``Crop`` that fetches and decodes each event's picture; thumbnails are JPEG, ``height`` pixels high.

    A picture that can't be fetched or decoded any more gives None: the report goes on without it.
    """

    def crop(event: AtmEvent, box: Box) -> bytes | None:
        try:
            image = decode(fetch(event))
        except (BadRecord, Unavailable, OSError):
            return None
        done, encoded = cv2.imencode(".jpg", head_of(image, box, height), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return encoded.tobytes() if done else None

    return crop


@dataclass(slots=True)
class Album:
    """Thumbnails as data URIs, together at most ``budget`` characters; each picture is cropped once.

    ``lost`` counts the pictures that could not be had, ``over_budget`` those that were left out.
    """

    crop: Crop
    budget: int
    lost: int = 0
    over_budget: int = 0
    _made: dict[str, str | None] = field(default_factory=dict)

    def uri(self, event: AtmEvent, box: Box, reserve: int = 0) -> str | None:
        """The thumbnail of ``event``'s face, None when there is none or no room beside ``reserve`` characters."""
        if self.budget <= reserve:
            self.over_budget += 1
            return None
        if event.event_id not in self._made:
            self._made[event.event_id] = self._make(event, box)
        uri = self._made[event.event_id]
        if uri is None:
            self.lost += 1
        else:
            self.budget -= len(uri)
        return uri

    def _make(self, event: AtmEvent, box: Box) -> str | None:
        content = self.crop(event, box)
        if content is None or len(content) > MAX_BYTES:
            return None
        kind = "jpeg" if content.startswith(b"\xff\xd8") else "webp" if content.startswith(b"RIFF") else "png"
        return f"data:image/{kind};base64,{b64encode(content).decode()}"
