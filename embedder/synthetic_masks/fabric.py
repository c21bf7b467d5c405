"""What masks are made of: for each kind its cut (where its edges lie on the head), cloth, folds and straps.

A texture is square: columns run from the wearer's right ear (the picture's left) to the left one, rows from the
nose to below the chin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SIZE = 192
"""Side of a texture in texels."""

Layer = NDArray[np.float32]
"""(SIZE, SIZE) of one value per texel."""


class MaskKind(StrEnum):
    """The kinds of mask that can be drawn."""

    SURGICAL_BLUE = "surgical_blue"
    SURGICAL_WHITE = "surgical_white"
    N95 = "n95"
    CLOTH = "cloth"
    BLACK = "black"
    GAITER = "gaiter"


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the edges lie, in eye distances (see ``head``), and how far the cloth stands off.

    ``nose`` and ``chin`` are y of the upper and lower edge on the middle line, ``temple`` and ``jaw`` at the
    sides, ``side`` how far out these are.  ``dip`` draws the upper edge down beside the nose.  ``tent`` scales how
    far nose and chin lift the cloth, ``taper`` by which share it is narrower below.
    """

    nose: float = 0.3
    temple: float = 0.62
    dip: float = 0.1
    chin: float = 2.05
    jaw: float = 1.32
    side: float = 1.0
    tent: float = 1.0
    taper: float = 0.1


class Straps(StrEnum):
    """How the mask is held."""

    EAR_LOOPS = "ear_loops"
    HEAD_BANDS = "head_bands"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Fabric:
    """One made mask: ``colour`` (SIZE, SIZE, 3) reflectance, BGR 0..1; ``relief`` brightness of its folds, around 1."""

    cut: Cut
    colour: NDArray[np.float32]
    relief: Layer
    straps: Straps
    strap_colour: tuple[float, float, float]
    strap_width: float


def make_fabric(kind: MaskKind, rng: Generator) -> Fabric:
    """A mask of ``kind`` with the colours, folds and height that ``rng`` draws."""
    return MAKERS[kind](rng)


def _grid() -> tuple[Layer, Layer]:
    """S (-1 right ear .. 1 left ear) and t (0 upper .. 1 lower edge) of every texel."""
    t, s = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / (SIZE - 1)
    return 2 * s - 1, t


def _band(x: Layer, middle: NDArray[np.floating] | float, width: float) -> Layer:
    return np.asarray(np.exp(-(((x - middle) / width) ** 2)), np.float32)


def _noise(rng: Generator, cells: tuple[int, int], strength: float) -> Layer:
    """Smooth noise of so many cells down and across, standard deviation ``strength``."""
    coarse = rng.normal(0, strength, cells).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.float32)


def _weave(rng: Generator, strength: float) -> Layer:
    return np.asarray(1 + rng.normal(0, strength, (SIZE, SIZE)), np.float32)


def _creases(rng: Generator, count: int, strength: float) -> Layer:
    """Soft random folds: each a line with a bright and a dark flank."""
    s, t = _grid()
    relief = np.ones_like(s)
    for _ in range(count):
        middle, slope, bend = rng.uniform(0.1, 0.95), rng.normal(0, 0.12), rng.normal(0, 0.1)
        away = t - (middle + slope * s + bend * s**2)
        width = rng.uniform(0.02, 0.05)
        reach = _band(s, float(rng.uniform(-0.8, 0.8)), rng.uniform(0.3, 0.8))
        relief -= strength * reach * (away / width) * np.exp(-((away / width) ** 2))
    return np.asarray(relief, np.float32)


