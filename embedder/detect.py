"""Faces and their five landmarks, by YuNet.

YuNet: Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023.
It was trained with masked faces among its pictures, and places all five points under a mask too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.cards import load_detector_card
from embedder.onnx_runtime import open_session
from embedder.warp import warp

Image = NDArray[np.uint8]
"""(H, W, 3) BGR, upright."""
Points = NDArray[np.float32]
"""(5, 2) x, y in pixels: right eye, left eye, nose tip, right and left mouth corner, as the subject has them."""

STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class Face:
    """One detection, in pixels of the picture: ``box`` (4,) x, y, width, height; ``landmarks`` (5, 2)."""

    box: NDArray[np.float32]
    landmarks: Points
    score: float


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """``score`` and ``overlap`` (IoU) are YuNet's own defaults but for a lower score, since masks cost some.

    Pictures are shrunk to fit ``canvas`` pixels a side first, on a canvas that is oblong where they are; only when that
    shows no face is the finer ``fine_canvas`` tried, and then the picture with a border of ``border`` of its size
    around it, for crops so tight that the face touches the edge.  ``refine`` places the landmarks a second time on a
    square of that many pixels which the face fills to ``fill``: on a small face the first pass is off by up to a pixel
    or two.  Where the picture's ``detail`` is less than this, as before a covered camera, nothing finer is tried.
    """

    score: float = 0.6
    overlap: float = 0.3
    canvas: int = 320
    fine_canvas: int = 640
    border: float = 0.3
    max_faces: int = 64
    refine: int = 256
    fill: float = 0.7
    detail: float = 5.0


class Detector:
    """Finds faces; safe to use from several threads at once."""

    def __init__(self, weights: Path, options: DetectorOptions | None = None) -> None:
        self.options = options or DetectorOptions()
        card = load_detector_card(weights)
        canvases = {(self.options.refine, self.options.refine)}
        for longest in (self.options.canvas, self.options.fine_canvas):
            canvases |= {(longest, longest), (_shorter(longest), longest), (longest, _shorter(longest))}
        self._sessions = {
            (height, width): open_session(weights / card.file, card.sha256, {"height": height, "width": width})
            for height, width in canvases
        }
        self._outputs = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
        self._grids = {canvas: [_grid(canvas, stride) for stride in STRIDES] for canvas in canvases}

    def detect(self, image: Image) -> list[Face]:
        """Faces of an (H, W, 3) uint8 BGR picture, best first; empty when there is none."""
        faces = self._at(image, self.options.canvas)
        if not faces and detail(image) < self.options.detail:
            return []
        if not faces and max(image.shape[:2]) > self.options.canvas:
            faces = self._at(image, self.options.fine_canvas)
        if not faces:
            faces = self._bordered(image)
        return faces

    def refined(self, image: Image, face: Face) -> Face:
        """The face with landmarks from a second look at it alone; the same face where that look disagrees."""
        size = self.options.refine
        middle, side = face.box[:2] + face.box[2:] / 2, float(max(face.box[2:]))
        scale = size * self.options.fill / side
        shift = size / 2 - scale * middle
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        found = self._at(warp(image, matrix, (size, size)), size)
        if not found:
            return face
        nearest = min(found, key=lambda f: float(np.hypot(*(f.box[:2] + f.box[2:] / 2 - size / 2))))
        landmarks = (nearest.landmarks - shift.astype(np.float32)) / np.float32(scale)
        if np.abs(landmarks - face.landmarks).max() > 0.25 * side:
            return face
        return Face(face.box, landmarks, face.score)

    def _bordered(self, image: Image) -> list[Face]:
        # Shrunk before the border comes around it: a border of a long strip's length would fill gigabytes.
        image, scale = _shrunk(image, int(self.options.canvas / (1 + 2 * self.options.border)))
        pad = int(self.options.border * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(127, 127, 127))
        return [
            Face(
                (face.box - np.array([pad, pad, 0, 0], np.float32)) / np.float32(scale),
                (face.landmarks - np.float32(pad)) / np.float32(scale),
                face.score,
            )
            for face in self._at(np.asarray(padded, np.uint8), self.options.canvas)
        ]

    def _at(self, image: Image, size: int) -> list[Face]:
        image, scale = _shrunk(image, size)
        canvas = _canvas(image, size)
        blob = np.zeros((1, 3, *canvas), np.float32)
        blob[0, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
        results = self._sessions[canvas].run(self._outputs, {"input": blob})
        boxes, points, scores = [], [], []
        least = np.float32(self.options.score**2)
        for level, stride in enumerate(STRIDES):
            cls, obj, box, key = (part[0] for part in results[4 * level : 4 * level + 4])
            squared = cls[:, 0] * obj[:, 0]  # both are sigmoids
            kept = np.flatnonzero(squared >= least)
            if kept.size:
                grid = self._grids[canvas][level][kept]
                centre, extent = (grid + box[kept, :2]) * stride, np.exp(box[kept, 2:]) * stride
                boxes.append(np.hstack([centre - extent / 2, extent]))
                points.append((grid[:, None] + key[kept].reshape(-1, 5, 2)) * stride)
                scores.append(np.sqrt(squared[kept]))
        if not scores:
            return []
        box, landmarks, score = np.concatenate(boxes), np.concatenate(points), np.concatenate(scores)
        # Its top_k cuts before overlaps are removed, and a face has several detections: the limit comes after it.
        best = cv2.dnn.NMSBoxes(box.tolist(), score.tolist(), self.options.score, self.options.overlap)
        return [
            Face(
                np.asarray(box[i] / scale, np.float32),
                np.asarray(landmarks[i] / scale, np.float32),
                min(1.0, float(score[i])),
            )
            for i in np.asarray(best).ravel()[: self.options.max_faces]
        ]


def detail(image: Image) -> float:
    """How much there is to see in an (H, W, 3) uint8 BGR picture: its deviation in grey on 64×64 pixels."""
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    return float(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).std())


def _shrunk(image: Image, longest: int) -> tuple[Image, float]:
    """The picture shrunk to fit ``longest`` pixels a side, and its scale; as it is where it fits."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale < 1:
        target = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_AREA), np.uint8)
    return image, scale


def _shorter(longest: int) -> int:
    """The shorter side of an oblong canvas: enough for pictures of 4:3 and longer, and a whole number of strides."""
    return longest * 4 // 5


def _canvas(image: Image, longest: int) -> tuple[int, int]:
    """Height and width of the smallest canvas that takes the shrunk picture."""
    height, width = (_shorter(longest) if side <= _shorter(longest) else longest for side in image.shape[:2])
    return (height, width) if longest in {height, width} else (longest, width)


def _grid(canvas: tuple[int, int], stride: int) -> NDArray[np.float32]:
    """(n, 2) column and row of every anchor of one stride, in the order of the network's outputs."""
    rows, columns = np.mgrid[: canvas[0] // stride, : canvas[1] // stride]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
