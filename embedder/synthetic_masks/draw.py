"""One mask onto one face: the cloth is laid over a head model, seen as the landmarks say, and lit as the face is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image, Points
from embedder.synthetic_masks.fabric import SIZE, Cut, Fabric, MaskKind, Straps, make_fabric
from embedder.synthetic_masks.head import Floats, Pose, fit_pose

ACROSS, DOWN = 29, 19
"""Vertices of the cloth's mesh."""
FINER, COARSEST, FINEST = 1.7, 40.0, 88.0
"""A mask is drawn so many times finer than the picture, within these pixels per eye distance, and then scaled to
it: that smooths its edges and bounds the work."""
LIGHT = np.array([0.0, -0.42, 0.91])
"""Towards the light, for the cloth's own shape: from above and ahead.  The face's light comes on top."""


def draw_mask(image: Image, landmarks: Points, kind: MaskKind, seed: int) -> Image:
    """A copy of the (H, W, 3) uint8 BGR ``image`` whose face wears a mask of ``kind`` from nose to below the chin.

    ``landmarks`` (5, 2) are the face's, in the detector's order.  ``seed`` draws colour, folds and how high the
    mask sits: equal seeds give equal masks, and the same mask on another picture of the same person.  What lies
    outside of the picture is cut off.  Raises ``ValueError`` for another image type, or landmarks that no face
    can have.  Pure; costs a few milliseconds.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        message = f"a mask is drawn on (H, W, 3) uint8, not on {image.shape} {image.dtype}"
        raise ValueError(message)
    pose = fit_pose(landmarks)
    fabric = make_fabric(kind, np.random.default_rng([seed, list(MaskKind).index(kind)]))
    mesh = _drape(fabric.cut)
    placed = pose.project(mesh)
    box = _region(placed, pose, image.shape)
    if box is None:
        return image.copy()
    left, top, right, bottom = box
    patch = image[top:bottom, left:right]
    drawn_unit = float(np.clip(FINER * pose.unit, COARSEST, FINEST))
    scale = drawn_unit / pose.unit
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    to_drawn = np.array([size[0] / (right - left), size[1] / (bottom - top)])

    def drawn(points: Floats) -> Floats:
        return np.asarray((points - (left, top) + 0.5) * to_drawn - 0.5)

    shaded = fabric.colour * (fabric.relief * _lambert(mesh, pose))[..., None]
    layer = _rasterise(drawn(placed), pose.turned(mesh)[..., 2], shaded, size)
    lines = [drawn(line) for line in _strap_lines(fabric.straps, mesh, pose)]
    layer = _with_straps(layer, fabric, lines, fabric.strap_width * drawn_unit)
    shrink = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    fitted = cv2.resize(layer, (right - left, bottom - top), interpolation=shrink)
    result = image.copy()
    result[top:bottom, left:right] = _composed(patch, np.asarray(fitted, np.float32), pose)
    return result


def _drape(cut: Cut) -> Floats:
    """(DOWN, ACROSS, 3) the cloth's surface on the head."""
    s, t = np.meshgrid(np.linspace(-1, 1, ACROSS), np.linspace(0, 1, DOWN))
    beside = np.abs(s)
    # The upper edge falls steeply beside the nose and then runs flat to the temple.
    upper = cut.nose + (cut.temple - cut.nose) * (1 - np.exp(-3.2 * beside)) / (1 - np.exp(-3.2))
    upper = upper - cut.dip * np.sin(np.pi * np.clip(beside - 0.35, 0, 0.65) / 0.65)
    lower = cut.jaw + (cut.chin - cut.jaw) * (1 - beside**2.4)
    y = upper + (lower - upper) * t
    x = s * cut.side * (1 - cut.taper * t**2)
    z = -1.2 + 1.3 * np.sqrt(np.clip(1 - (x / 1.16) ** 2, 0, 1))
    height = np.interp(y, [0.2, 0.6, 1.1, 1.7, 2.05, 2.8], [0.16, 0.42, 0.30, 0.12, -0.2, -0.5])
    width = np.interp(y, [0.2, 0.6, 1.1, 1.8], [0.22, 0.34, 0.5, 0.6])
    z = z + cut.tent * height * np.exp(-((x / width) ** 2))
    return np.stack([x, y, z], axis=-1)


