"""For whom it is worse: error rates by group, at the thresholds that hold for everybody.

A bank sets one threshold, so what matters is how often it fails each group there (NIST IR 8280, 2019): ``fmr`` and
``fnmr`` of a group are taken at the threshold of all pairs.  The group's own EER is given beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from embedder.comparisons import TemplateSet, count_impostors, genuine_scores, impostor_blocks
from embedder.evaluation.metrics import Acquisition, verification
from embedder.records import Unit

QUALITY_BANDS = ((0.7, "below 0.70"), (0.85, "0.70 to 0.85"), (0.95, "0.85 to 0.95"), (2.0, "0.95 and more"))
"""Upper ends of the quality score, and what the bands are called."""

Names = NDArray[np.str_]
"""(N,) the group of each row of a template set; "" for none."""


class GroupErrors(BaseModel):
    """Errors of one group; None where it has no pair of the kind that a rate needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fmr: Unit | None
    fnmr: Unit | None
    eer: Unit | None
    n_genuine: int = Field(ge=0)
    n_impostor: int = Field(ge=0)
    people: int = Field(ge=0)


def errors_by_group(
    probe: TemplateSet, gallery: TemplateSet | None, names: Names, other_names: Names | None, threshold: float
) -> dict[str, GroupErrors]:
    """Errors at ``threshold`` by the group that ``names`` gives each probe, sorted by name.

    With ``other_names``, the groups of the gallery's rows, both pictures of a pair are of the group, so that impostors
    come from it.  With None, the probe alone is, and meets the whole gallery: without ``gallery`` every other picture,
    so that a pair of two pictures of the group counts in both orders.
    """
    found = {}
    for name in sorted(set(names.tolist()) - {""}):
        mine = subset(probe, names == name)
        if other_names is None:
            theirs: TemplateSet | None = probe if gallery is None else gallery
        else:
            theirs = None if gallery is None else subset(gallery, other_names == name)
        found[name] = group_errors(mine, theirs, threshold)
    return found


def group_errors(probe: TemplateSet, gallery: TemplateSet | None, threshold: float) -> GroupErrors:
    """Errors at ``threshold`` of the pairs that ``verification`` would compare; a kind of them may be missing."""
    genuine = genuine_scores(probe, gallery)
    n_impostor = count_impostors(probe, gallery)
    matched = sum(int(np.count_nonzero(block >= np.float32(threshold))) for block in impostor_blocks(probe, gallery))
    eer = None
    if len(genuine) and n_impostor:
        eer = verification(probe, gallery, acquisition=Acquisition(0)).eer
    return GroupErrors(
        fmr=matched / n_impostor if n_impostor else None,
        fnmr=float(np.mean(genuine < np.float32(threshold))) if len(genuine) else None,
        eer=eer,
        n_genuine=len(genuine),
        n_impostor=n_impostor,
        people=len(np.unique(probe.people)),
    )


def subset(faces: TemplateSet, chosen: NDArray[np.bool_]) -> TemplateSet:
    """The ``chosen`` (N,) rows."""
    return TemplateSet(faces.templates[chosen], faces.people[chosen], faces.images[chosen])


def quality_band(score: float) -> str:
    """The name of the band that a quality score, 0 to 1, falls in."""
    return next(name for upper, name in QUALITY_BANDS if score < upper)
