"""Pictures of the size that a benchmark wants."""

from __future__ import annotations

import cv2
import numpy as np


def smaller(picture: bytes, most: int) -> bytes:
    """``picture`` as the JPEG of the best quality that has at most ``most`` bytes; halved until one has."""
    frame = np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    while True:
        for quality in range(95, 20, -1):
            encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            if len(encoded) <= most:
                return encoded
        frame = np.ascontiguousarray(frame[::2, ::2])
