"""One mask onto one face: the cloth is draped over a head model, seen as the landmarks say, and lit as the face is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image, Points
from embedder.synthetic_masks.drape import Draped, Plane, drape, edges
from embedder.synthetic_masks.fabric import Fabric, Straps, make_fabric
from embedder.synthetic_masks.head import Floats, Pose, fit_pose, on_surface
from embedder.synthetic_masks.kinds import MaskKind
from embedder.synthetic_masks.light import Light, read_light
from embedder.synthetic_masks.texture import FITTING, PRINT, RELIEF, SIZE

MARGIN = 0.2
"""Eye distances around the cloth that shadow and straps may touch."""
SHADOW = 0.30
"""By how much the skin beside a mask is darker."""


def draw_mask(image: Image, landmarks: Points, kind: MaskKind, seed: int) -> Image:
    """A copy of the (H, W, 3) uint8 BGR ``image`` whose face wears a mask of ``kind`` from nose to below the chin.

    ``landmarks`` (5, 2) are the face's, in the detector's order.  ``seed`` draws colour, folds and how high the
    mask sits: equal seeds give equal masks, and the same mask on another picture of the same person.  What lies
    outside of the picture is cut off.  Raises ``ValueError`` for another image type, or landmarks that no face
    can have.  Safe from several threads; about a millisecond or two for a face of 100 pixels.
    """
    check_image(image)
    pose = fit_pose(landmarks)
    fabric = make_fabric(kind, seed)
    sun = pose.towards() + fabric.sun
    cloth = drape(fabric.cut, pose, image.shape, sun, MARGIN)
    result = image.copy()
    if cloth is not None:
        left, top, right, bottom = cloth.box
        patch = image[top:bottom, left:right]
        result[top:bottom, left:right] = _worn(patch, cloth, fabric, pose)
    return result


def draw_masks(faces: Iterable[tuple[Image, Points]], kind: MaskKind, seed: int) -> Iterator[Image]:
    """``draw_mask`` for each picture and its landmarks, with seeds from ``seed`` on, as they are asked for."""
    for number, (image, landmarks) in enumerate(faces):
        yield draw_mask(image, landmarks, kind, seed + number)


def check_image(image: Image) -> None:
    """Raise ``ValueError`` unless ``image`` is (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        message = f"a mask is drawn on (H, W, 3) uint8, not on {image.shape} {image.dtype}"
        raise ValueError(message)


def _worn(patch: Image, cloth: Draped, fabric: Fabric, pose: Pose) -> Image:
    """``patch`` with the mask over it."""
    coverage = np.clip(cloth.inside * np.float32(0.8) + np.float32(0.5), 0, 1)
    light = read_light(patch, coverage)
    # Where the cloth touches it and below its rim the skin is in shadow.
    fall = np.clip(1 + cloth.inside * np.float32(1 / max(2.1, 0.17 * pose.unit)), 0, 1)
    skin = patch * (1 - np.float32(SHADOW) * fall * fall)[..., None]
    bright = light.bright
    straps = _straps(cloth, fabric, pose)
    if straps is not None:
        # Rounder than a ribbon: its edges are darker than its middle.
        tone = (bright * (0.6 + 0.32 * straps))[..., None] * light.on(fabric.strap_tone)
        skin = cv2.blendLinear(tone, skin, straps, 1 - straps)
    shown = cv2.blendLinear(_cloth(cloth, fabric, light, bright), skin, coverage, 1 - coverage)
    return np.asarray(cv2.convertScaleAbs(shown), np.uint8)


def _cloth(cloth: Draped, fabric: Fabric, light: Light, bright: Plane) -> NDArray[np.float32]:
    """(h, w, 3) the cloth in ``light``, of which ``bright`` falls on each pixel."""
    sheet = _looked_up(cloth, fabric)
    depth = np.float32(fabric.depth / 127.5)
    relief = np.maximum(sheet[..., RELIEF] * depth + np.float32(1 - fabric.depth), np.float32(0.1))
    tone = light.on(fabric.tone)
    if fabric.texture.printed:
        tone = tone + sheet[..., PRINT, None] * ((light.on(fabric.print_tone) - tone) / np.float32(255))
    if fabric.texture.fitted:
        share = sheet[..., FITTING, None] * np.float32(1 / 255)
        tone = tone + share * (light.on(fabric.fitting_tone) - tone)
    return np.asarray((relief * cloth.light * bright)[..., None] * tone, np.float32)


def _looked_up(cloth: Draped, fabric: Fabric) -> NDArray[np.uint8]:
    """(h, w, 3) of the texture under each pixel, from the size in which it is neither coarse nor noise."""
    levels = fabric.texture.levels
    span = float(np.ptp(cloth.across)) / max(cloth.across.shape)  # of the texture, per pixel
    level = min(max(int(np.log2(max(SIZE * span * 1.2, 1.0))), 0), len(levels) - 1)
    texels = levels[level]
    side = np.float32(texels.shape[0] - 1)
    across = (1 - cloth.across) * side if fabric.flipped else cloth.across * side
    by, more = fabric.bend
    # Its middle moves; its edges stay where they are.
    moved = np.float32(4 * (by - more)) + across * np.float32(8 * more / side)
    down = cloth.down + cloth.down * (1 - cloth.down) * moved
    return np.asarray(
        cv2.remap(texels, across, down * side, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _straps(cloth: Draped, fabric: Fabric, pose: Pose) -> Plane | None:
    """(h, w) how far each pixel is strap, 0..1."""
    if fabric.straps is Straps.NONE:
        return None
    width = fabric.strap_width * pose.unit
    drawn = np.zeros(cloth.inside.shape, np.uint8)
    strength = round(255 * min(1.0, max(0.35, width)))  # thinner than a pixel: fainter
    for line in _strap_lines(fabric, pose):
        points = np.rint((line - cloth.box[:2]) * 16).astype(np.int32)
        cv2.polylines(drawn, [points], False, strength, max(1, round(width)), cv2.LINE_AA, 4)
    return drawn * np.float32(1 / 255)


def _strap_lines(fabric: Fabric, pose: Pose) -> list[Floats]:
    """The straps' (n, 2) ways in the picture, from the mask's sides to the ears; not those behind the head."""
    upper, lower = edges(fabric.cut, np.ones(1))
    top, foot, side = float(upper[0]), float(lower[0]), 0.97 * float(np.radians(fabric.cut.side))
    if fabric.straps is Straps.EAR_LOOPS:
        starts, ends = np.array([top + 0.05, foot - 0.07]), np.array([0.10, 0.62])
    else:
        starts, ends = np.array([top + 0.12, foot - 0.12]), np.array([-0.05, 0.85])
    along = np.linspace(0, 1, 9)
    angles = side + (np.radians(88) - side) * along
    y = starts[:, None] + (ends - starts)[:, None] * along
    y, angles = np.concatenate([y, y]), np.array([[-1.0], [-1.0], [1.0], [1.0]]) * angles
    # Stretched over the cheek, a strap stands off it a little.
    lines = pose.project(on_surface(angles, y, 1.02))
    outward = np.diff(lines @ pose.upright[0], axis=1) * np.sign(angles[:, 1:]) > 0
    shown = np.where(outward.all(axis=1), outward.shape[1], outward.argmin(axis=1))
    return [line[: count + 1] for line, count in zip(lines, shown.tolist(), strict=True) if count]
