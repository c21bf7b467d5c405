"""The eye region of an aligned face: what a mask leaves free, and what the quality gate looks at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from embedder.detect import Image, Points


def eye_region(aligned: Image, template: Points) -> NDArray[np.uint8]:
    """The grey eye region of an aligned face, (h, w) uint8: brows to the middle of the nose, temple to temple.

    ``template`` (5, 2) says where the landmarks are in ``aligned``.
    """
    eyes = template[:2]
    distance = float(np.hypot(*(eyes[1] - eyes[0])))
    middle = eyes.mean(axis=0)
    left, right = middle[0] - 1.1 * distance, middle[0] + 1.1 * distance
    top, bottom = middle[1] - 0.6 * distance, middle[1] + 0.5 * distance
    height, width = aligned.shape[:2]
    region = aligned[max(0, round(top)) : min(height, round(bottom)), max(0, round(left)) : min(width, round(right))]
    return np.asarray(cv2.cvtColor(region, cv2.COLOR_BGR2GRAY), np.uint8)
