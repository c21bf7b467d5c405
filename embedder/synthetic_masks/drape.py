"""Where the cloth of a mask is seen: for every pixel its place on the cloth, how far inside it is, and its light.

A picture is drawn by going from its pixels to the cloth, and not the other way round: on a grid of few cells,
which is then stretched over the pixels, and which costs the same for a face of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.synthetic_masks.head import ANGLES, COLUMNS, HEIGHTS, ROWS, Floats, Pose, surface

Plane = NDArray[np.float32]
"""(h, w) of one value per pixel."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

GRID = 52
"""Cells a side of the grid that is stretched over the pixels."""
BEYOND = 0.12
"""Eye distances around the cloth that the grid goes on, for its edge."""
AMBIENT, DIRECT = 0.58, 0.52
FAR = 1e4
EAR_PLACE = (0.86, 0.58)
"""The hole for an ear: s and y."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a mask's edges lie, in eye distances (see ``head``), and how the cloth stands off.

    ``nose`` and ``chin`` are y of the upper and lower edge on the middle line, ``temple`` and ``jaw`` at the
    sides, ``side`` the angle in degrees at which these are.  ``dip`` draws the upper edge down beside the nose.
    ``tent`` scales how far nose and lips lift the cloth.  ``ears`` makes the cloth run on to the ears by itself,
    with a hole of that many eye distances around each; there is none at 0.
    """

    nose: float = 0.3
    temple: float = 0.6
    dip: float = 0.06
    chin: float = 2.05
    jaw: float = 1.35
    side: float = 62.0
    tent: float = 1.0
    ears: float = 0.0


@dataclass(frozen=True, slots=True)
class Draped:
    """Cloth over a part of the picture, per pixel of ``box``.

    ``across`` and ``down`` are the place on the cloth, 0..1 from the picture's left and from the upper edge;
    ``inside`` pixels to the nearest edge, negative outside; ``light`` what its own shape takes of it, around 1.
    """

    box: Box
    across: Plane
    down: Plane
    inside: Plane
    light: Plane


def edges(cut: Cut, s: Floats) -> tuple[Floats, Floats]:
    """Y of the upper and lower edge at ``s``, -1 right side .. 1 left side; beyond, as at the side."""
    beside = np.minimum(np.abs(s), 1.0)
    fall = (1 - np.exp(-2.6 * beside**1.15)) / (1 - np.exp(-2.6))
    upper = cut.nose + (cut.temple - cut.nose) * fall
    upper = upper - cut.dip * np.sin(np.pi * np.clip((beside - 0.3) / 0.7, 0, 1))
    lower = cut.jaw + (cut.chin - cut.jaw) * (1 - beside**2.2)
    return upper, lower


