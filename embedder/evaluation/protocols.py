"""Who and what is compared: the tuning and the reporting people, and the protocol of one probe of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from embedder.comparisons import TemplateSet
from embedder.evaluation.bootstrap import Interval, crossing, percentiles
from embedder.pairs import PairRows
from embedder.records import Unit

DRAWS = 100
"""Of probes, over which ``one_probe_each`` is averaged."""


class People(StrEnum):
    """Which people of a folder: all, those for tuning, or those for reporting."""

    ALL = "all"
    FIRST_FIFTH = "first-fifth"
    REST = "rest"


def choose_people(names: Iterable[str], part: People) -> frozenset[str]:
    """The ``part`` of the people: their names sorted by code point, the first fifth (rounded down) is for tuning."""
    ordered = sorted(set(names))
    fifth = len(ordered) // 5
    chosen = {People.ALL: ordered, People.FIRST_FIFTH: ordered[:fifth], People.REST: ordered[fifth:]}
    return frozenset(chosen[part])


class OneProbeEach(BaseModel):
    """The protocol of one authentic and one impostor probe per person: means over draws of the probes.

    ``eer_spread`` and ``frr100_spread`` hold the middle 95 % of the draws: how much the choice of pictures alone moves
    the figures of a single draw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eer: Unit
    frr100: Unit
    eer_spread: Interval
    frr100_spread: Interval
    people: int = Field(ge=2)
    draws: int = Field(ge=1)


def one_probe_pairs(probe: TemplateSet, gallery: TemplateSet | None = None, *, seed: int = 0) -> PairRows:
    """Each person's enrolled picture against one probe of their own and one of somebody else's.

    A person takes part who has two different pictures, one of them in the gallery.  Enrolled is their gallery picture
    of the lowest number; the authentic probe is drawn from their other probes, the impostor probe from those of the
    other people, all alike.  So there are as many impostor as genuine pairs, as in the tables of the DICTA 2021
    benchmark of masked faces.  ``seed`` draws.  The pairs are none when nobody, or one person alone, takes part.
    """
    second = probe if gallery is None else gallery
    rng = np.random.default_rng(seed)
    rows, columns, genuine = [], [], []
    enrolled = _first_rows(second)
    own = _rows_of(probe)
    for person, column in enrolled.items():
        mine = own.get(person, np.empty(0, np.int64))
        mine = mine[probe.images[mine] != second.images[column]]
        if len(mine) and len(own) > 1:
            stranger = int(rng.integers(len(probe.people)))
            while probe.people[stranger] == person:
                stranger = int(rng.integers(len(probe.people)))
            rows += [int(rng.choice(mine)), stranger]
            columns += [column, column]
            genuine += [True, False]
    return PairRows(np.array(rows, np.int64), np.array(columns, np.int64), np.array(genuine, np.bool_))


def one_probe_each(
    probe: TemplateSet, gallery: TemplateSet | None = None, *, draws: int = DRAWS, seed: int = 0
) -> OneProbeEach | None:
    """The mean error rates of ``draws`` times ``one_probe_pairs``; None when fewer than two people take part."""
    second = probe if gallery is None else gallery
    rates = np.zeros((draws, 2))
    people = 0
    for draw in range(draws):
        pairs = one_probe_pairs(probe, gallery, seed=seed + draw)
        people = len(pairs.first) // 2
        if people < 2:
            return None
        scores = np.einsum("ij,ij->i", probe.templates[pairs.first], second.templates[pairs.second])
        rates[draw] = _rates(scores[pairs.genuine], scores[~pairs.genuine])
    eer, frr100 = rates.T
    return OneProbeEach(
        eer=float(eer.mean()),
        frr100=float(frr100.mean()),
        eer_spread=percentiles(eer),
        frr100_spread=percentiles(frr100),
        people=people,
        draws=draws,
    )


def _rates(genuine: NDArray[np.float32], impostor: NDArray[np.float32]) -> tuple[float, float]:
    """EER and FNMR at FMR <= 1 % of a few scores: what ``verification`` says, without its preparations for millions."""
    thresholds = np.append(np.unique(np.concatenate([genuine, impostor])), np.float32(np.inf))
    fnmr = np.searchsorted(np.sort(genuine), thresholds, "left") / len(genuine)
    matched = len(impostor) - np.searchsorted(np.sort(impostor), thresholds, "left")
    allowed = int(np.argmax(matched * 100 <= len(impostor)))
    return crossing(matched / len(impostor), fnmr), float(fnmr[allowed])


def _first_rows(faces: TemplateSet) -> dict[int, int]:
    """The row of the picture with the lowest number, by person."""
    first: dict[int, int] = {}
    for row in np.argsort(faces.images, kind="stable").tolist():
        first.setdefault(int(faces.people[row]), row)
    return first


def _rows_of(faces: TemplateSet) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(faces.people, kind="stable")
    people, starts = np.unique(faces.people[order], return_index=True)
    return dict(zip(people.tolist(), np.split(order, starts[1:]), strict=True)) if len(people) else {}
