"""How well templates tell people apart: the error rates of verification.

A pair of pictures *matches* when its score (cosine) is at least the threshold.  FMR(t) is the share of impostor
pairs with score >= t, FNMR(t) the share of genuine pairs with score < t; the terms, and the reporting of
failures to acquire beside them, are ISO/IEC 19795-1's.  Nothing is approximated: every number is what sorting
all scores would give, but impostor scores are counted block by block and only their highest percent is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from embedder.comparisons import TemplateSet, count_impostors, genuine_scores, impostor_blocks
from embedder.pairs import PairRows
from embedder.records import Finite, Unit
from ingest.errors import UsageError

FMR_TARGETS = {"1e-2": 100, "1e-3": 1_000, "1e-4": 10_000}
"""One false match in so many impostor pairs: whole numbers, so that a target met exactly counts as met."""

_BINS = 2**20 + 2**13
"""Of ``_bin``, over -1 to 1 and the rounding errors beyond."""


class VerificationReport(BaseModel):
    """What ``evaluate verification`` prints.

    ``eer`` is where the curve of operating points crosses FMR = FNMR.  ``accuracy`` is the highest
    1 - (FMR + FNMR) / 2 of any threshold: genuine and impostor pairs weigh the same, however many there are.
    ``frr_at_fmr`` is the FNMR at the lowest threshold whose FMR does not exceed the target; with fewer impostor
    pairs than the target needs (10,000 for 1e-4) that is the FNMR at FMR 0.  ``frr100`` is the one at 1 %.
    ``thresholds`` holds those thresholds, and under ``eer`` the lowest genuine score whose FMR does not exceed
    its FNMR (just above the highest, where there is none).  ``failure_to_acquire`` is the share of ``images``
    without a usable face; they are in no pair.  ``people`` counts those who have a usable picture, and with a
    pairs file those who are in one of its pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eer: Unit
    accuracy: Unit
    frr_at_fmr: dict[str, Unit]
    frr100: Unit
    failure_to_acquire: Unit
    n_genuine: int = Field(ge=1)
    n_impostor: int = Field(ge=1)
    thresholds: dict[str, Finite]
    images: int = Field(ge=0)
    people: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How many pictures were tried, and how many of them ``failed`` to show a usable face.

    A picture that is tried twice, as probe and with another mask as gallery, counts twice.
    """

    images: int
    failed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.failed <= self.images:
            message = "failed must lie between 0 and images"
            raise ValueError(message)

    @property
    def failure_rate(self) -> float:
        """The failure-to-acquire rate, 0 to 1; 0 when nothing was tried."""
        return self.failed / self.images if self.images else 0.0


def verification(
    probe: TemplateSet,
    gallery: TemplateSet | None = None,
    *,
    acquisition: Acquisition,
    pairs: PairRows | None = None,
) -> VerificationReport:
    """Compare pictures and report the error rates.

    Without ``gallery`` every pair of different pictures is compared once; with it, every probe with every
    gallery picture of another number (ordered pairs).  ``pairs`` restricts this to the pairs of a protocol.
    Raises ``UsageError`` when there is no genuine or no impostor pair, and ``ValueError`` when a picture shows
    another person in the gallery.  Time is about 0.03 µs a pair on one core; memory some 70 MB, and about 80
    bytes per genuine and 0.2 bytes per impostor pair.
    """
    second = probe if gallery is None else gallery
    if pairs is None:
        genuine, n_impostor = genuine_scores(probe, gallery), count_impostors(probe, gallery)
        blocks = impostor_blocks(probe, gallery)
        people = len(np.union1d(probe.people, second.people))
        why = f"among the {people} people that the usable pictures show"
    else:
        scores = np.einsum("ij,ij->i", probe.templates[pairs.first], second.templates[pairs.second])
        genuine, impostor = scores[pairs.genuine], scores[~pairs.genuine]
        n_impostor, blocks = len(impostor), iter([impostor])
        people = len(np.union1d(probe.people[pairs.first], second.people[pairs.second]))
        why = f"in the pairs file; {pairs.left_out} of its pairs are left out for a picture without a usable face"
    failed = f"{acquisition.failed} of {acquisition.images} pictures have no usable face"
    if not len(genuine):
        message = f"there is no genuine pair (two pictures of one person) {why}; {failed}"
        raise UsageError(message)
    if not n_impostor:
        message = f"there is no impostor pair (pictures of two people) {why}; {failed}"
        raise UsageError(message)
    tally = _Tally(genuine, n_impostor)
    for block in blocks:
        tally.add(block)
    return _report(tally, acquisition, people)


class _Tally:
    """Genuine scores, and how the impostor scores that are added block by block lie around each of them.

    Impostors are counted in fine bins; only those that share a bin with a genuine score are sorted to be counted
    exactly, for sorting all of them takes four times as long.
    """

    def __init__(self, genuine: NDArray[np.float32], n_impostor: int) -> None:
        self.n_impostor = n_impostor
        self.n_genuine = len(genuine)
        self.scores, counts = np.unique(genuine, return_counts=True)
        self.genuine_upto = np.cumsum(counts)  # genuine scores <= each of `scores`
        self.genuine_below = self.genuine_upto - counts
        self._shared = np.zeros(_BINS, np.bool_)
        self._shared[_bin(self.scores)] = True
        self._binned = np.zeros(_BINS, np.int64)
        self._below = np.zeros(len(self.scores), np.int64)  # among the impostors that share a bin
        self._upto = np.zeros(len(self.scores), np.int64)
        self._tail = np.empty(0, np.float32)
        self._keep = n_impostor // min(FMR_TARGETS.values()) + 1

    def add(self, impostors: NDArray[np.float32]) -> None:
        bins = _bin(impostors)
        self._binned += np.bincount(bins, minlength=_BINS)
        near = np.sort(impostors[self._shared[bins]])
        self._below += np.searchsorted(near, self.scores, "left")
        self._upto += np.searchsorted(near, self.scores, "right")
        full = len(self._tail) == self._keep
        high = np.sort(impostors[impostors > self._tail[0]] if full else impostors)
        # a stable sort merges the two sorted runs in linear time
        self._tail = np.sort(np.concatenate([self._tail, high]), kind="stable")[-self._keep :]

    @property
    def impostors_from(self) -> NDArray[np.int64]:
        """Impostor scores >= each genuine score."""
        return self.n_impostor - self._below - self._in_lower_bins

    @property
    def impostors_above(self) -> NDArray[np.int64]:
        """Impostor scores > each genuine score."""
        return self.n_impostor - self._upto - self._in_lower_bins

    @property
    def _in_lower_bins(self) -> NDArray[np.int64]:
        unshared = np.where(self._shared, 0, self._binned)
        return np.asarray(np.cumsum(unshared)[_bin(self.scores)], np.int64)

    def highest_rejected(self, denominator: int) -> np.float32:
        """The impostor score just above which FMR <= 1 / ``denominator`` begins."""
        return np.float32(self._tail[-1 - self.n_impostor // denominator])

    def fnmr_above(self, score: np.float32) -> float:
        """FNMR of the lowest threshold above ``score``."""
        index = int(np.searchsorted(self.scores, score, "right"))
        return int(self.genuine_upto[index - 1]) / self.n_genuine if index else 0.0


def _report(tally: _Tally, acquisition: Acquisition, people: int) -> VerificationReport:
    limits = {name: tally.highest_rejected(denominator) for name, denominator in FMR_TARGETS.items()}
    frr = {name: tally.fnmr_above(limit) for name, limit in limits.items()}
    # FNMR changes at genuine scores only and FMR falls between them, so no other threshold can be more accurate
    errors = tally.impostors_from / tally.n_impostor + tally.genuine_below / tally.n_genuine
    eer, eer_threshold = _equal_error(tally)
    thresholds = {name: float(_next_up(limit)) for name, limit in limits.items()}
    return VerificationReport(
        eer=eer,
        accuracy=1 - float(errors.min()) / 2,
        frr_at_fmr=frr,
        frr100=frr["1e-2"],
        failure_to_acquire=acquisition.failure_rate,
        n_genuine=tally.n_genuine,
        n_impostor=tally.n_impostor,
        thresholds={**thresholds, "eer": eer_threshold},
        images=acquisition.images,
        people=people,
    )


def _equal_error(tally: _Tally) -> tuple[float, float]:
    """EER and its threshold.

    The operating points of all thresholds, joined by straight lines in order, run from (FMR 1, FNMR 0) to
    (0, 1); the EER is where that line crosses FMR = FNMR.  Between two genuine scores FNMR stands still, at an
    untied genuine score FMR does; only where genuine and impostor scores tie is the line slanted.
    """
    # FNMR - FMR times both counts, at each genuine score and just above it: whole numbers, compared exactly
    at = tally.genuine_below * tally.n_impostor - tally.impostors_from * tally.n_genuine
    above = tally.genuine_upto * tally.n_impostor - tally.impostors_above * tally.n_genuine
    k = int(np.argmax(above >= 0))  # the last is never negative
    eer = int(tally.genuine_below[k]) / tally.n_genuine
    if at[k] < 0:
        share = int(-at[k]) / int(above[k] - at[k])
        eer += share * int(tally.genuine_upto[k] - tally.genuine_below[k]) / tally.n_genuine
    settled = np.flatnonzero(at >= 0)
    threshold = tally.scores[settled[0]] if len(settled) else _next_up(tally.scores[-1])
    return eer, float(threshold)


def _bin(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """The bin of each cosine: a higher score never has a lower bin, and equal scores share one."""
    return (scores * np.float32(2**19)).astype(np.int32) + np.int32(_BINS // 2)


def _next_up(score: np.float32) -> np.float32:
    return np.float32(np.nextafter(score, np.float32(np.inf), dtype=np.float32))
