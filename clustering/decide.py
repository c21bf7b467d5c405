"""Who is it?  The decision, pure: nothing here changes state.

A face joins the identity that it resembles clearly more than it resembles everybody else, or founds a new one.

Two things move the scores of strangers: some faces, blurred or plain ones, resemble many people a little; and with
more people in the roster the best stranger gets better.  A fixed threshold knows neither.  So the score of the best
identity is compared with the *background*: the face's mean score over the next best identities.  This is adaptive
score normalisation on the probe's side, without the division by a deviation (Matějka et al., "Analysis of score
normalization in multilingual speaker recognition", Interspeech 2017), with the roster itself as the cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clustering.compare import DECIMALS, Resemblances, Seen, compare, cosines_of
from clustering.gallery import Gallery
from clustering.places import Whereabouts, reachable
from clustering.roster import Identity, Roster, whereabouts
from clustering.visits import VISIT_GAP
from embedder.cards import Linking
from embedder.records import FaceEmbedding
from embedder.scale import Scale


class Policy(BaseModel):
    """How faces are linked.

    ``templates`` bounds what is kept of one person; a vector nearer than ``redundant`` to a kept one only replaces
    it.  ``nearest`` is how many templates a search looks at.  A face is not compared with a person last seen longer
    than ``horizon`` ago (None: no limit), or who would have had to travel faster than ``max_speed_kmh``, given
    that two clocks may disagree by ``clock_slack``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    visit_gap: Annotated[timedelta, Field(gt=timedelta(0))] = VISIT_GAP
    horizon: Annotated[timedelta, Field(gt=timedelta(0))] | None = None
    max_speed_kmh: Annotated[float, Field(gt=0)] = 300.0
    clock_slack: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(minutes=2)
    templates: Annotated[int, Field(ge=1, le=64)] = 8
    nearest: Annotated[int, Field(ge=1, le=1024)] = 64
    redundant: Annotated[float, Field(gt=0, le=1)] = 0.95


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is decided by: how the model's scores link faces, what they mean, and what the bank wants."""

    linking: Linking
    scale: Scale
    policy: Policy


@dataclass(frozen=True, slots=True)
class Candidates:
    """Whom a face may show: ``best`` are the numbers of the identities with the nearest templates (see ``Neighbours``).

    Best first, of equals the first founded.  ``known`` is how much the face resembles some of them, as templates are
    now; ``at_hand`` are some who can be where it is.
    """

    best: Sequence[int]
    known: Resemblances
    at_hand: frozenset[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided: ``number`` of the identity (None: found a new one), and what speaks for it.

    ``similarity`` is the score of the identity chosen (None for a founder), ``runner_up`` the best other's,
    ``slot`` where to keep the vector.
    """

    number: int | None
    similarity: float | None
    runner_up: float | None
    slot: int | None


def decide(face: FaceEmbedding, candidates: Candidates, roster: Roster, criteria: Criteria) -> Choice:
    """Choose the identity of ``face`` among those that it resembles."""
    best, known, at_hand = candidates.best, candidates.known, candidates.at_hand
    linking, policy = criteria.linking, criteria.policy
    people = roster.identities
    possible = list(best[: linking.cohort])
    if not at_hand.issuperset(possible):
        here = whereabouts(face.event)
        there = (n for n in best if n in at_hand or could_be_here(people[n], here, policy))
        possible = list(islice(there, linking.cohort))
    others = best[: linking.cohort + 1]
    missing = [number for number in dict.fromkeys(chain(others, possible)) if number not in known.scores]
    if missing:
        seen = Seen.of([face], roster.gallery.index.dim, criteria.scale)
        compared = compare(seen, np.array([missing]), roster.gallery, criteria.scale, linking)
        known = known.joined(*compared.told([missing]))
    scores, nearest = known.scores, known.nearest
    order = sorted(possible, key=lambda number: (-scores[number], number))
    chosen = order[0] if order else None
    background = background_of([nearest[n] for n in others if n != chosen], linking)
    if chosen is None:
        return Choice(None, None, None, 0)
    score = scores[chosen]
    if score - linking.background * background < linking.threshold:
        return Choice(None, None, score, 0)
    rival = scores[order[1]] if len(order) > 1 else None
    cosines = known.cosines.get(chosen) or cosines_of(face.template, chosen, roster.gallery)
    return Choice(chosen, score, rival, choose_slot(chosen, face, cosines, roster.gallery, policy))


def background_of(scores: list[float], linking: Linking) -> float:
    """How much a face resembles everybody else: the mean of the best ``cohort`` of ``scores``, one for each identity.

    Where there are fewer, and where a score is negative, zeros stand in: in a small roster a stranger's best score is
    low too.
    """
    top = sorted(scores, reverse=True)[: linking.cohort]
    return round(sum(max(0.0, score) for score in top) / linking.cohort, DECIMALS)


def could_be_here(identity: Identity, here: Whereabouts, policy: Policy) -> bool:
    """Whether the person, last seen where they were, can be at this machine now."""
    if policy.horizon is not None and here.at - identity.last.at > policy.horizon:
        return False
    return reachable(identity.last, here, policy.max_speed_kmh, policy.clock_slack)


def choose_slot(number: int, face: FaceEmbedding, cosines: list[float], gallery: Gallery, policy: Policy) -> int | None:
    """Where to keep the face's vector among the templates of its identity; None for nowhere.

    ``cosines`` are those with each of these templates.  Kept ones should show the person's different looks: a vector
    that repeats one only replaces it when it is of better quality, and when all slots are taken the worse of the two
    most alike gives way.
    """
    quality = face.quality.score
    nearest = cosines.index(max(cosines))
    if cosines[nearest] >= policy.redundant:
        return nearest if quality > gallery.quality(number, nearest) else None
    if len(cosines) < policy.templates:
        return len(cosines)
    templates = gallery.index.get(gallery.rows(number)).astype(np.float64)
    alike = np.round(templates @ templates.T, DECIMALS)
    np.fill_diagonal(alike, -2)
    first, second = sorted(divmod(int(alike.argmax()), len(alike)))
    if (cosines[nearest], -nearest) > (alike[first, second], -first):  # the newcomer is one of the two
        return nearest if quality > gallery.quality(number, nearest) else None
    return first if gallery.quality(number, first) < gallery.quality(number, second) else second
