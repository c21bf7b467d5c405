"""The kinds of masks and other occlusions that can be drawn."""

from __future__ import annotations

from enum import StrEnum


class MaskKind(StrEnum):
    """Masks, worn over nose, mouth and chin.

    ``black`` is a foam mask that runs on to the ears, or a pleated one; ``n95`` a folded KN95 or a moulded N95 cup,
    ``valve`` the same with an exhalation valve; ``gaiter`` a tube of cloth from the nose down to the neck.
    """

    SURGICAL_BLUE = "surgical_blue"
    SURGICAL_WHITE = "surgical_white"
    N95 = "n95"
    VALVE = "valve"
    CLOTH = "cloth"
    BLACK = "black"
    GAITER = "gaiter"


class OcclusionKind(StrEnum):
    """What else hides a face at an ATM: ``cap`` shades the eyes, ``hand`` covers a part of the lower face."""

    SUNGLASSES = "sunglasses"
    CAP = "cap"
    HAND = "hand"