def _lambert(mesh: Floats, pose: Pose) -> NDArray[np.float32]:
    """(SIZE, SIZE) how much light the cloth's shape takes, around 1."""
    seen = pose.turned(mesh)
    normal = np.cross(np.gradient(seen, axis=1), np.gradient(seen, axis=0))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    light = (0.58 + 0.46 * np.clip(normal @ LIGHT, 0, 1)).astype(np.float32)
    return np.asarray(cv2.resize(light, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.float32)


def _region(placed: Floats, pose: Pose, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the part of the picture that mask, straps and shadow touch; None if outside."""
    margin = 0.7 * pose.unit
    low = np.floor(placed.reshape(-1, 2).min(axis=0) - margin).astype(int)
    high = np.ceil(placed.reshape(-1, 2).max(axis=0) + margin).astype(int)
    left, top = np.maximum(low, 0).tolist()
    right, bottom = np.minimum(high, (shape[1], shape[0])).tolist()
    return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None


def _rasterise(
    placed: Floats, depth: Floats, texture: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float32]:
    """(h, w, 4) colour and coverage of the mesh ``placed`` (DOWN, ACROSS, 2), nearer triangles over farther ones."""
    rows, columns = np.mgrid[: DOWN - 1, : ACROSS - 1].reshape(2, -1)
    here = rows * ACROSS + columns
    triangles = np.concatenate(
        [
            np.stack([here, here + 1, here + ACROSS], axis=1),
            np.stack([here + 1, here + ACROSS + 1, here + ACROSS], axis=1),
        ]
    )
    triangles = triangles[np.argsort(depth.ravel()[triangles].mean(axis=1), kind="stable")]
    corners = placed.reshape(-1, 2)[triangles]
    owner = np.full((size[1], size[0]), -1, np.int32)
    fixed = np.rint(corners * 16).astype(np.int32)
    for number, triangle in enumerate(fixed):
        cv2.fillConvexPoly(owner, triangle, number, cv2.LINE_8, 4)
    t, s = np.mgrid[:DOWN, :ACROSS].astype(np.float64)
    texels = np.stack([s * (SIZE - 1) / (ACROSS - 1), t * (SIZE - 1) / (DOWN - 1)], axis=-1).reshape(-1, 2)[triangles]
    known = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2)
    known[:, 2, 2] += 1e-9  # a triangle seen edge-on has no inverse; it covers next to nothing
    flat = np.abs(np.linalg.det(known)) < 1e-6
    known[flat] = np.eye(3)
    to_texel = np.linalg.solve(known, texels)
    y, x = np.nonzero(owner >= 0)
    matrix = to_texel[owner[y, x]]
    place = np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float64)
    at = np.einsum("ni,nij->nj", place, matrix).astype(np.float32)
    texel_x, texel_y = np.full((2, size[1], size[0]), -1, np.float32)
    texel_x[y, x], texel_y[y, x] = np.clip(at, 0, SIZE - 1).T
    colour = cv2.remap(texture, texel_x, texel_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    coverage = (owner >= 0).astype(np.float32)
    layer = np.empty((size[1], size[0], 4), np.float32)
    layer[..., :3] = colour
    layer[..., 3] = coverage
    layer[coverage == 0, :3] = 0
    return layer


def _with_straps(layer: NDArray[np.float32], fabric: Fabric, lines: list[Floats], width: float) -> NDArray[np.float32]:
    """``layer`` with straps along ``lines`` ((n, 2) pixels each) beneath the cloth."""
    strap = np.zeros(layer.shape[:2], np.float32)
    for line in lines:
        points = np.rint(line * 16).astype(np.int32)
        cv2.polylines(strap, [points], False, 1.0, max(1, round(width)), cv2.LINE_AA, 4)
    strap = np.clip(strap, 0, 1) * (1 - layer[..., 3])
    # Rounder than a ribbon: its edges are darker than its middle.
    inner = cv2.GaussianBlur(strap, (0, 0), max(0.6, width / 3))[..., None]
    colour = np.array(fabric.strap_colour, np.float32) * (0.45 + 0.5 * inner)
    layer = layer.copy()
    layer[..., :3] += colour * strap[..., None]
    layer[..., 3] += strap
    return layer


def _strap_lines(straps: Straps, mesh: Floats, pose: Pose) -> list[Floats]:
    """The straps' (n, 2) ways in the picture, from the mask's sides to the ears; not those behind the head."""
    lines = []
    for side, column in ((-1.0, 0), (1.0, ACROSS - 1)):
        upper, lower = mesh[1, column], mesh[DOWN - 2, column]
        ear_top, ear_foot = np.array([side * 1.12, 0.12, -1.2]), np.array([side * 1.07, 0.72, -1.2])
        match straps:
            case Straps.EAR_LOOPS:
                ways = [(upper, ear_top), (lower, ear_foot)]
            case Straps.HEAD_BANDS:
                nape = np.array([side * 1.02, 1.0, -1.2])
                ways = [(mesh[DOWN // 4, column], ear_top), (mesh[3 * DOWN // 4, column], nape)]
            case Straps.NONE:
                ways = []
        for start, end in ways:
            along = np.linspace(0, 1, 9)[:, None]
            # Stretched over the cheek, a strap bulges with it.
            bulge = np.array([side * 0.05, 0, 0]) * np.sin(np.pi * along)
            line = pose.project(start + (end - start) * along + bulge)
            outward = float((line[-1] - line[0]) @ pose.matrix[:, 0]) * side
            if outward > 0:
                lines.append(line)
    return lines


def _composed(patch: Image, layer: NDArray[np.float32], pose: Pose) -> Image:
    """The mask ``layer`` (h, w, 4) over ``patch`` (h, w, 3), in the light that falls on the covered face."""
    under = patch.astype(np.float32)
    coverage = np.clip(layer[..., 3:], 0, 1)
    light = _light(under, coverage[..., 0], pose.unit)
    shadow = cv2.GaussianBlur(coverage[..., 0], (0, 0), max(0.5, 0.06 * pose.unit))
    down = np.array([[1, 0, 0], [0, 1, 0.03 * pose.unit]])
    shadow = cv2.warpAffine(shadow, down, (patch.shape[1], patch.shape[0]))
    skin = under * (1 - 0.32 * np.clip(shadow, 0, 1)[..., None])
    return np.asarray(np.clip(skin * (1 - coverage) + layer[..., :3] * light, 0, 255).round(), np.uint8)


def _light(under: NDArray[np.float32], coverage: NDArray[np.float32], unit: float) -> NDArray[np.float32]:
    """(h, w, 3) by which a reflectance of 1 is multiplied: the face's own shades without its features.

    The brightest parts around (eye whites, teeth, collar) tell how strong and of what colour the light is, so
    that a white mask is as white on dark skin as on light skin.
    """
    grey = cv2.cvtColor(under, cv2.COLOR_BGR2GRAY)
    bright = under[grey >= np.percentile(grey, 96)].reshape(-1, 3)
    white = bright.mean(axis=0)
    level = float(np.clip(white.mean() * 1.04, 24, 250))
    cast = (white / max(float(white.mean()), 1.0)) ** 0.35
    weight = coverage + 1e-3
    sigma = max(1.0, 0.3 * unit)
    smooth = cv2.GaussianBlur(grey * weight, (0, 0), sigma) / cv2.GaussianBlur(weight, (0, 0), sigma)
    inside = smooth[coverage > 0.5]
    usual = float(np.percentile(inside, 75)) if inside.size else float(smooth.mean())
    shade = np.clip(smooth / max(usual, 1.0), 0.3, 1.2) ** 0.8
    return np.asarray(level * shade[..., None] * cast, np.float32)
