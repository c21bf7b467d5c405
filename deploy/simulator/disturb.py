"""What comes between a face and its picture: names that the ground truth lists, and how they change pixels.

All of them are mild: a person who looks on would recognise everybody.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.detect import Image

Pixels = NDArray[np.float32]
"""(H, W, 3) BGR, 0..255."""


class Disturbance(StrEnum):
    """What a picture can suffer from; the first five are the light's, of which a session has one at most."""

    LOW_LIGHT = "low_light"
    BACKLIGHT = "backlight"
    TINT = "tint"
    HARD_LIGHT = "hard_light"
    INFRARED = "infrared"
    TILTED = "tilted"
    TURNED = "turned"
    FAR = "far"
    NEAR = "near"
    DEFOCUS = "defocus"
    MOTION = "motion"
    COMPRESSED = "compressed"


DAY_LIGHT = {
    Disturbance.LOW_LIGHT: 0.08,
    Disturbance.BACKLIGHT: 0.16,
    Disturbance.TINT: 0.14,
    Disturbance.HARD_LIGHT: 0.12,
}
NIGHT_LIGHT = {
    Disturbance.LOW_LIGHT: 0.22,
    Disturbance.TINT: 0.16,
    Disturbance.HARD_LIGHT: 0.08,
    Disturbance.INFRARED: 0.22,
}
SHOT = (
    {Disturbance.TILTED: 0.35, Disturbance.TURNED: 0.25},
    {Disturbance.FAR: 0.2, Disturbance.NEAR: 0.2},
    {Disturbance.DEFOCUS: 0.16, Disturbance.MOTION: 0.14},
    {Disturbance.COMPRESSED: 0.15},
)
"""At most one of each group."""


def choose_light(local_hour: int, rng: Generator) -> tuple[str, ...]:
    """The light of a session that begins in this hour of the terminal's clock."""
    return _one_of(DAY_LIGHT if 7 <= local_hour < 18 else NIGHT_LIGHT, rng)


def choose_shot(rng: Generator) -> tuple[str, ...]:
    """What one picture suffers from besides the light."""
    return tuple(name for group in SHOT for name in _one_of(group, rng))


def _one_of(shares: dict[Disturbance, float], rng: Generator) -> tuple[str, ...]:
    drawn = rng.random()
    for name, share in shares.items():
        drawn -= share
        if drawn < 0:
            return (name.value,)
    return ()


def light_scene(pixels: Pixels, names: tuple[str, ...], rng: Generator) -> Pixels:
    """The whole picture in the session's light; ``rng`` is the session's."""
    strength = rng.random()
    height, width = pixels.shape[:2]
    if Disturbance.LOW_LIGHT in names:
        pixels = pixels * np.float32(0.45 + 0.15 * strength)
    if Disturbance.BACKLIGHT in names:
        pixels = pixels * 0.92 + 16 + 10 * strength  # glare veils the dark parts
    if Disturbance.TINT in names:
        casts = ((0.72, 0.94, 1.1), (0.92, 1.06, 0.88), (1.14, 0.98, 0.84))
        pixels = pixels * np.array(casts[rng.integers(3)], np.float32)
    if Disturbance.INFRARED in names:
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        falloff = 1.25 - 0.75 * np.hypot((x - width / 2) / width, (y - height * 0.45) / height)
        pixels = cv2.merge([np.clip(20 + grey * 0.95 * falloff, 0, 255).astype(np.float32)] * 3)
    return np.asarray(pixels, np.float32)


def light_person(pixels: Pixels, names: tuple[str, ...], rng: Generator) -> Pixels:
    """A person (h, w, 3) as lit in the session, before being placed; ``rng`` is the session's."""
    strength = rng.random()
    if Disturbance.BACKLIGHT in names:
        pixels = pixels * np.float32(0.42 + 0.16 * strength)
    if Disturbance.HARD_LIGHT in names:
        side = np.linspace(1.15, 0.55 + 0.15 * strength, pixels.shape[1], dtype=np.float32)
        pixels = pixels * (side if rng.random() < 0.5 else side[::-1])[None, :, None]
    return np.asarray(np.clip(pixels, 0, 255), np.float32)


def blur(pixels: Pixels, names: tuple[str, ...], rng: Generator) -> Pixels:
    """Out of focus, or moved while the shutter was open."""
    if Disturbance.DEFOCUS in names:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.9, 1.5)), np.float32)
    if Disturbance.MOTION in names:
        length, angle = int(rng.integers(4, 8)), rng.uniform(0, np.pi)
        kernel = np.zeros((9, 9), np.float32)
        reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        start, end = (np.rint((4 + sign * reach) * 16).astype(int).tolist() for sign in (-1, 1))
        cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, 4)
        pixels = np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()), np.float32)
    return pixels


def expose(pixels: Pixels, names: tuple[str, ...], rng: Generator) -> Image:
    """What the sensor makes of it: the lens's darker corners, noise (more in the dark), and 8 bits."""
    dark = Disturbance.LOW_LIGHT in names or Disturbance.INFRARED in names
    sigma = 4.0 if dark else 1.8
    # Luminance noise alone: cameras smooth the colours away.
    noise = rng.standard_normal(pixels.shape[:2], np.float32) * np.float32(sigma)
    seen = pixels * _vignette(pixels.shape[:2])
    seen += noise[..., None]
    return np.asarray(np.clip(seen, 0, 255, out=seen), np.uint8)


@lru_cache(maxsize=1)
def _vignette(shape: tuple[int, int]) -> NDArray[np.float32]:
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(1 - 0.16 * (x**2 + y**2), np.float32)[..., None]


def quality(names: tuple[str, ...], rng: Generator) -> int:
    """The JPEG quality factor of the camera's encoder."""
    low, high = (42, 55) if Disturbance.COMPRESSED in names else (72, 92)
    return int(rng.integers(low, high))
