"""Face masks drawn onto pictures of bare faces: procedural, no third-party texture, the same for the same seed."""

from embedder.synthetic_masks.draw import draw_mask
from embedder.synthetic_masks.fabric import MaskKind

__all__ = ["MaskKind", "draw_mask"]
