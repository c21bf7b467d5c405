"""What else than a mask hides a face at an ATM: one occlusion onto one face."""

from __future__ import annotations

import numpy as np

from embedder.detect import Image, Points
from embedder.synthetic_masks.cap import draw_cap
from embedder.synthetic_masks.draw import check_image
from embedder.synthetic_masks.hand import draw_hand
from embedder.synthetic_masks.head import fit_pose
from embedder.synthetic_masks.kinds import OcclusionKind
from embedder.synthetic_masks.sunglasses import draw_sunglasses

DRAWN = {OcclusionKind.SUNGLASSES: draw_sunglasses, OcclusionKind.CAP: draw_cap, OcclusionKind.HAND: draw_hand}


def draw_occlusion(image: Image, landmarks: Points, kind: OcclusionKind, seed: int) -> Image:
    """A copy of the (H, W, 3) uint8 BGR ``image`` in which ``kind`` hides a part of the face.

    Arguments, errors and threads as of ``draw_mask``.  A mask is drawn first, and a hand last.
    """
    check_image(image)
    rng = np.random.default_rng([seed, 100 + list(OcclusionKind).index(kind)])
    return DRAWN[kind](image, fit_pose(landmarks), rng)
