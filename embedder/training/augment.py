"""What an ATM camera does to a face, done to a prepared one: occlusion, light, lens, distance, compression.

Each step is drawn with a chance of its own, so most pictures get one or two and some get none.  Pure functions of a
picture and a generator; NumPy and OpenCV alone, so that they run in worker processes without PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embedder.detect import Image, Points
from embedder.synthetic_masks import MaskKind, OcclusionKind, draw_mask, draw_occlusion
from embedder.training.pool import MARGIN
from embedder.warp import turned

KINDS = tuple(MaskKind)
OCCLUSIONS = tuple(OcclusionKind)
STRETCH = 0.22
"""The most that the logarithm of width by height is off in a stretched picture."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Chances (0 to 1) of each step, and the deviation of the alignment.

    ``shift`` in pixels of the model's input, ``turn`` in degrees, ``zoom`` in parts of the scale: how far landmarks
    found under a mask bring the alignment from that of the bare face.  ``stretch`` is that the picture is too wide or
    too high by up to a quarter: recorders store pixels that are not square, and pictures are made to fit a form.
    ``cut`` is that the face stands at the picture's edge, as one close to the camera does, or one cut out tightly.
    """

    occlusion: float = 0.04
    shift: float = 1.2
    turn: float = 1.5
    zoom: float = 0.03
    below: float = 0.1
    stretch: float = 0.0
    cut: float = 0.0
    dark: float = 0.08
    grey: float = 0.08
    motion: float = 0.06
    soft: float = 0.08
    far: float = 0.1
    noise: float = 0.1
    jpeg: float = 0.2


def covered(canvas: Image, landmarks: Points, masked: bool, plan: Augmentation, rng: Generator) -> Image:
    """The canvas with a drawn mask (when ``masked``) and, now and then, sunglasses, a cap or a hand."""
    if masked:
        canvas = draw_mask(canvas, landmarks, KINDS[rng.integers(len(KINDS))], int(rng.integers(2**31)))
    if rng.random() < plan.occlusion:
        kind = OCCLUSIONS[rng.integers(len(OCCLUSIONS))]
        canvas = draw_occlusion(canvas, landmarks, kind, int(rng.integers(2**31)))
    return canvas


def edged(canvas: Image, plan: Augmentation, rng: Generator) -> Image:
    """The canvas, or now and then one of the same size on which the picture ends close to the face."""
    return _cut(canvas, rng) if rng.random() < plan.cut else canvas


def seen(canvas: Image, size: tuple[int, int], plan: Augmentation, rng: Generator) -> Image:
    """The model's input, (height, width) = ``size``, as a camera would have given it."""
    picture = _aligned(edged(canvas, plan, rng), size, plan, rng)
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    return exposed(picture, plan, rng)


def exposed(picture: Image, plan: Augmentation, rng: Generator) -> Image:
    """The picture in another light, moved, blurred, far away, noisy or compressed, and all of it where it was."""
    picture = _darkened(picture, rng) if rng.random() < plan.dark else _tinted(picture, rng)
    if rng.random() < plan.grey:
        picture = _infrared(picture, rng)
    if rng.random() < plan.motion:
        picture = _moved(picture, rng)
    elif rng.random() < plan.soft:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.6))), np.uint8)
    if rng.random() < plan.far:
        picture = _distant(picture, rng)
    if rng.random() < plan.noise:
        picture = _noisy(picture, rng)
    if rng.random() < plan.jpeg:
        picture = _compressed(picture, rng)
    return picture


def _cut(canvas: Image, rng: Generator) -> Image:
    """The picture as it ends close to the face, on some sides; beyond is black, or goes on as the edge is."""
    height, width = canvas.shape[:2]
    near, far = np.array([0.26, 0.3, 0.24, 0.24]), 0.5  # below, above, to the left and right of the middle
    low, high, left, right = np.where(rng.random(4) < 0.6, rng.uniform(near, far), far)
    top, bottom = round(height * (0.5 - high)), round(height * (0.5 + low))
    first, last = round(width * (0.5 - left)), round(width * (0.5 + right))
    edge = cv2.BORDER_REPLICATE if rng.random() < 0.3 else cv2.BORDER_CONSTANT
    inner = canvas[top:bottom, first:last]
    return np.asarray(cv2.copyMakeBorder(inner, top, height - bottom, first, width - last, edge), np.uint8)


def _aligned(canvas: Image, size: tuple[int, int], plan: Augmentation, rng: Generator) -> Image:
    """The inner part of the canvas, shaken as landmarks shake it, and now and then seen by a wide angle from below."""
    turn, zoom = np.deg2rad(rng.normal(0, plan.turn)), 1 + rng.normal(0, plan.zoom)
    lens = np.eye(3)
    lens[:2, :2] = turned(turn, zoom)
    if rng.random() < plan.stretch:
        wider = np.exp(rng.uniform(-STRETCH, STRETCH) / 2)
        lens[:2, :2] *= (wider, 1 / wider)
    lens[:2, 2] = rng.normal(0, plan.shift, 2)
    if rng.random() < plan.below:
        lens[2, 1] = rng.uniform(-0.0018, 0.0006)  # what is lower is nearer and larger
    middle = np.array([canvas.shape[1] / 2, canvas.shape[0] / 2])
    before, after = np.eye(3), np.eye(3)
    before[:2, 2], after[:2, 2] = -middle, middle - MARGIN
    matrix = after @ lens @ before
    return np.asarray(cv2.warpPerspective(canvas, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR), np.uint8)


def _tinted(picture: Image, rng: Generator) -> Image:
    gain, lift = rng.uniform(0.75, 1.3), rng.uniform(-20, 20)
    tint = 1 + rng.normal(0, 0.05, 3)
    return _clipped(picture * (gain * tint).astype(np.float32) + np.float32(lift))


def _darkened(picture: Image, rng: Generator) -> Image:
    """Low light: a gamma, and the light from one side."""
    gamma = rng.uniform(1.2, 2.0)
    table = (255 * (np.arange(256) / 255) ** gamma).astype(np.float32)
    width = picture.shape[1]
    side = np.linspace(rng.uniform(0.6, 1.1), rng.uniform(0.6, 1.1), width, dtype=np.float32)
    return _clipped(table[picture] * side[None, :, None])


def _infrared(picture: Image, rng: Generator) -> Image:
    """Grey as an infrared camera's: red counts most, and skin is bright."""
    weights = np.array([rng.uniform(0, 0.3), rng.uniform(0.1, 0.5), 1.0], np.float32)
    grey = picture @ (weights / weights.sum())
    grey = 255 * (grey / 255) ** np.float32(rng.uniform(0.6, 1.1))
    return _clipped(np.repeat(grey[:, :, None], 3, axis=2))


def _moved(picture: Image, rng: Generator) -> Image:
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    middle, angle = (length - 1) / 2, rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    ends = [tuple(round(float(v)) for v in middle + sign * reach) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)


def _distant(picture: Image, rng: Generator) -> Image:
    """A face of 20 to 70 % of the model's resolution."""
    height, width = picture.shape[:2]
    scale = rng.uniform(0.2, 0.7)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    how = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(2)]
    return np.asarray(cv2.resize(small, (width, height), interpolation=how), np.uint8)


def _noisy(picture: Image, rng: Generator) -> Image:
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(rng.uniform(2, 10))
    return _clipped(picture + grain)


def _compressed(picture: Image, rng: Generator) -> Image:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _clipped(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
