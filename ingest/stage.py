"""The pipeline's one verb, and what a stage with a memory owes to recovery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, runtime_checkable

from ingest.errors import Unavailable
from ingest.records import Position, Record


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record on its way, with the position of the input that it came from."""

    record: Record
    position: Position


class Stage(Protocol):
    """Turns a batch of records into the records that go on.

    Records that a stage does not know it passes on in place, so a chain of stages is a stage, and rejections
    reach the end.  Order is kept; outputs carry their input's position.  A stage is used by one thread at a
    time, and raises ``Unavailable`` (nothing was changed, try again) or dies.
    """

    name: str

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]: ...


@runtime_checkable
class Stateful(Protocol):
    """A stage whose memory is a fold over the journal.

    ``apply`` folds one journalled record, and doing it twice changes nothing; a record that the stage does not
    know it skips.  ``snapshot`` returns that memory as bytes (never pickle), also while it is blank, and
    ``restore`` puts it back, or raises ``Corrupt`` and changes nothing.
    """

    name: str

    def apply(self, record: Record) -> None: ...

    def snapshot(self) -> bytes: ...

    def restore(self, content: bytes) -> None: ...


@runtime_checkable
class Foreseeing(Protocol):
    """A stage that can begin with a batch while it still works on the one before.

    ``foresee`` is told a batch that is to be processed after all that were foreseen before it.  It returns at once,
    and changes nothing but the time that ``process`` takes.
    """

    def foresee(self, batch: Sequence[Delivery]) -> None: ...


class Chain:
    """Stages one after the other, as one stage; keeps the seconds that each has spent.

    A stage with a memory has changed it once it is through, so the chain can't be tried again when a later stage
    is ``Unavailable``: that is a ``RuntimeError``, and ends the process.
    """

    name = "chain"

    def __init__(self, *stages: Stage) -> None:
        self.stages = stages
        self.seconds = {stage.name: 0.0 for stage in stages}

    def process(self, batch: Sequence[Delivery]) -> list[Delivery]:
        deliveries = list(batch)
        changed = False
        for stage in self.stages:
            start = perf_counter()
            try:
                deliveries = stage.process(deliveries)
            except Unavailable as error:
                if changed:
                    message = f"{stage.name} gave up after an earlier stage had changed its memory"
                    raise RuntimeError(message) from error
                raise
            self.seconds[stage.name] += perf_counter() - start
            changed = changed or bool(stateful_in(stage))
        return deliveries

    def foresee(self, batch: Sequence[Delivery]) -> None:
        """Let the stages that can begin with ``batch``, as far as earlier stages will let it pass as it is."""
        for stage in self.stages:
            if isinstance(stage, Foreseeing):
                stage.foresee(batch)

    @property
    def stateful(self) -> list[Stateful]:
        """The stages that have a memory, in order, those of chains within the chain too."""
        return [found for stage in self.stages for found in stateful_in(stage)]


def stateful_in(stage: Stage) -> list[Stateful]:
    """``stage`` itself if it has a memory, or the stages of a chain that have one."""
    if isinstance(stage, Chain):
        return stage.stateful
    return [stage] if isinstance(stage, Stateful) else []
