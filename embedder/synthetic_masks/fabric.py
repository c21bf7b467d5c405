"""One mask as it is made and worn: its cut, texture, colours and straps, drawn by a seed."""

from __future__ import annotations

import colorsys
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.synthetic_masks.drape import Cut
from embedder.synthetic_masks.kinds import MaskKind
from embedder.synthetic_masks.texture import VARIANTS, Texture, texture

Tone = NDArray[np.float32]
"""(3,) reflectance BGR, 0..1."""


class Straps(StrEnum):
    """How the mask is held."""

    EAR_LOOPS = "ear_loops"
    HEAD_BANDS = "head_bands"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Fabric:
    """One mask.

    ``print_tone`` colours the texture's print, ``fitting_tone`` wire and valve.  ``depth`` scales its relief;
    ``flipped`` mirrors it; ``bend`` (2,) moves its middle down, by so much at all and so much more on one side.
    ``strap_width`` is in eye distances; ``sun`` (3,) is where the light comes from, seen from the camera's way.
    """

    cut: Cut
    texture: Texture
    tone: Tone
    print_tone: Tone
    fitting_tone: Tone
    depth: float
    flipped: bool
    bend: tuple[float, float]
    straps: Straps
    strap_tone: Tone
    strap_width: float
    sun: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Style:
    """What differs from kind to kind: the cut, two colours and the straps; the rest is drawn alike."""

    cut: Cut
    tone: Tone
    print_tone: Tone
    straps: Straps
    strap_tone: Tone
    strap_width: float
    depth: float = 1.0


