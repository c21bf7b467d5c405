"""A peaked cap: crown with its panels, peak, and the shadow that it throws over the brows and eyes."""

from __future__ import annotations

import numpy as np

from embedder.detect import Image
from embedder.synthetic_masks.head import Floats, Pose
from embedder.synthetic_masks.light import read_light
from embedder.synthetic_masks.shapes import Plane, Sheet, dimmed, lit, over, placed, sheet_around, soft

TONES = (
    (0.06, 0.06, 0.06),
    (0.28, 0.14, 0.09),
    (0.10, 0.10, 0.45),
    (0.62, 0.63, 0.64),
    (0.16, 0.24, 0.18),
    (0.90, 0.90, 0.90),
)
"""Reflectances BGR: black, navy, red, grey, green, white."""
WIDTH, BACK, DEPTH = 1.22, -0.75, 1.03
"""Of the crown at its rim: half its width, its middle behind the eyes, and how far its front stands before that."""


def draw_cap(image: Image, pose: Pose, rng: np.random.Generator) -> Image:
    """A copy of ``image`` with a cap on the head of ``pose``."""
    rim = float(rng.uniform(-0.68, -0.5))
    reach, drop, curve = float(rng.uniform(0.65, 0.95)), float(rng.uniform(0.2, 0.4)), float(rng.uniform(0.06, 0.2))
    crown = _crown(rim, float(rng.uniform(1.15, 1.4)))
    dome_points = crown.reshape(-1, 3)
    inner, outer = _peak(rim, 0.0, 0.0, 0.0), _peak(rim, reach, drop, curve)
    shade = outer.copy()
    shade[:, 1] += float(rng.uniform(0.3, 0.65)) * np.cos(np.linspace(-1, 1, len(shade))) ** 2
    shade[:, 2] -= 0.6 * reach
    sheet = sheet_around(pose.project(np.concatenate([dome_points, inner, outer, shade])), 0.25, pose, image)
    if sheet is None:
        return image.copy()
    tone = np.array(TONES[int(rng.integers(len(TONES)))], np.float32) * np.float32(rng.uniform(0.8, 1.1))
    peak_tone = np.array(TONES[int(rng.integers(len(TONES)))], np.float32) if rng.random() < 0.2 else tone
    dark, band = float(rng.uniform(0.35, 0.7)), float(rng.uniform(0.02, 0.04))
    dome, peak = sheet.hull(dome_points), sheet.filled(np.concatenate([inner, outer[::-1]]))
    patch = sheet.of(image)
    light = read_light(patch, np.maximum(dome, peak))
    shadow = soft(sheet.filled(np.concatenate([inner, shade[::-1]])), 0.09 * pose.unit)
    picture = dimmed(patch, np.float32(dark) * shadow)
    cloth = _rounded(sheet, rim) * np.float32(light.level)
    middle = crown.shape[1] // 2
    seams = sheet.lines(band, *(crown[:, middle + column] for column in (-4, 0, 4)))
    picture = over(picture, lit(cloth * (1 - 0.35 * soft(seams, 0.03 * pose.unit)), light.on(tone)), dome)
    if rng.random() < 0.5:
        badge = _badge(rim, float(rng.uniform(0.16, 0.3)), float(rng.uniform(0.12, 0.22)))
        picture = over(picture, lit(cloth, light.on(1 - tone)), sheet.filled(badge) * np.float32(0.85))
    # The peak looks up into the light by its top side; seen from below it is in the dark.
    from_below = pose.pitch < np.radians(-10)
    stitches = sheet.lines(band, *(_peak(rim, reach * part, drop * part, curve * part) for part in (0.55, 0.75, 0.92)))
    face = np.float32(light.level * (0.5 if from_below else 0.86)) * (1 - 0.18 * stitches)
    picture = over(picture, lit(np.asarray(face, np.float32), light.on(peak_tone)), peak)
    under = soft(sheet.lines(0.05, inner), 0.04 * pose.unit) * peak
    picture = dimmed(picture, np.float32(0.45) * under)
    picture = dimmed(picture, np.float32(0.35) * sheet.lines(0.035, outer))
    return placed(image, sheet, picture)


def _crown(rim: float, tall: float) -> Floats:
    """(8, 17, 3) points of the dome, from rim to top and from ear to ear."""
    rise, angle = np.linspace(0, np.pi / 2, 8)[:, None], np.radians(np.linspace(-100, 100, 17))
    out = np.cos(rise) ** 0.85
    x = WIDTH * out * np.sin(angle)
    y = rim + 0.16 * (1 - np.cos(angle)) * (1 - rise / np.pi * 2) - tall * np.sin(rise) ** 0.9
    z = BACK + DEPTH * out * np.cos(angle) + 0 * rise
    return np.stack([x, y, z], axis=-1)


def _peak(rim: float, reach: float, drop: float, curve: float) -> Floats:
    """(25, 3) a line of the peak, ``reach`` before the rim and ``drop`` below it, bent down at its sides."""
    angle = np.radians(np.linspace(-68, 68, 25))
    out = np.cos(angle * 90 / 68) ** 0.6  # it begins at the rim on both sides
    x = (WIDTH + 0.05 * out * reach) * np.sin(angle)
    y = rim + 0.16 * (1 - np.cos(angle)) + (drop + curve * np.sin(angle) ** 2) * out
    z = BACK + DEPTH * np.cos(angle) + reach * out
    return np.stack([x, y, z], axis=-1)


def _badge(rim: float, half: float, high: float) -> Floats:
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    x, y = half * np.cos(turn), rim - 0.38 + high * np.sin(turn)
    return np.stack([x, y, np.full_like(x, BACK + 0.93 * DEPTH)], axis=-1)


def _rounded(sheet: Sheet, rim: float) -> Plane:
    """(h, w) the light on the dome: less at its sides, and above its front."""
    x, y = sheet.places()
    turned = (x - np.float32(0.25 * np.sin(sheet.pose.yaw))) / np.float32(1.35 * WIDTH)
    return np.asarray((1.0 - 0.6 * turned**2) * np.clip(0.98 + 0.16 * (y - rim + 0.6), 0.6, 1.08), np.float32)
