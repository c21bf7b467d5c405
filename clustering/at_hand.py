"""Who can be at a machine now, seen for all faces of a batch at once.

Most people that a face resembles can be there: they were seen in the same town, or long enough ago.  For a whole batch
that costs little; asked person by person it takes a seventh of a decision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clustering.decide import Policy
from clustering.gallery import NOBODY
from clustering.places import LastSeen, Whereabouts


class AtHand:
    """Of the faces of one batch: which of the identities that each resembles most plainly can be where it is.

    That is ``where`` (n of them); ``leading`` (n, m) are the numbers of these identities, or ``NOBODY``.  To be made
    before the first face is decided; whoever is seen again meanwhile is told to ``moved``.
    """

    def __init__(
        self, where: Sequence[Whereabouts], leading: NDArray[np.int64], last_seen: LastSeen, policy: Policy
    ) -> None:
        plain = last_seen.plainly_reach(leading, where, policy.max_speed_kmh, policy.clock_slack, policy.horizon)
        lines = zip(leading.tolist(), plain.tolist(), strict=True)
        self._plain = [frozenset(line) - {NOBODY} if good else frozenset[int]() for line, good in lines]
        self._moved: set[int] = set()

    def moved(self, number: int) -> None:
        """Note that this identity has been seen again."""
        self._moved.add(number)

    def of(self, place: int) -> frozenset[int]:
        """The identities that can be where the face at ``place`` is; of others it is not known."""
        plain = self._plain[place]
        return plain if self._moved.isdisjoint(plain) else plain - self._moved