def make_fabric(kind: MaskKind, seed: int) -> Fabric:
    """The mask of ``kind`` that ``seed`` draws.  Pure but for the kept textures; equal seeds, equal masks."""
    rng = np.random.default_rng([seed, list(MaskKind).index(kind)])
    variant = int(rng.integers(VARIANTS))
    style = STYLES[kind](rng, variant)
    grey = float(rng.uniform(0.55, 0.85))
    fitting = _bgr(grey, grey, grey) if rng.random() < 0.75 else _bgr(0.2, 0.2, 0.22)
    return Fabric(
        style.cut,
        texture(kind, variant),
        style.tone,
        style.print_tone,
        fitting,
        style.depth * float(rng.uniform(0.75, 1.25)),
        bool(rng.random() < 0.5),
        (float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
        style.straps,
        style.strap_tone,
        style.strap_width,
        np.array([rng.normal(0, 0.25), rng.normal(-0.45, 0.15), 0.25]),
    )


def _bgr(b: float, g: float, r: float) -> Tone:
    return np.array([b, g, r], np.float32)


def _near(rng: Generator, tone: Tone, by: float) -> Tone:
    """``tone``, a little lighter or darker and of a slightly other hue."""
    drawn = tone * rng.uniform(1 - 2 * by, 1 + by) + rng.normal(0, by / 2, 3)
    return np.asarray(np.clip(drawn, 0.02, 0.97), np.float32)


def _pick(rng: Generator, tones: Sequence[Tone], weights: Sequence[float]) -> Tone:
    return tones[min(bisect(list(accumulate(weights)), rng.random()), len(tones) - 1)]


def _hued(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Tone:
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return _bgr(b, g, r)


def _height(rng: Generator) -> float:
    """Where the upper edge crosses the nose: from just under the eyes to just above the tip, most often high."""
    return float(0.14 + 0.28 * rng.beta(1.6, 2.2))


def _surgical_cut(rng: Generator) -> Cut:
    nose = _height(rng)
    return Cut(
        nose=nose,
        temple=nose + float(rng.uniform(0.24, 0.36)),
        dip=float(rng.uniform(0.02, 0.09)),
        chin=float(rng.uniform(1.94, 2.16)),
        jaw=float(rng.uniform(1.3, 1.5)),
        side=float(rng.uniform(56, 68)),
    )


def _surgical(rng: Generator, tones: tuple[Tone, ...], weights: tuple[float, ...]) -> Style:
    tone = _near(rng, _pick(rng, tones, weights), 0.05)
    strap = _near(rng, _bgr(0.9, 0.9, 0.9), 0.04)
    return Style(_surgical_cut(rng), tone, tone, Straps.EAR_LOOPS, strap, float(rng.uniform(0.025, 0.045)))


def _surgical_blue(rng: Generator, _: int) -> Style:
    tones = (_bgr(0.88, 0.74, 0.50), _bgr(0.90, 0.80, 0.62), _bgr(0.78, 0.80, 0.50), _bgr(0.72, 0.56, 0.34))
    return _surgical(rng, tones, (0.45, 0.25, 0.2, 0.1))


def _surgical_white(rng: Generator, _: int) -> Style:
    tones = (_bgr(0.94, 0.94, 0.93), _bgr(0.93, 0.90, 0.88), _bgr(0.84, 0.80, 0.94))
    return _surgical(rng, tones, (0.6, 0.3, 0.1))


def _respirator(rng: Generator, variant: int) -> Style:
    folded = variant % 2 == 0
    tones = (_bgr(0.92, 0.93, 0.93), _bgr(0.84, 0.88, 0.9), _bgr(0.42, 0.40, 0.40), _bgr(0.10, 0.10, 0.10))
    tone = _near(rng, _pick(rng, tones, (0.55, 0.3, 0.08, 0.07)), 0.04)
    nose = _height(rng)
    cut = Cut(
        nose=nose,
        temple=nose + float(rng.uniform(0.38, 0.5)),
        dip=0.02,
        chin=float(rng.uniform(1.96, 2.12)),
        jaw=float(rng.uniform(1.2, 1.36)),
        side=float(rng.uniform(54, 62)),
        tent=1.45 if folded else 1.3,
    )
    if folded and rng.random() < 0.7:
        return Style(cut, tone, tone, Straps.EAR_LOOPS, _near(rng, _bgr(0.9, 0.9, 0.9), 0.04), 0.045)
    bands = (_bgr(0.5, 0.72, 0.8), _bgr(0.88, 0.88, 0.88), _bgr(0.3, 0.72, 0.82), _bgr(0.12, 0.12, 0.12))
    return Style(cut, tone, tone, Straps.HEAD_BANDS, _near(rng, bands[int(rng.integers(4))], 0.04), 0.07)


def _cloth(rng: Generator, _: int) -> Style:
    tone = _hued(rng, (0.05, 0.65), (0.12, 0.9))
    second = _hued(rng, (0.0, 0.7), (0.75, 0.95)) if tone.mean() < 0.45 else _hued(rng, (0.2, 0.8), (0.08, 0.5))
    nose = _height(rng)
    cut = Cut(
        nose=nose,
        temple=nose + float(rng.uniform(0.26, 0.45)),
        dip=float(rng.uniform(0, 0.1)),
        chin=float(rng.uniform(1.92, 2.14)),
        jaw=float(rng.uniform(1.15, 1.45)),
        side=float(rng.uniform(58, 70)),
        tent=(0.95, 1.03, 1.11, 1.2)[int(rng.integers(4))],  # few, for their surfaces are kept
    )
    plain = (tone, _bgr(0.9, 0.9, 0.9), _bgr(0.08, 0.08, 0.08))
    return Style(cut, tone, second, Straps.EAR_LOOPS, plain[int(rng.integers(3))], float(rng.uniform(0.04, 0.06)))


def _black(rng: Generator, variant: int) -> Style:
    shade = float(rng.uniform(0.05, 0.13)) if rng.random() < 0.7 else float(rng.uniform(0.16, 0.32))
    tone = _near(rng, _bgr(shade * 1.05, shade, shade * 0.97), 0.015)
    if variant % 3 == 0:
        return Style(_surgical_cut(rng), tone, tone, Straps.EAR_LOOPS, tone, 0.04, depth=1.7)
    nose = _height(rng)
    cut = Cut(
        nose=nose,
        temple=0.42,
        dip=float(rng.uniform(0.06, 0.14)),
        chin=float(rng.uniform(1.9, 2.1)),
        jaw=float(rng.uniform(0.86, 0.98)),
        side=84.0,
        ears=float(rng.uniform(0.14, 0.2)),
    )
    return Style(cut, tone, tone, Straps.NONE, tone, 0.0, depth=1.7)


def _gaiter(rng: Generator, _: int) -> Style:
    tone = _hued(rng, (0.0, 0.5), (0.06, 0.4)) if rng.random() < 0.75 else _hued(rng, (0.0, 0.6), (0.4, 0.8))
    nose = _height(rng)
    cut = Cut(
        nose=nose,
        temple=nose + float(rng.uniform(0.2, 0.45)),
        dip=float(rng.uniform(0, 0.06)),
        chin=float(rng.uniform(2.5, 2.9)),
        jaw=float(rng.uniform(2.3, 2.6)),
        side=86.0,
        tent=0.95,
    )
    return Style(cut, tone, _hued(rng, (0, 0.6), (0.3, 0.9)), Straps.NONE, tone, 0.0, depth=1.2)


STYLES: dict[MaskKind, Callable[[Generator, int], Style]] = {
    MaskKind.SURGICAL_BLUE: _surgical_blue,
    MaskKind.SURGICAL_WHITE: _surgical_white,
    MaskKind.N95: _respirator,
    MaskKind.VALVE: _respirator,
    MaskKind.CLOTH: _cloth,
    MaskKind.BLACK: _black,
    MaskKind.GAITER: _gaiter,
}
