"""Masks and other occlusions drawn onto pictures of bare faces: by rule, with no third-party texture, by seed."""

from embedder.synthetic_masks.draw import draw_mask, draw_masks
from embedder.synthetic_masks.head import SMALLEST_EYE_DISTANCE
from embedder.synthetic_masks.kinds import MaskKind, OcclusionKind
from embedder.synthetic_masks.occlusions import draw_occlusion

__all__ = ["SMALLEST_EYE_DISTANCE", "MaskKind", "OcclusionKind", "draw_mask", "draw_masks", "draw_occlusion"]
