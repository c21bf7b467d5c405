"""A hand before the lower face: its back to the camera, fingers closed, in the skin's own colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image
from embedder.synthetic_masks.head import Floats, Pose
from embedder.synthetic_masks.shapes import Plane, Sheet, dimmed, lit, over, placed, sheet_around, shifted, soft


@dataclass(frozen=True, slots=True)
class Bone:
    """A rounded, tapering part of a hand: from ``start`` to ``end`` (2,), with the radii there, in eye distances.

    ``finger`` says that it has joints and ends in a nail.
    """

    start: Floats
    end: Floats
    radii: tuple[float, float]
    finger: bool = True


def draw_hand(image: Image, pose: Pose, rng: np.random.Generator) -> Image:
    """A copy of ``image`` with a hand before mouth, chin or cheek of the head of ``pose``."""
    side = float(rng.choice((-1.0, 1.0)))
    lean = side * float(rng.uniform(0.15, 1.15))  # of the fingers, from straight up towards the other side
    size = float(rng.uniform(0.85, 1.05))
    # Where the fingers begin, so that their middles lie before the mouth or a little beside it.
    up, right = np.array([-np.sin(lean), -np.cos(lean)]), np.array([np.cos(lean), -np.sin(lean)])
    middle = pose.upright @ (pose.project(np.array([0.0, 1.05, 0.4])) - pose.origin) / pose.unit
    knuckles = middle - 0.5 * size * up + np.array([side * rng.uniform(-0.15, 0.4), rng.uniform(-0.12, 0.2)])
    bones = []
    for bone in _bones(rng, side):
        start, end = (knuckles + size * (point @ (right, up)) for point in (bone.start, bone.end))
        bones.append(Bone(start, end, bone.radii, bone.finger))
    tips = np.concatenate([[bone.start, bone.end] for bone in bones]) @ pose.upright * pose.unit + pose.origin
    sheet = sheet_around(tips, 0.8, pose, image)
    if sheet is None:
        return image.copy()
    tone = _skin(image, pose) * np.float32(rng.uniform(0.85, 1.06))
    x, y = sheet.places()
    whole = np.zeros(x.shape, np.float32)
    drawn = []
    for bone in bones:
        part = _part(sheet, bone)
        if part is not None:
            coverage, shade = _shaped(x[part], y[part], bone, pose.unit)
            np.maximum(whole[part], coverage, out=whole[part])
            drawn.append((part, coverage, shade))
    shadow = soft(shifted(whole, 0.02 * pose.unit, 0.07 * pose.unit), 0.1 * pose.unit)
    picture = dimmed(sheet.of(image), np.float32(0.45) * shadow)
    for part, coverage, shade in drawn:
        picture[part] = over(picture[part], lit(shade, tone), coverage)
    return placed(image, sheet, picture)


def _part(sheet: Sheet, bone: Bone) -> tuple[slice, slice] | None:
    """Rows and columns of the sheet that ``bone`` may touch; None when there are none."""
    pose = sheet.pose
    ends = np.stack([bone.start, bone.end]) @ pose.upright * pose.unit + pose.origin - (sheet.left, sheet.top)
    reach = max(bone.radii) * pose.unit + 2
    left, top = (max(0, int(value)) for value in ends.min(axis=0) - reach)
    right, bottom = (
        min(int(value) + 1, most) for value, most in zip(ends.max(axis=0) + reach, sheet.size, strict=True)
    )
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None


def _bones(rng: np.random.Generator, side: float) -> list[Bone]:
    """Arm, back, thumb and fingers of a hand whose fingers point along +y from the line of knuckles at y = 0."""
    bones = [
        Bone(np.array([0.0, -3.2]), np.array([0.0, -1.5]), (0.52, 0.42), finger=False),
        Bone(np.array([0.0, -1.5]), np.array([0.0, -0.35]), (0.44, 0.56), finger=False),
        Bone(np.array([-side * 0.42, -0.95]), np.array([-side * 0.78, -0.02]), (0.24, 0.15)),
    ]
    spread = float(rng.uniform(0.0, 0.09))
    for number, length in enumerate((0.92, 1.10, 1.02, 0.78)):
        place = (number - 1.5) * 0.285
        bones.append(
            Bone(
                np.array([-side * place, -0.2]),
                np.array([-side * (place + (number - 1.5) * spread), length + rng.normal(0, 0.04) - 0.13]),
                (0.165, 0.125),
            )
        )
    return bones


def _shaped(x: Plane, y: Plane, bone: Bone, unit: float) -> tuple[Plane, Plane]:
    """(h, w) coverage and brightness of one part: a rounded body, with wrinkles at its joints and a nail."""
    axis = bone.end - bone.start
    length = float(np.hypot(*axis))
    ahead = axis / length
    dx, dy = x - np.float32(bone.start[0]), y - np.float32(bone.start[1])
    along = dx * np.float32(ahead[0]) + dy * np.float32(ahead[1])
    aside = dx * np.float32(-ahead[1]) + dy * np.float32(ahead[0])
    share = np.clip(along / np.float32(length), 0, 1)
    radius = np.float32(bone.radii[0]) + share * np.float32(bone.radii[1] - bone.radii[0])
    beyond = along - share * np.float32(length)
    away = np.sqrt(aside * aside + beyond * beyond)
    coverage = np.clip((radius - away) * np.float32(unit) + np.float32(0.5), 0, 1)
    # Only its sides and its tip turn away: at its root it goes over into the next part.
    tip = np.sqrt(aside * aside + np.maximum(along - np.float32(length), 0) ** 2) / radius
    shade = 1.02 - 0.40 * np.minimum(tip, 1) ** 4 - 0.08 * (aside / radius)
    if bone.finger:
        coverage *= np.clip(along / np.float32(0.3) + np.float32(0.3), 0, 1)
    else:
        shade = 1.0 - 0.30 * np.minimum(np.abs(aside) / radius, 1) ** 5 - 0.06 * (aside / radius)
    if bone.finger:
        across = np.exp(-((aside / (0.75 * radius)) ** 2))
        for joint, depth in ((0.42, 0.10), (0.70, 0.13)):
            for line in (-0.022, 0.0, 0.024):
                shade -= depth * 0.5 * across * np.exp(-(((along / length - joint - line) / 0.008) ** 2))
        nail = np.hypot(aside / (0.55 * radius), (along - length + 0.3 * radius) / (0.9 * radius))
        shade += 0.09 * np.clip((1 - nail) * 6, 0, 1) - 0.10 * np.exp(-(((nail - 1) / 0.16) ** 2)) * (tip < 1)
    return np.asarray(coverage, np.float32), np.asarray(np.clip(shade, 0.3, 1.25), np.float32)


def _skin(image: Image, pose: Pose) -> NDArray[np.float32]:
    """(3,) the colour of the face's lit skin: the upper middle of what is seen on cheeks and nose."""
    spots = np.array([[-0.45, 0.55, 0.2], [0.45, 0.55, 0.2], [0.0, 0.35, 0.3], [-0.3, 0.45, 0.2], [0.3, 0.45, 0.2]])
    reach = max(1, round(0.06 * pose.unit))
    height, width = image.shape[:2]
    pixels = []
    for x, y in np.rint(pose.project(spots)).astype(int).tolist():
        if 0 <= x < width and 0 <= y < height:
            pixels.append(image[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].reshape(-1, 3))
    if not pixels:
        return np.array([110, 130, 170], np.float32)
    return np.asarray(np.percentile(np.concatenate(pixels), 60, axis=0), np.float32)
