"""Cloth seen flat: folds, pleats, seams, prints and fittings, made by rule and kept, a handful for each kind.

A texture is square: columns run from the picture's left side of the mask to its right, rows from its upper to its
lower edge.  Its three channels are ``RELIEF`` (brightness of folds: 128 as the flat cloth, 255 twice that),
``PRINT`` (share of the second colour) and ``FITTING`` (share of wire, valve or clip), each 0..255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.synthetic_masks.kinds import MaskKind

SIZE = 192
"""Side of a texture in texels."""
VARIANTS = 24
"""Textures of each kind; where they lie, and their colours, are drawn for each mask anew."""
RELIEF, PRINT, FITTING = range(3)

Layer = NDArray[np.float32]
"""(SIZE, SIZE) of one value per texel."""
Sheet = tuple[Layer, Layer, Layer]
"""Relief around 1, print and fitting 0..1."""


@dataclass(frozen=True, slots=True)
class Texture:
    """``levels`` are (side, side, 3) uint8, each of half the side of the one before; read-only."""

    levels: tuple[NDArray[np.uint8], ...]
    printed: bool
    fitted: bool


@lru_cache(maxsize=2 * VARIANTS * len(MaskKind))
def texture(kind: MaskKind, variant: int) -> Texture:
    """The texture of that number, down to an eighth of its size."""
    rng = np.random.default_rng([variant, list(MaskKind).index(kind), SIZE])
    relief, printed, fitting = MAKERS[kind](rng, variant)
    sheet = np.stack([relief * 127.5, printed * 255, fitting * 255], axis=-1)
    levels = [np.clip(sheet, 0, 255).round().astype(np.uint8)]
    while len(levels) < 4:
        side = SIZE >> len(levels)
        levels.append(np.asarray(cv2.resize(levels[0], (side, side), interpolation=cv2.INTER_AREA), np.uint8))
    for level in levels:
        level.flags.writeable = False
    return Texture(tuple(levels), bool(printed.any()), bool(fitting.any()))


def _grid() -> tuple[Layer, Layer]:
    """S (-1 left .. 1 right) and t (0 upper .. 1 lower edge) of every texel."""
    t, s = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / (SIZE - 1)
    return 2 * s - 1, t


def _band(x: Layer, middle: Layer | float, width: float) -> Layer:
    return np.asarray(np.exp(-(((x - middle) / width) ** 2)), np.float32)


def _fold(away: Layer, width: float) -> Layer:
    """A rounded fold along ``away`` = 0: bright above, dark below, from -1 to 1."""
    x = away / np.float32(width)
    return np.asarray(-2.33 * x * np.exp(-2 * x * x), np.float32)


def _noise(rng: Generator, cells: tuple[int, int], strength: float) -> Layer:
    """Smooth noise of so many cells down and across, standard deviation ``strength``."""
    coarse = rng.normal(0, strength, cells).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.float32)


def _weave(rng: Generator, strength: float) -> Layer:
    grain = rng.normal(0, strength, (SIZE, SIZE)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.6) * 1.8, np.float32)


def _creases(rng: Generator, count: int, strength: float, slope: float = 0.15) -> Layer:
    """Soft random folds, each of its own reach, around 0."""
    s, t = _grid()
    relief = np.zeros_like(s)
    for _ in range(count):
        line = rng.uniform(0.05, 0.95) + rng.normal(0, slope) * s + rng.normal(0, 0.12) * s**2
        reach = _band(s, float(rng.uniform(-0.9, 0.9)), float(rng.uniform(0.25, 0.7)))
        relief += rng.uniform(0.4, 1) * strength * reach * _fold(t - line, float(rng.uniform(0.03, 0.08)))
    return relief


def _pulls(rng: Generator, strength: float) -> Layer:
    """Folds that run from the corners, where the straps pull, towards the middle."""
    s, t = _grid()
    relief = np.zeros_like(s)
    for side in (-1, 1):
        for corner in (0.08, 0.92):
            angle = np.arctan2(t - corner, (1.06 - side * s) * 0.55)
            away = np.hypot(t - corner, (1.06 - side * s) * 0.55)
            for _ in range(2):
                middle = rng.uniform(0.05, 0.7) * (1 if corner < 0.5 else -1)
                wide = rng.uniform(0.05, 0.12)
                relief += strength * rng.uniform(0.3, 1) * _fold(angle - middle, wide) * _band(away, 0.15, 0.32)
    return relief


def _hem(s: Layer, t: Layer, depth: float, width: float = 0.012) -> Layer:
    """Where a seam runs round at ``depth`` from the edges, 0..1."""
    lines = _band(t, depth, width) + _band(t, 1 - depth, width) + _band(np.abs(s), 1 - depth, width)
    return np.asarray(np.minimum(lines, 1), np.float32)


def _blank() -> Layer:
    return np.zeros((SIZE, SIZE), np.float32)


def _pleated(rng: Generator, _: int) -> Sheet:
    s, t = _grid()
    relief = 1 + _creases(rng, 9, 0.05) + _pulls(rng, 0.10) + _weave(rng, 0.012) + _noise(rng, (5, 5), 0.018)
    count = int(rng.integers(2, 4))
    sag = rng.uniform(0.02, 0.1)
    for number in range(count):
        middle = 0.5 + (number - (count - 1) / 2) * rng.uniform(0.17, 0.22)
        # A pleat opens over the mouth: its line sags in the middle, and the cloth above bulges over it.
        line = middle + sag * (1 - s**2) * (0.3 + middle) + rng.normal(0, 0.012) + rng.normal(0, 0.012) * s
        line = line + 0.010 * np.sin(3 * s + rng.uniform(0, 6))
        open_ = 0.75 + 0.25 * _band(s, float(rng.normal(0, 0.3)), 0.6)
        away = t - line
        depth = rng.uniform(0.7, 1.2)
        relief -= depth * 0.24 * _band(away, 0.010, 0.011) * open_
        relief -= depth * 0.09 * np.where(away > 0, np.exp(-np.maximum(away, 0) / 0.055), 0) * open_
        relief += depth * 0.07 * np.where(away < 0, np.exp(np.minimum(away, 0) / 0.035), 0)
    dots = 0.6 + 0.4 * np.sin(150 * s) * np.sin(150 * t)
    relief -= 0.09 * _hem(s, t, 0.035, 0.010) * dots
    relief -= 0.05 * _band(np.abs(s), 0.985, 0.02)
    wire = 0.055 + rng.normal(0, 0.008)
    relief += 0.09 * _fold(t - wire - 0.01, 0.022) * _band(s, 0.0, 0.34)
    return np.asarray(relief, np.float32), _blank(), _blank()


def _respirator(rng: Generator, variant: int) -> Sheet:
    """Even numbers: a KN95, folded upright with a welded seam down the middle; odd ones: a moulded N95 cup."""
    s, t = _grid()
    relief = 1 + _weave(rng, 0.018) + _noise(rng, (6, 6), 0.014) + _pulls(rng, 0.05)
    fitting = _blank()
    if variant % 2 == 0:
        side = rng.normal(0, 0.035)
        relief += side * np.tanh(s / 0.02) * _band(s, 0, 0.6)
        relief += 0.10 * _fold(s - 0.004, 0.03) - 0.14 * _band(s, 0.0, 0.010)
        relief += 0.09 * _fold(np.abs(s) - 0.55 + 0.2 * t, 0.07) * _band(t, 0.75, 0.3)
        rim = _hem(s, t, 0.05, 0.02)
        relief -= 0.08 * rim * (0.5 + 0.5 * np.sin(190 * np.where(np.abs(s) > 0.9, t, s / 2)))
        relief += _creases(rng, 4, 0.05, 0.3)
    else:
        dome = 1 - ((s / 0.95) ** 2 + ((t - 0.5) / 0.52) ** 2)
        relief += 0.06 * np.clip(dome, -0.6, 1)
        seam = 0.36 + 0.05 * (1 - s**2)
        relief += 0.10 * _fold(t - seam, 0.03) - 0.08 * _band(t, seam, 0.008)
        if rng.random() < 0.5:
            relief += 0.08 * _fold(t - 0.72 + 0.03 * s**2, 0.03)
        rim = np.maximum(np.abs(s) - 0.9, 0) / 0.1 + np.maximum(np.abs(t - 0.5) - 0.455, 0) / 0.045
        relief -= 0.09 * np.clip(rim, 0, 1)
        relief -= 0.05 * (rim > 0) * np.sin(170 * np.where(np.abs(s) > 0.9, t, s / 2))
    if rng.random() < 0.6:
        fitting = 0.85 * _band(t, 0.075 + 0.03 * s**2, 0.024) * np.clip((0.3 - np.abs(s)) * 40, 0, 1)
        relief += 0.16 * _fold(t - 0.075 - 0.03 * s**2, 0.03) * np.clip((0.3 - np.abs(s)) * 40, 0, 1)
    return np.asarray(relief, np.float32), _blank(), np.asarray(fitting, np.float32)


def _valved(rng: Generator, variant: int) -> Sheet:
    relief, printed, fitting = _respirator(rng, variant)
    s, t = _grid()
    # On one side of a folded mask, in the middle of a moulded one.
    place = float(rng.uniform(0.34, 0.46)) * rng.choice([-1, 1]) if variant % 2 == 0 or rng.random() < 0.3 else 0.0
    height = float(rng.uniform(0.52, 0.62))
    width, tall = (float(rng.uniform(0.17, 0.22)), float(rng.uniform(0.12, 0.15)))
    power = 2 if rng.random() < 0.6 else 5  # round, or square with round corners
    x, y = np.abs(s - place) / width, (t - height) / tall
    away = np.asarray((x**power + np.abs(y) ** power) ** (1 / power), np.float32)
    cap = np.clip((1 - away) * 12, 0, 1)
    slots = 0.22 * (np.sin(y * 9.5) > 0.35) * np.clip((0.72 - away) * 14, 0, 1)
    shaded = 1.02 - 0.16 * y - slots + 0.16 * _band(away, 0.86, 0.07) * (-np.sign(y))
    relief = relief * (1 - cap) + shaded * cap
    relief -= 0.34 * _band(away, 1.03, 0.05) + 0.16 * _band(t, height + tall * 1.15, 0.06) * _band(s, place, width)
    return np.asarray(relief, np.float32), printed, np.asarray(np.maximum(fitting, cap), np.float32)


def _figure(rng: Generator, number: int) -> Layer:
    """A print: share of the second colour."""
    s, t = _grid()
    scale = float(rng.uniform(8, 17))
    turn = rng.uniform(-0.5, 0.5)
    a, b = np.cos(turn) * s - np.sin(turn) * t * 1.1, np.sin(turn) * s + np.cos(turn) * t * 1.1
    match number % 8:
        case 0 | 1:
            return _blank()
        case 2:  # gingham
            figure = 0.5 * (np.sin(scale * 1.4 * s) > 0) + 0.5 * (np.sin(scale * 1.5 * t) > 0)
        case 3:
            figure = np.hypot(np.sin(scale * a), np.sin(scale * b)) < 0.55
        case 4:
            figure = np.sin(scale * 1.5 * (a + (0.3 * b if rng.random() < 0.5 else b))) > rng.uniform(-0.4, 0.5)
        case 5:  # camouflage
            figure = _noise(rng, (9, 13), 1) + 0.5 * _noise(rng, (18, 26), 1) > rng.uniform(-0.2, 0.5)
        case 6:  # flowers
            figure = _blank()
            for _ in range(int(rng.integers(18, 40))):
                x, y, r = rng.uniform(0, SIZE), rng.uniform(0, SIZE), rng.uniform(3, 9)
                for petal in np.linspace(0, 2 * np.pi, 5, endpoint=False):
                    at = round(x + r * np.cos(petal) * 0.6), round(y + r * np.sin(petal))
                    cv2.ellipse(figure, at, (max(1, round(r * 0.35)), max(1, round(r * 0.6))), 0, 0, 360, 1.0, -1)
                cv2.circle(figure, (round(x), round(y)), max(1, round(r * 0.3)), 0.0, -1)
        case _:  # scrolls, as on a bandana
            waves = _noise(rng, (7, 9), 1.0)
            figure = np.sin(9 * waves + 2 * np.sin(scale * a) * np.sin(scale * b)) > 0.35
    # A little blur, as printed cloth has, and against moiré.
    return np.asarray(cv2.GaussianBlur(np.asarray(figure, np.float32), (0, 0), 1.1), np.float32)


def _sewn(rng: Generator, variant: int) -> Sheet:
    s, t = _grid()
    relief = 1 + _creases(rng, 9, 0.09) + _pulls(rng, 0.12) + _weave(rng, 0.03) + _noise(rng, (4, 4), 0.03)
    if rng.random() < 0.6:
        bow = 0.03 * rng.normal()
        relief += 0.10 * _fold(s - bow * t, 0.035) - 0.16 * _band(s, bow * t, 0.010)
    stitches = 0.6 + 0.4 * np.sin(210 * np.where(np.abs(s) > 0.93, t, s / 2))
    relief -= 0.12 * _hem(s, t, 0.05, 0.010) * stitches
    printed = _figure(rng, variant)
    if rng.random() < 0.3:  # a border of the second colour
        printed = np.maximum(printed, np.clip((0.06 - np.minimum(np.minimum(t, 1 - t), 1 - np.abs(s))) * 80, 0, 1))
    return np.asarray(relief, np.float32), np.asarray(printed, np.float32), _blank()


def _sponge(rng: Generator, _: int) -> Sheet:
    s, t = _grid()
    relief = 1 + _creases(rng, 4, 0.10) + _weave(rng, 0.022) + _noise(rng, (4, 4), 0.04)
    for side in (-1, 1):
        away = t - 0.45 - 0.3 * (side * s - 0.5)
        relief += 0.22 * rng.uniform(0.4, 1) * _fold(away, 0.09) * _band(s, side * 0.6, 0.2)
    relief += 0.20 * _fold(s, 0.04) - 0.30 * _band(s, 0.0, 0.009)
    relief += 0.25 * (_band(t, 0.012, 0.012) + 0.5 * _band(t, 0.988, 0.012))
    return np.asarray(relief, np.float32), _blank(), _blank()


def _tube(rng: Generator, variant: int) -> Sheet:
    s, t = _grid()
    relief = 1 + _creases(rng, 22, 0.13, 0.08) + _weave(rng, 0.03) + _noise(rng, (6, 3), 0.03)
    for _ in range(4):  # it bunches up on the neck
        line = rng.uniform(0.62, 0.95) + rng.uniform(0.02, 0.1) * (1 - s**2) + rng.normal(0, 0.03) * s
        relief += rng.uniform(0.12, 0.28) * _fold(t - line, float(rng.uniform(0.03, 0.06)))
    relief -= 0.12 * _band(t, 0.03, 0.010)
    return np.asarray(relief, np.float32), _figure(rng, variant) if variant % 3 == 0 else _blank(), _blank()


MAKERS: dict[MaskKind, Callable[[Generator, int], Sheet]] = {
    MaskKind.SURGICAL_BLUE: _pleated,
    MaskKind.SURGICAL_WHITE: _pleated,
    MaskKind.N95: _respirator,
    MaskKind.VALVE: _valved,
    MaskKind.CLOTH: _sewn,
    MaskKind.BLACK: lambda rng, variant: (_pleated if variant % 3 == 0 else _sponge)(rng, variant),
    MaskKind.GAITER: _tube,
}
