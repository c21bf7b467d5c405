"""What a role tells about itself while it runs, and how its loop comes to tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from alerts.webhook import Outcome
from clustering.stage import ClusterStage
from deploy.metrics import STAGES, Dependency
from ingest.errors import BadRecord, Unavailable
from ingest.kafka_bus.member import Member, Place
from ingest.reasons import Reason
from ingest.records import AtmEvent
from ingest.stage import Chain
from ingest.worker import Progress

COMMIT = "commit"
"""The step that is no stage: everything becoming durable at once."""

LAGS_EVERY_S = 1.0
UNASKED = frozenset({Reason.OUTSIDE_ROOT, Reason.BAD_RECORD})
"""Why a picture is refused before its store is asked."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a role tells about itself: that its loop turns, what a batch gave, whether it can work, and losses.

    ``batch_as`` gives the ``batch`` of one role of several in a process: each counts what it makes, and no other.
    ``lags`` and ``view_lags`` are in records; ``lags`` hears a topic, and all of its partitions that this process has.
    ``spent`` and ``restored`` are in seconds; ``spent`` hears a step's name before them.  ``sized`` hears a scope, its
    templates and its identities; ``depends`` whether a dependency answers; ``sent`` what came of a try to deliver an
    alert; ``answered`` a status of the gateway's, and the request's seconds.
    """

    turning: Callable[[], None] = lambda: None
    batch: Callable[[Progress], None] = lambda _: None
    batch_as: Callable[[str], Callable[[Progress], None]] = lambda _: lambda _: None
    ready: Callable[[], None] = lambda: None
    not_ready: Callable[[str], None] = lambda _: None
    restarted: Callable[[str], None] = lambda _: None
    depends: Callable[[Dependency, bool], None] = lambda _, __: None
    spent: Callable[[str, float], None] = lambda _, __: None
    restored: Callable[[float], None] = lambda _: None
    sized: Callable[[str, int, int], None] = lambda _, __, ___: None
    lags: Callable[[str, Mapping[Place, int]], None] = lambda _, __: None
    view_lags: Callable[[Mapping[Place, int]], None] = lambda _: None
    sent: Callable[[Outcome], None] = lambda _: None
    answered: Callable[[int, float], None] = lambda _, __: None

    def commit(self, seconds: float) -> None:
        """What a commit took."""
        self.spent(COMMIT, seconds)


class Measured:
    """Tells what each stage of ``chain`` spends, and how large the roster of ``scope`` is.  Owned by one thread."""

    def __init__(self, watch: Watch, chain: Chain, scope: str | None = None) -> None:
        self._watch = watch
        self._chain = chain
        self._scope = scope
        self._before = dict(chain.seconds)

    def batch(self, progress: Progress) -> None:
        """Tell of a batch; for a worker's ``on_batch``."""
        self._watch.batch(progress)
        for name, seconds in self._chain.seconds.items():
            if name in STAGES:
                self._watch.spent(name, seconds - self._before[name])
            self._before[name] = seconds
        self.size()

    def size(self) -> None:
        """Tell how large the roster is, if there is one."""
        for stage in self._chain.stages:
            if isinstance(stage, ClusterStage) and self._scope is not None:
                self._watch.sized(self._scope, len(stage.roster.gallery), len(stage.roster))


def polling(watch: Watch, member: Member, topic: str) -> Callable[[], None]:
    """What to do at each poll of ``member``: tell that the loop turns, and now and then its lags in ``topic``."""
    told = 0.0

    def poll() -> None:
        nonlocal told
        watch.turning()
        if monotonic() - told >= LAGS_EVERY_S:
            told = monotonic()
            watch.lags(topic, member.lags())

    return poll


def fetching(watch: Watch, fetch: Callable[[AtmEvent], bytes]) -> Callable[[AtmEvent], bytes]:
    """``fetch``, telling whether the store of pictures answers; to wait for it is no standstill."""

    def fetched(event: AtmEvent) -> bytes:
        answers = event.image is None
        try:
            return fetch(event)
        except Unavailable:
            watch.turning()
            watch.depends(Dependency.OBJECT_STORE, False)
            answers = False
            raise
        except BadRecord as error:
            answers = answers and error.reason not in UNASKED
            raise
        finally:
            if answers:
                watch.depends(Dependency.OBJECT_STORE, True)

    return fetched
