"""A person cut out of a portrait: head, shoulders and whatever is worn, upright and of one size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.simulator.people import Portrait
from embedder.align import similarity
from embedder.detect import Image, Points
from embedder.synthetic_masks import MaskKind, draw_mask
from embedder.warp import moved
from ingest.claim_check import read_file
from ingest.images import decode
from ingest.limits import DEFAULT_LIMITS

UNIT = 64
"""Pixels between the eyes of a cut-out."""
WIDTH, HEIGHT = 8 * UNIT, 16 * UNIT
EYES = np.array([WIDTH / 2, 2.7 * UNIT])
"""The middle between the eyes."""
COARSE = 4
"""By how much the picture is reduced to find the outline."""
NECK = 1.75
"""Eye distances from the eyes down to where the head ends, and the body is outlined by itself."""
SHOULDERS_SHOWN = 4.8
"""A portrait that goes on so far down shows the shoulders itself."""


@dataclass(frozen=True, slots=True)
class Sitter:
    """``layers`` (HEIGHT, WIDTH, 4) uint8: BGR, and how far each pixel is the person, 0..255.

    ``landmarks`` (5, 2) float32 are the face's in there.
    """

    layers: NDArray[np.uint8]
    landmarks: Points


def seat(portrait: Portrait) -> Sitter:
    """Cut the person out of a portrait.  Reads the file; raises ``BadRecord`` when it can't be read any more."""
    image = decode(read_file(portrait.path, DEFAULT_LIMITS), DEFAULT_LIMITS)
    eyes = EYES + np.array([[-UNIT / 2, 0], [UNIT / 2, 0]])
    matrix = similarity(portrait.landmarks[:2], eyes, np.ones(2))
    inside = _inside(image, matrix)
    upright = _upright(image, matrix)
    alpha = _outline(upright, inside)
    end = min(HEIGHT, int(np.flatnonzero(inside[:, WIDTH // 2])[-1]) + 1)
    if end < HEIGHT:
        _dress(upright, alpha, end)
    landmarks = moved(portrait.landmarks, matrix).astype(np.float32)
    return Sitter(_layers(upright, alpha), landmarks)


def wear(sitter: Sitter, mask: MaskKind, seed: int) -> Sitter:
    """The same person with a mask on."""
    masked = draw_mask(np.ascontiguousarray(sitter.layers[..., :3]), sitter.landmarks, mask, seed)
    alpha = sitter.layers[..., 3].astype(np.float32) / 255
    return Sitter(_layers(masked, np.maximum(alpha, _chin(sitter.landmarks))), sitter.landmarks)


def _layers(pixels: Image, alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(cv2.merge([pixels, (alpha * 255).astype(np.uint8)]), np.uint8)


def _upright(image: Image, matrix: NDArray[np.float64]) -> Image:
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.7:  # against moiré in suits and ties
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.45 / scale), np.uint8)
    warped = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _dress(upright: Image, alpha: NDArray[np.float32], end: int) -> None:
    """Draw what the portrait, which ends at row ``end``, does not show: shoulders, and what is worn goes on."""
    last, weight = upright[end - 10 : end - 4], alpha[end - 10 : end - 4, :, None] + 1e-6
    down = (np.arange(end - 10, HEIGHT) - EYES[1])[:, None] / UNIT
    across = np.abs(np.arange(WIDTH) - EYES[0])[None] / UNIT
    shade = 1 - 0.35 * np.clip(across[..., None] / 3, 0, 1) ** 2
    upright[end - 4 :] = np.clip((last * weight).sum(axis=(0, 1)) / weight.sum(axis=(0, 1)) * shade, 0, 255)
    alpha[end - 10 :] = alpha[end - 10]
    if (end - EYES[1]) / UNIT < SHOULDERS_SHOWN:
        neck = alpha[end - 10].sum() / 2 / UNIT
        slope = np.sin(np.pi / 2 * np.clip((down - down[0]) / 1.3, 0, 1))
        drawn = np.clip((neck + (2.7 - neck) * slope - across) * 16, 0, 1)
        alpha[end - 10 :] = np.maximum(alpha[end - 10 :], drawn.astype(np.float32))


def _shoulder(down: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of the body's width at so many eye distances below the eyes."""
    return np.interp(down, [NECK, 2.7, 3.5, 6.5], [0.75, 1.6, 2.4, 2.8])


def _inside(image: Image, matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(HEIGHT, WIDTH) what the portrait shows; below the chin its sides may be drawn out, for that is cloth."""
    inverse = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    source_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    source_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    chest = y > EYES[1] + 2.6 * UNIT
    inside = (source_y >= 0) & (source_y < image.shape[0])
    inside &= chest | ((source_x >= 0) & (source_x < image.shape[1]))
    inside[:, :2] = inside[:, -2:] = False
    inside[:2] = False
    return np.asarray(inside)


def _outline(upright: Image, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far each pixel is the person: head and body cut out one by one, since they share no colours."""
    size = WIDTH // COARSE, HEIGHT // COARSE
    small = np.asarray(cv2.resize(upright, size, interpolation=cv2.INTER_AREA), np.uint8)
    known = inside[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    y, x = (np.mgrid[0 : HEIGHT // COARSE, 0 : WIDTH // COARSE] + 0.5) * COARSE
    across, down = np.abs(x - EYES[0]) / UNIT, (y - EYES[1]) / UNIT

    def oval(width: float, top: float, bottom: float) -> NDArray[np.bool_]:
        middle, height = (top + bottom) / 2, (bottom - top) / 2
        return np.asarray((across / width) ** 2 + ((down - middle) / height) ** 2 < 1)

    head = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    head[oval(1.8, -2.5, 2.9)] = cv2.GC_PR_BGD
    head[oval(1.35, -2.0, 2.1)] = cv2.GC_PR_FGD
    head[oval(0.92, -1.45, 1.85)] = cv2.GC_FGD
    shoulder = _shoulder(down)
    body = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    body[across < shoulder + 0.75] = cv2.GC_PR_BGD
    body[across < shoulder] = cv2.GC_PR_FGD
    body[across < 0.78 * shoulder] = cv2.GC_FGD
    head[~known] = body[~known] = cv2.GC_BGD
    neck = round((EYES[1] + NECK * UNIT) / COARSE)
    foot = min(round(float(np.flatnonzero(known.any(axis=1))[-1])) + 1, small.shape[0])
    person = np.zeros(small.shape[:2], np.uint8)
    person[:neck] = _cut(small[:neck], head[:neck])
    if foot - neck > UNIT // COARSE:
        person[neck:foot] = _cut(small[neck:foot], body[neck:foot])
    opened = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, parts = cv2.connectedComponents(opened)
    middle = parts[int(EYES[1] + 0.5 * UNIT) // COARSE, int(EYES[0]) // COARSE]
    alpha = cv2.GaussianBlur((parts == middle).astype(np.float32), (0, 0), 1.2)
    # Slightly inside of the outline, so that no rim of the old background is left.
    alpha = np.clip((cv2.resize(alpha, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) - 0.45) * 2.5, 0, 1)
    return np.asarray(np.where(inside, alpha, 0), np.float32)


def _cut(picture: Image, guess: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where the foreground is, by GrabCut: Rother, Kolmogorov and Blake, SIGGRAPH 2004."""
    cv2.setRNGSeed(0)  # it draws its first clusters at random; the same portrait must give the same outline
    models = np.zeros((1, 65)), np.zeros((1, 65))
    found, _, _ = cv2.grabCut(picture, guess.copy(), None, *models, 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    return np.isin(found, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _chin(landmarks: Points) -> NDArray[np.float32]:
    """Where a mask hangs over the outline of a narrow face."""
    middle = landmarks[2:].mean(axis=0)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    centre = int(middle[0]), int(middle[1] + 0.2 * UNIT)
    cv2.ellipse(alpha, centre, (int(0.8 * UNIT), int(0.9 * UNIT)), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    return alpha
