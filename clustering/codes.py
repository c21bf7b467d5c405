"""Templates in seven bits a number, and the products of those: who is near, four times as soon as in float32.

Products of whole numbers are the same to the last bit on every machine, whatever else is in a batch; so is the order
that they put templates in.  They are precise to two thousandths or so of a cosine: enough to say whom a face is to be
compared with, which is then done in float64.

A template's codes are unsigned, so that processors have an instruction for it, and take seven of the eight bits,
because older ones add up two products in sixteen: 127 x 127 x 2 fits.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
TemplateCodes = NDArray[np.uint8]
ProbeCodes = NDArray[np.int8]
Scores = NDArray[np.int32]

NONE = 64
"""The template code of 0."""
MOST = 63
MOST_OF_PROBE = 127
REACH = 5.6
"""What numbers go up to, in parts of the root mean square of a unit vector's: those of 34,000 faces reach 5.0."""


def template_codes(vectors: Vectors) -> TemplateCodes:
    """The codes (…, dim) of templates (…, dim) that are L2-normalised."""
    rounded = _rounded(vectors, MOST)
    rounded += NONE
    codes: TemplateCodes = rounded.astype(np.uint8)
    return codes


def probe_codes(vectors: Vectors) -> ProbeCodes:
    """The codes (…, dim) of the faces (…, dim) that are to be found; L2-normalised."""
    codes: ProbeCodes = _rounded(vectors, MOST_OF_PROBE).astype(np.int8)
    return codes


def whole(codes: TemplateCodes) -> Vectors:
    """What template codes stand for, as whole numbers in float32: their products with probe codes are exact in it."""
    return np.subtract(codes, NONE, dtype=np.float32)


def scores(templates: TemplateCodes, probe: ProbeCodes) -> Scores:
    """The products (n,) of some ``templates`` (n, dim) and one ``probe`` (dim,)."""
    return np.asarray(whole(templates) @ probe.astype(np.float32), np.int32)


def _rounded(vectors: Vectors, most: int) -> Vectors:
    """The numbers as whole ones from ``-most`` to ``most``."""
    limit = min(1.0, REACH / sqrt(vectors.shape[-1]))
    rounded: Vectors = np.multiply(vectors, most / limit, dtype=np.float32)
    np.rint(rounded, out=rounded)
    np.minimum(rounded, most, out=rounded)
    np.maximum(rounded, -most, out=rounded)  # np.clip takes three times as long over a single vector
    return rounded