def _plain(bgr: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.full((SIZE, SIZE, 3), bgr, np.float32)


def _jitter(rng: Generator, bgr: tuple[float, float, float], by: float) -> tuple[float, float, float]:
    b, g, r = (float(np.clip(value + rng.normal(0, by), 0.01, 1)) for value in bgr)
    return b, g, r


def _surgical(rng: Generator, bgr: tuple[float, float, float]) -> Fabric:
    s, t = _grid()
    relief = _creases(rng, 7, 0.05) * _weave(rng, 0.012) + _noise(rng, (5, 4), 0.012)
    for pleat in (0.3, 0.5, 0.7):
        # A pleat opens over the mouth: its line sags in the middle, and shades what lies below.
        line = pleat + 0.045 * (1 - s**2) + rng.normal(0, 0.01) + 0.01 * s * rng.normal()
        relief -= 0.26 * _band(t, line + 0.012, 0.014)
        relief += 0.10 * _band(t, line - 0.022, 0.02)
    seams = _band(t, 0.035, 0.008) + _band(t, 0.965, 0.008) + _band(np.abs(s), 0.94, 0.012)
    dots = 0.5 + 0.5 * np.sin(90 * np.where(np.abs(s) > 0.9, t, s) * 2)
    relief -= 0.12 * seams * dots
    relief += 0.10 * _band(t, 0.075, 0.02) * _band(s, 0.0, 0.22)  # the wire over the nose
    cut = Cut(
        nose=float(rng.uniform(0.2, 0.36)), temple=float(rng.uniform(0.55, 0.66)), jaw=float(rng.uniform(1.2, 1.36))
    )
    return Fabric(cut, _plain(_jitter(rng, bgr, 0.02)), relief, Straps.EAR_LOOPS, (0.9, 0.91, 0.92), 0.035)


def _n95(rng: Generator) -> Fabric:
    s, t = _grid()
    relief = _weave(rng, 0.018) + _noise(rng, (6, 6), 0.01)
    # Two panels meet in a welded seam across the middle; another weld runs round the rim.
    seam = 0.47 + 0.03 * (1 - s**2)
    relief -= 0.22 * _band(t, seam, 0.012)
    relief += 0.12 * _band(t, seam - 0.03, 0.02)
    rim = np.maximum(np.abs(s) - 0.86, 0) / 0.14 + np.maximum(np.abs(t - 0.5) - 0.45, 0) / 0.05
    relief -= 0.10 * np.clip(rim, 0, 1) * (0.6 + 0.4 * np.sin(160 * t))
    colour = _plain(_jitter(rng, (0.86, 0.89, 0.9), 0.015))
    clip = _band(t, 0.07, 0.022) * np.where(np.abs(s) < 0.28, 1, 0)
    colour = colour * (1 - 0.45 * clip[..., None])
    if rng.random() < 0.4:
        colour, relief = _with_valve(colour, relief, float(rng.uniform(0.3, 0.45) * rng.choice([-1, 1])))
    cut = Cut(nose=float(rng.uniform(0.2, 0.32)), temple=0.72, dip=0.05, jaw=1.22, chin=2.02, side=0.93, tent=1.3)
    return Fabric(
        cut, np.asarray(colour, np.float32), np.asarray(relief, np.float32), Straps.HEAD_BANDS, (0.55, 0.72, 0.78), 0.07
    )


def _with_valve(colour: NDArray[np.float32], relief: Layer, place: float) -> tuple[NDArray[np.float32], Layer]:
    s, t = _grid()
    away = np.hypot((s - place) / 0.17, (t - 0.56) / 0.13)
    cap = np.clip((1 - away) * 8, 0, 1)[..., None]
    ribs = 1 - 0.25 * (0.5 + 0.5 * np.sin(t * 110)) * (away < 0.75)
    shaded = (1 + 0.35 * (0.56 - t) / 0.13) * ribs - 0.35 * _band(np.asarray(away, np.float32), 1.0, 0.09)
    return np.asarray(colour * (1 - cap) + 0.8 * cap, np.float32), np.asarray(
        np.where(away < 1.15, shaded, relief), np.float32
    )


CLOTHS: tuple[tuple[float, float, float], ...] = (
    (0.45, 0.20, 0.14),
    (0.18, 0.20, 0.55),
    (0.22, 0.42, 0.24),
    (0.62, 0.62, 0.60),
    (0.25, 0.50, 0.68),
)


def _cloth(rng: Generator) -> Fabric:
    s, t = _grid()
    base = np.array(_jitter(rng, CLOTHS[rng.integers(len(CLOTHS))], 0.03), np.float32)
    second = np.clip(base + rng.choice([-0.14, 0.22]), 0.03, 0.9)
    scale = float(rng.uniform(9, 16))
    match rng.integers(4):
        case 0:
            figure = (np.sin(2 * scale * s) > 0.6) | (np.sin(2 * scale * t) > 0.6)
        case 1:
            figure = np.hypot(np.sin(scale * s), np.sin(scale * t)) < 0.5
        case 2:
            figure = np.sin(1.6 * scale * (s + t)) > 0
        case _:
            figure = np.zeros_like(s, bool)
    # A little blur, as printed cloth has, and against moiré.
    share = cv2.GaussianBlur(figure.astype(np.float32), (0, 0), 1.2)[..., None]
    colour = base * (1 - share) + second * share
    relief = _creases(rng, 12, 0.10) * _weave(rng, 0.03) + _noise(rng, (4, 4), 0.02)
    relief -= 0.22 * _band(s, 0.0, 0.012)
    relief -= 0.15 * (_band(t, 0.05, 0.01) + _band(t, 0.95, 0.01) + _band(np.abs(s), 0.93, 0.01))
    cut = Cut(
        nose=float(rng.uniform(0.2, 0.36)),
        temple=float(rng.uniform(0.6, 0.72)),
        dip=0.08,
        jaw=1.25,
        side=0.98,
        tent=1.1,
    )
    strap = (float(base[0]), float(base[1]), float(base[2]))
    return Fabric(cut, np.asarray(colour, np.float32), relief, Straps.EAR_LOOPS, strap, 0.05)


def _black(rng: Generator) -> Fabric:
    s, t = _grid()
    relief = _creases(rng, 9, 0.12) * _weave(rng, 0.03) + _noise(rng, (4, 4), 0.03)
    relief -= 0.35 * _band(s, 0.0, 0.010)
    relief += 0.25 * _band(s, -0.03, 0.02)
    relief += 0.2 * _band(t, 0.03, 0.012)
    shade = float(rng.uniform(0.05, 0.10))
    colour = _plain(_jitter(rng, (shade, shade, shade), 0.006))
    cut = Cut(nose=float(rng.uniform(0.22, 0.38)), temple=0.56, dip=0.12, jaw=1.18, chin=2.0, side=1.04, tent=1.05)
    return Fabric(cut, colour, relief, Straps.EAR_LOOPS, (shade, shade, shade), 0.09)


def _gaiter(rng: Generator) -> Fabric:
    tones = ((0.16, 0.13, 0.12), (0.30, 0.16, 0.10), (0.14, 0.20, 0.15), (0.12, 0.12, 0.28), (0.40, 0.40, 0.39))
    colour = _plain(_jitter(rng, tones[rng.integers(len(tones))], 0.015))
    s, t = _grid()
    relief = _creases(rng, 26, 0.16) * _weave(rng, 0.03) + _noise(rng, (6, 3), 0.03)
    relief -= 0.2 * _band(t, 0.03, 0.008)
    for fold in (0.66, 0.78, 0.9):  # it bunches up on the neck
        away = t - (fold + 0.05 * (1 - s**2) + rng.normal(0, 0.01))
        relief -= 0.22 * (away / 0.03) * np.exp(-((away / 0.03) ** 2))
    cut = Cut(
        nose=float(rng.uniform(0.24, 0.4)),
        temple=float(rng.uniform(0.6, 0.7)),
        dip=0.06,
        chin=2.55,
        jaw=2.2,
        side=1.07,
        taper=0.26,
    )
    return Fabric(cut, colour, np.asarray(relief, np.float32), Straps.NONE, (0, 0, 0), 0.0)


MAKERS: dict[MaskKind, Callable[[Generator], Fabric]] = {
    MaskKind.SURGICAL_BLUE: lambda rng: _surgical(rng, (0.80, 0.66, 0.44)),
    MaskKind.SURGICAL_WHITE: lambda rng: _surgical(rng, (0.88, 0.89, 0.89)),
    MaskKind.N95: _n95,
    MaskKind.CLOTH: _cloth,
    MaskKind.BLACK: _black,
    MaskKind.GAITER: _gaiter,
}
