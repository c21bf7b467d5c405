"""Figures that others publish, and what differs from how ours are measured.  Theirs are as their sources state them."""

from __future__ import annotations

from typing import NamedTuple


class OneProbeFigure(NamedTuple):
    """A row of the DICTA 2021 benchmark of masked faces."""

    data: str
    eer: float
    frr100: float


DICTA_2021 = (
    OneProbeFigure("LFW", 0.084, 0.230),
    OneProbeFigure("Georgia Tech", 0.048, 0.246),
    OneProbeFigure("YouTube Faces", 0.041, 0.208),
    OneProbeFigure("SoF", 0.061, 0.178),
    OneProbeFigure("FEI", 0.009, 0.016),
)
"""MaskedFaceRepresentation (DICTA 2021): both pictures masked by its own generator; one draw of the probes."""

MASKED_REFERENCES = (
    ("NIST FRVT 6B, best algorithms, masked probes", "FNMR 0.024 to 0.05 at FMR 1e-5", "border-crossing photographs"),
    ("ICCV 2021 MFR, public R100", "TAR 0.756 at FAR 1e-4", "real masks, another test set"),
    ("ICCV 2021 MFR, best private entry", "TAR 0.978 at FAR 1e-4", "real masks, another test set"),
    ("eye region only, in the wild (arXiv 2510.26294)", "EER 0.09 to 0.15", "eye crops, other test sets"),
)
"""Who, what, and on what."""

CLUSTERING_REFERENCES = (
    ("Chinese Whispers", 0.539),
    ("DBSCAN", 0.679),
    ("hierarchical (HAC)", 0.706),
    ("GCN-V+E", 0.879),
    ("STAR-FC", 0.932),
    ("Infomap", 0.940),
)
"""Pairwise F on 584,000 faces of MS1M, clustered all at once; ours come one by one, and most people have 2 to 4."""

SPEED_REFERENCES = (
    ("InsightFace buffalo_l, a picture, CPU", "60 to 185 ms"),
    ("YuNet, 160×120, i7-12700K", "0.7 ms"),
    ("SFace, a face, i7-12700K", "6.1 ms"),
    ("dlib, HOG detection (ours, another run)", "34 ms"),
    ("dlib, descriptor of a face (ours, another run)", "133 ms"),
)
