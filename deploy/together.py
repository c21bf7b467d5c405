"""Several roles in one process, each in a thread of its own, behind one health port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Event, Lock

from deploy.settings import Settings
from deploy.watch import Watch

Runner = Callable[[Settings, Watch, Event], None]


def run_together(runners: Mapping[str, Runner], settings: Settings, watch: Watch, stop: Event) -> None:
    """Run ``runners``, by name, until ``stop`` is set.  When one fails, all end, and its error is raised."""
    shared = _Shared(watch, frozenset(runners))
    with ThreadPoolExecutor(len(runners), thread_name_prefix="role") as pool:
        running = [pool.submit(run, settings, shared.of(name), stop) for name, run in runners.items()]
        try:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
        finally:
            stop.set()
    errors = [error for one in (*done, *running) if (error := one.exception()) is not None]
    if errors:
        raise errors[0]


class _Shared:
    """One watch for several roles: the process is ready when all are, and lives while all of their loops turn."""

    def __init__(self, watch: Watch, names: frozenset[str]) -> None:
        self._watch = watch
        self._names = names
        self._lock = Lock()
        self._ready: set[str] = set()
        self._turned: set[str] = set()

    def of(self, name: str) -> Watch:
        """What the role ``name`` is to tell."""

        def ready() -> None:
            with self._lock:
                self._ready.add(name)
                whole = self._ready == self._names
            if whole:
                self._watch.ready()
            turning()  # after it: to be ready counts as a turn of this role alone

        def not_ready(reason: str) -> None:
            with self._lock:
                self._ready.discard(name)
            self._watch.not_ready(f"{name}: {reason}")

        def turning() -> None:
            with self._lock:
                self._turned.add(name)
                whole = self._turned == self._names
                if whole:
                    self._turned.clear()
            if whole:
                self._watch.turning()

        def restarted(reason: str) -> None:
            self._watch.restarted(f"{name}: {reason}")

        return replace(
            self._watch,
            batch=self._watch.batch_as(name),
            ready=ready,
            not_ready=not_ready,
            turning=turning,
            restarted=restarted,
        )
