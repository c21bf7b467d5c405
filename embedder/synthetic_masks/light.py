"""The light on a face, read from its own pixels: how bright, of what colour, and from which side."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image

Plane = NDArray[np.float32]

COARSE = 20
"""Cells a side on which the light is read: finer than shade falls, coarser than eyes and lips."""

GREY = np.array([0.114, 0.587, 0.299], np.float32)
"""BGR to luminance, as ITU-R BT.601 has it."""
COLOURLESS, COLOURED = 2.0, 9.0
"""Mean difference of channels, in grey levels: below the one a picture is grey, from the other on it has colours."""


@dataclass(frozen=True, slots=True)
class Light:
    """``level`` is what a reflectance of 1 shows, 0..255; ``cast`` (3,) its colour BGR, around 1.

    ``shade`` (h, w) is how it falls over the place, around 1; ``colour`` how far the camera sees colours, 0..1: an
    infrared one sees none.
    """

    level: float
    cast: NDArray[np.float32]
    shade: Plane
    colour: float

    @property
    def bright(self) -> Plane:
        """(h, w) what a reflectance of 1 shows at each pixel."""
        return np.asarray(self.shade * np.float32(self.level), np.float32)

    def on(self, tone: NDArray[np.float32]) -> NDArray[np.float32]:
        """(3,) what the camera sees of a reflectance (3,) in light of level 1."""
        grey = tone @ GREY
        return np.asarray((grey + (tone - grey) * np.float32(self.colour)) * self.cast, np.float32)


def read_light(patch: Image, covered: Plane) -> Light:
    """The light on the part of ``patch`` (h, w, 3) that is ``covered`` (h, w, 0..1), without the face's features.

    The brightest parts around (eye whites, teeth, collar) tell how strong and of what colour the light is, and
    the skin how much of it falls on this face: so a white mask is as white on dark skin as on light skin.
    """
    size = (COARSE, COARSE)
    small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = np.asarray(cv2.resize(covered, size, interpolation=cv2.INTER_AREA), np.float32) + np.float32(1e-3)
    grey = small @ GREY
    smooth = cv2.GaussianBlur(grey * weight, (0, 0), 2.2) / cv2.GaussianBlur(weight, (0, 0), 2.2)
    inside = np.sort(grey[weight > 0.5]) if (weight > 0.5).any() else np.sort(grey, axis=None)
    skin = float(inside[int(0.8 * (len(inside) - 1))])
    flat = grey.ravel()
    order = np.argsort(flat)
    bright = small.reshape(-1, 3)[order[-max(1, len(flat) // 25) :]].mean(axis=0)
    white = max(float(bright.mean()), skin)
    level = min(max(1.12 * float(np.sqrt(white * min(1.7 * skin, 255))), 20.0), 262.0)
    cast = (bright / max(float(bright.mean()), 1.0)) ** 0.4
    chroma = float((small.max(axis=2) - small.min(axis=2)).mean())
    colour = min(max((chroma - COLOURLESS) / (COLOURED - COLOURLESS), 0.0), 1.0)
    usual = max(float(inside[int(0.65 * (len(inside) - 1))]), 1.0)
    shade = np.clip(smooth / usual, 0.25, 1.25) ** np.float32(0.85)
    full = cv2.resize(shade, (patch.shape[1], patch.shape[0]), interpolation=cv2.INTER_LINEAR)
    return Light(level, np.asarray(cast, np.float32), np.asarray(full, np.float32), colour)
