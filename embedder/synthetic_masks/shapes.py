"""Outlines and lines in head coordinates as coverage of pixels, and how they are laid over a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image
from embedder.synthetic_masks.head import Floats, Pose

Plane = NDArray[np.float32]
"""(h, w) of one value per pixel."""
FRACTION = 4
"""Bits of a pixel's fraction, for OpenCV's drawing."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The part of a picture on which something is drawn: ``left``, ``top`` and ``size`` (width, height) in pixels."""

    pose: Pose
    left: int
    top: int
    size: tuple[int, int]

    def of(self, image: Image) -> Image:
        """(h, w, 3) that part of ``image``, which is not copied."""
        return image[self.top : self.top + self.size[1], self.left : self.left + self.size[0]]

    def fixed(self, points: Floats) -> NDArray[np.int32]:
        """(n, 2) head points (n, 3) as OpenCV's drawing takes them."""
        pixels = (self.pose.project(points) - (self.left, self.top)) * (1 << FRACTION)
        return np.rint(np.clip(pixels, -(2**26), 2**26)).astype(np.int32)

    def filled(self, *outlines: Floats) -> Plane:
        """Coverage by the polygons with corners ``outlines`` (n, 3)."""
        drawn = np.zeros(self.size[::-1], np.uint8)
        for outline in outlines:
            cv2.fillPoly(drawn, [self.fixed(outline)], 255, cv2.LINE_AA, FRACTION)
        return drawn * np.float32(1 / 255)

    def hull(self, points: Floats) -> Plane:
        """Coverage by the outline of ``points`` (n, 3) as they are seen."""
        drawn = np.zeros(self.size[::-1], np.uint8)
        cv2.fillConvexPoly(drawn, cv2.convexHull(self.fixed(points)), 255, cv2.LINE_AA, FRACTION)
        return drawn * np.float32(1 / 255)

    def lines(self, width: float, *lines: Floats, closed: bool = False) -> Plane:
        """Coverage by ``lines`` (n, 3), ``width`` eye distances wide; those thinner than a pixel are faint."""
        drawn = np.zeros(self.size[::-1], np.uint8)
        pixels = width * self.pose.unit
        strength = round(255 * min(1.0, max(0.3, pixels)))
        for line in lines:
            cv2.polylines(drawn, [self.fixed(line)], closed, strength, max(1, round(pixels)), cv2.LINE_AA, FRACTION)
        return drawn * np.float32(1 / 255)

    def places(self) -> tuple[Plane, Plane]:
        """(h, w) x and y of every pixel from between the eyes, in eye distances along the head's right and down."""
        across = (self.left - self.pose.origin[0] + np.arange(self.size[0])) / self.pose.unit
        down = (self.top - self.pose.origin[1] + np.arange(self.size[1]))[:, None] / self.pose.unit
        (a, b), (c, d) = self.pose.upright.tolist()
        return np.asarray(a * across + b * down, np.float32), np.asarray(c * across + d * down, np.float32)


def sheet_around(pixels: Floats, margin: float, pose: Pose, image: Image) -> Sheet | None:
    """The part of ``image`` with all ``pixels`` (n, 2) and ``margin`` eye distances around; None if outside."""
    low, high = pixels.min(axis=0) - margin * pose.unit, pixels.max(axis=0) + margin * pose.unit
    left, top = (max(0, int(value)) for value in np.floor(low))
    right, bottom = min(int(np.ceil(high[0])), image.shape[1]), min(int(np.ceil(high[1])), image.shape[0])
    return Sheet(pose, left, top, (right - left, bottom - top)) if right - left > 1 and bottom - top > 1 else None


def soft(coverage: Plane, pixels: float) -> Plane:
    """``coverage`` blurred with a standard deviation of so many pixels."""
    return np.asarray(cv2.GaussianBlur(coverage, (0, 0), max(0.5, pixels)), np.float32)


def shifted(coverage: Plane, x: float, y: float) -> Plane:
    """``coverage`` moved by so many pixels."""
    height, width = coverage.shape
    return np.asarray(cv2.warpAffine(coverage, np.array([[1, 0, x], [0, 1, y]]), (width, height)), np.float32)


def over(under: NDArray[np.float32], tones: NDArray[np.float32], coverage: Plane) -> NDArray[np.float32]:
    """``tones`` (h, w, 3) over ``under`` (h, w, 3) where ``coverage``."""
    return np.asarray(cv2.blendLinear(tones, under, coverage, 1 - coverage), np.float32)


def placed(image: Image, sheet: Sheet, drawn: NDArray[np.float32]) -> Image:
    """A copy of ``image`` with ``drawn`` (h, w, 3), 0..255, on ``sheet``."""
    result = image.copy()
    sheet.of(result)[:] = cv2.convertScaleAbs(drawn)
    return result


def dimmed(under: NDArray[np.floating] | Image, share: Plane) -> NDArray[np.float32]:
    """``under`` (h, w, 3) with less light by ``share`` (h, w)."""
    return np.asarray(under * (1 - share)[..., None], np.float32)


def lit(bright: Plane, tone: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, 3) a surface that reflects ``tone`` (3,) in light ``bright`` (h, w)."""
    return np.asarray(bright[..., None] * tone, np.float32)
