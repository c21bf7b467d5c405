"""Sunglasses: two lenses that bend with the face, frame, bridge and temples, reflections, and a shadow below."""

from __future__ import annotations

import numpy as np

from embedder.detect import Image
from embedder.synthetic_masks.head import EAR_DEPTH, Floats, Pose
from embedder.synthetic_masks.light import read_light
from embedder.synthetic_masks.shapes import Plane, Sheet, dimmed, lit, over, placed, sheet_around, shifted, soft

LENSES = ((0.05, 0.05, 0.05), (0.07, 0.09, 0.14), (0.07, 0.10, 0.08), (0.16, 0.11, 0.08), (0.10, 0.16, 0.24))
FRAMES = ((0.04, 0.04, 0.04), (0.08, 0.13, 0.22), (0.30, 0.62, 0.72), (0.68, 0.68, 0.68), (0.85, 0.86, 0.88))
"""Reflectances BGR: black, tortoiseshell, gold, steel, white."""


def draw_sunglasses(image: Image, pose: Pose, rng: np.random.Generator) -> Image:
    """A copy of ``image`` with sunglasses on the head of ``pose``."""
    half, height = float(rng.uniform(0.42, 0.52)), float(rng.uniform(0.27, 0.40))
    roundness, drop = float(rng.uniform(2.0, 4.5)), float(rng.uniform(-0.02, 0.12))
    y = float(rng.uniform(0.0, 0.10))
    lenses = [_lens(sign, (half, height), roundness, drop, y) for sign in (-1.0, 1.0)]
    hinge = half + 0.5
    arms = [_arm(sign, hinge, y) for sign in (-1.0, 1.0)]
    seen = [arm for sign, arm in zip((-1.0, 1.0), arms, strict=True) if _outward(arm, pose) * sign > 0]
    sheet = sheet_around(pose.project(np.concatenate([*lenses, *seen])), 0.3, pose, image)
    if sheet is None:
        return image.copy()
    opacity, metal = float(rng.uniform(0.78, 0.98)), rng.random() < 0.35
    frame_tone = np.array(FRAMES[int(rng.integers(2, 4) if metal else rng.choice((0, 0, 0, 1, 1, 4)))], np.float32)
    frame_width = float(rng.uniform(0.03, 0.05) if metal else rng.uniform(0.05, 0.085))
    lens_tone = np.array(LENSES[int(rng.integers(len(LENSES)))], np.float32)
    glass, rims = sheet.filled(*lenses), sheet.lines(frame_width, *lenses, closed=True)
    bar = sheet.lines(max(frame_width, 0.04), _bridge(half, y), *seen)
    patch = sheet.of(image)
    light = read_light(patch, glass)
    cast = soft(shifted(np.maximum(glass, rims), 0, 0.07 * pose.unit), 0.06 * pose.unit)
    picture = dimmed(patch, np.float32(0.35) * cast)
    reflected = _reflections(sheet, y, height, rng)
    picture = over(picture, lit(np.float32(light.level) * reflected, light.on(lens_tone)), glass * np.float32(opacity))
    frame = np.maximum(rims, bar)
    sheen = np.float32(light.level) * (0.75 + 0.5 * soft(frame, 0.5 * frame_width * pose.unit))
    picture = over(picture, lit(np.asarray(sheen, np.float32), light.on(frame_tone)), frame)
    return placed(image, sheet, picture)


def _bent(x: Floats, y: Floats) -> Floats:
    """(n, 3) points of glasses: they bend round the face."""
    return np.stack([x, y, 0.24 - 0.16 * x**2], axis=-1)


def _lens(sign: float, size: tuple[float, float], roundness: float, drop: float, y: float) -> Floats:
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    x = size[0] * np.sign(c) * np.abs(c) ** (2 / roundness)
    down = size[1] * np.sign(s) * np.abs(s) ** (2 / roundness)
    down = down + drop * (x / size[0]) * (down > 0)  # aviators hang outwards
    return _bent(sign * (0.53 + x), y + down)


def _bridge(half: float, y: float) -> Floats:
    x = np.linspace(-0.53 + half - 0.02, 0.53 - half + 0.02, 9)
    return _bent(x, y - 0.09 - 0.05 * np.cos(np.pi * x / 0.3))


def _arm(sign: float, hinge: float, y: float) -> Floats:
    along = np.linspace(0, 1, 8)
    x = sign * (hinge + (1.09 - hinge) * along**0.5)
    return np.stack([x, y - 0.12 + 0.02 * along, 0.05 + (EAR_DEPTH - 0.05) * along], axis=-1)


def _outward(line: Floats, pose: Pose) -> float:
    ends = pose.project(line[[0, -1]])
    return float((ends[1] - ends[0]) @ pose.upright[0])


def _reflections(sheet: Sheet, y: float, height: float, rng: np.random.Generator) -> Plane:
    """(h, w) brightness of the glass: darker above, with what it mirrors."""
    x, down = sheet.places()
    fall = np.clip((down - y + height) / (2 * height), 0, 1)
    shown = 0.7 + float(rng.uniform(0, 1.2)) * fall
    slope, strength = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.0, 3.0))
    for middle in (-0.53, 0.53):
        streak = (x - middle + slope * (down - y) + float(rng.uniform(-0.2, 0.2))) / float(rng.uniform(0.06, 0.2))
        shown = shown + strength * np.exp(-(streak**2) - ((down - y + 0.1) / (0.6 * height)) ** 2)
    return np.asarray(shown, np.float32)