def drape(cut: Cut, pose: Pose, shape: tuple[int, ...], sun: Floats, margin: float) -> Draped | None:
    """The cloth of ``cut`` on the head of ``pose``; None when nothing of it is within a picture of ``shape``.

    ``sun`` (3,) is the direction of light in head coordinates; the box reaches ``margin`` eye distances beyond.
    """
    points, normals = surface(cut.tent)
    view = pose.upright @ pose.matrix / pose.unit
    seen = points @ view.T
    s = ANGLES / np.radians(cut.side)
    upper, lower = edges(cut, s)
    y = HEIGHTS[:, None]
    worn = (y > upper - 0.14) & (y < lower + 0.14) & (np.abs(s) < 1.1)
    low, high = seen[worn].min(axis=0) - BEYOND, seen[worn].max(axis=0) + BEYOND
    box = _box(low, high, pose, shape, margin)
    if box is None:
        return None
    columns, rows, outside = _inverse(seen, low, high)
    light = AMBIENT + DIRECT * np.clip(normals @ (sun / np.linalg.norm(sun)), 0, 1)
    mesh = np.empty((ROWS, COLUMNS, 4), np.float32)
    mesh[..., 0], mesh[..., 1] = s, (y - upper) / (lower - upper)
    mesh[..., 2], mesh[..., 3] = lower - upper, light
    found = cv2.remap(mesh, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    step = (high - low) / (GRID - 1)
    cells = _cells(cut, np.asarray(found, np.float32), outside, step)
    # The middle of cell (0, 0) lies at ``low``: from pixels of the box to the grid.
    to_grid = pose.upright / pose.unit / step[:, None]
    shift = (pose.upright @ (np.array(box[:2]) - pose.origin) / pose.unit - low) / step
    stretched = cv2.warpAffine(
        cells,
        np.column_stack([to_grid, shift]),
        (box[2] - box[0], box[3] - box[1]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, -FAR, 1),
    )
    across, down, inside, shade = cv2.split(stretched)
    return Draped(
        box, np.asarray(across), np.asarray(down), np.asarray(inside * np.float32(pose.unit)), np.asarray(shade)
    )


def _cells(cut: Cut, found: NDArray[np.float32], outside: Plane, step: Floats) -> NDArray[np.float32]:
    """(GRID, GRID, 4) across, down, inside in eye distances, light of the grid's cells.

    ``found`` (GRID, GRID, 4) are s, down, how far the edges are apart there, and light.
    """
    s, down, tall = found[..., 0], found[..., 1], found[..., 2]
    beside = np.abs(s)
    inside = np.minimum(_distance(np.minimum(down, 1 - down) * tall, step), _distance(1 - beside, step))
    if cut.ears > 0:
        upper, _ = edges(cut, np.array([EAR_PLACE[0]]))
        y = down * tall + np.float32(upper[0])
        away = np.hypot((beside - EAR_PLACE[0]) / (0.62 * cut.ears), (y - EAR_PLACE[1]) / (1.15 * cut.ears))
        inside = np.minimum(inside, _distance(away - 1, step))
    found[..., 0] = (s + 1) / 2
    found[..., 2] = np.minimum(inside, -outside)
    return found


def _distance(field: Plane, step: Floats) -> Plane:
    """Eye distances in the picture to where ``field`` on the grid is 0, of its sign: the field over its slope."""
    right, down = np.empty_like(field), np.empty_like(field)
    right[:, 1:-1] = (field[:, 2:] - field[:, :-2]) / np.float32(2 * step[0])
    down[1:-1] = (field[2:] - field[:-2]) / np.float32(2 * step[1])
    right[:, 0], right[:, -1], down[0], down[-1] = right[:, 1], right[:, -2], down[1], down[-2]
    return np.asarray(field / np.maximum(np.sqrt(right * right + down * down), 0.25), np.float32)


def _box(low: Floats, high: Floats, pose: Pose, shape: tuple[int, ...], margin: float) -> Box | None:
    """The part of the picture between ``low`` and ``high`` (eye distances, upright) and ``margin`` around it."""
    low, high = low - margin, high + margin
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [low[0], high[1]], [high[0], high[1]]])
    pixels = corners @ pose.upright * pose.unit + pose.origin
    left, top = (max(0, int(value)) for value in np.floor(pixels.min(axis=0)))
    right, bottom = (int(value) for value in np.ceil(pixels.max(axis=0)))
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None


def _inverse(seen: Floats, low: Floats, high: Floats) -> tuple[Plane, Plane, Plane]:
    """For each cell of the grid from ``low`` to ``high`` the column and row of the surface that is seen there.

    The third is how far the cell lies beyond the surface's outline, negative within.  ``seen`` (ROWS, COLUMNS, 2).
    In two passes, along the columns and then along the rows, each of which rises: where the surface turns away
    from the camera or hides behind the nose, the nearer part stands for it.
    """
    v = np.maximum.accumulate(seen[..., 1], axis=0).T
    wanted = np.linspace(low[1], high[1], GRID)
    rows = _interpolated(v, wanted, np.arange(ROWS, dtype=np.float64))  # (COLUMNS, GRID)
    base = np.minimum(rows.astype(np.intp), ROWS - 2)
    share = rows - base
    pick = np.arange(COLUMNS)[:, None]
    u = (seen[base, pick, 0] * (1 - share) + seen[base + 1, pick, 0] * share).T  # (GRID, COLUMNS)
    half = COLUMNS // 2
    rising = np.empty_like(u)
    rising[:, half:] = np.maximum.accumulate(u[:, half:], axis=1)
    rising[:, half::-1] = np.minimum.accumulate(u[:, half::-1], axis=1)
    places = np.linspace(low[0], high[0], GRID)
    columns = _interpolated(rising, places, np.arange(COLUMNS, dtype=np.float64))  # (GRID, GRID)
    outside = np.maximum(places - rising[:, -1:], rising[:, :1] - places)
    left = np.minimum(columns.astype(np.intp), COLUMNS - 2)
    share = columns - left
    line = np.arange(GRID)[:, None]
    row = rows.T[line, left] * (1 - share) + rows.T[line, left + 1] * share
    return columns.astype(np.float32), row.astype(np.float32), outside.astype(np.float32)


def _interpolated(rising: Floats, wanted: Floats, values: Floats) -> Floats:
    """Per line of ``rising`` (n, m), where among ``values`` (m,) each of ``wanted`` (k,) falls: (n, k).

    All lines in one call: each is shifted past the one before.
    """
    reach = 4 * (np.abs(rising).max() + np.abs(wanted).max() + 1)
    shift = np.arange(len(rising))[:, None] * reach
    clipped = np.clip(wanted, rising[:, :1], rising[:, -1:])
    flat = np.interp((clipped + shift).ravel(), (rising + shift).ravel(), np.tile(values, len(rising)))
    return np.asarray(flat.reshape(len(rising), -1))
