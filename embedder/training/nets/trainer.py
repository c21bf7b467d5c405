"""The training loop: resumable, the same for the same seed, and telling how far it is."""

from __future__ import annotations

import copy
import hashlib
import math
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from embedder.training.nets import checkpoint
from embedder.training.nets.checkpoint import Stand
from embedder.training.nets.network import WIDTH, WIDTHS, PeriocularNet, as_input, from_sface
from embedder.training.nets.objective import Objective, ObjectiveOptions
from embedder.training.nets.thin import thinned
from embedder.training.nets.whiten import whitened
from embedder.training.pool import Pool
from embedder.training.samples import Sample, SampleOptions, Samples
from ingest.errors import UsageError

CHECKPOINT = "checkpoint.safetensors"
THINNING = 300
"""Samples by which a network is thinned."""
WHITENING = 2560
"""Samples by which its head is whitened at the end."""
SMALLEST = 1e-3
"""The root mean square that a parameter is taken to have at least, so that those of 0 are learnt too."""


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a run goes.

    ``samples`` of two views each make a step.  ``rate`` is the highest learning rate, reached after ``warm_up`` steps,
    in parts of the root mean square that a layer's weights begin with: those of SFace's last layers are so small that
    what suits the first ones destroys them (as in LARS; You, Gitman & Ginsburg, 2017).
    ``widths`` are the network's channels: SFace is thinned to them before the first step (see ``thin``).
    After ``early`` steps the high-resolution layers stay as they are.  ``average`` is the memory, in steps, of the mean
    of weights that is kept.  Of that mean, the share ``blend`` goes into the model, and for the rest what the run began
    with: on what training did not show, both together are better than either (Wortsman et al., "Robust fine-tuning of
    zero-shot models", CVPR 2022).  ``device`` is PyTorch's name.
    """

    steps: int = 4000
    samples: int = 32
    rows: int = 104
    widths: tuple[int, ...] = (*WIDTHS[:6], *(464,) * 6, 832, 704)
    rate: float = 1e-3
    decay: float = 0.01
    warm_up: int = 50
    early: int = 0
    average: int = 200
    blend: float = 0.75
    workers: int = 1
    every: int = 50
    device: str = "cpu"
    sampling: SampleOptions = field(default_factory=SampleOptions)
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)


@dataclass(frozen=True, slots=True)
class Progress:
    """After ``step`` of ``steps``: the mean losses since the last word, pictures a second, and seconds left."""

    step: int
    steps: int
    losses: dict[str, float]
    rate: float
    left_s: float


class _Numbers(Sampler[int]):
    """The numbers of the samples from one step to the last."""

    def __init__(self, first: int, last: int) -> None:
        self._range = range(first, last)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


def _collate(samples: list[Sample]) -> tuple[Tensor, Tensor]:
    pictures = np.concatenate([sample.pictures for sample in samples])
    return as_input(pictures), torch.from_numpy(np.stack([sample.rows for sample in samples]))


def _deaf(_worker: int) -> None:
    """Leave signals to the run: Ctrl-C goes to its workers too, and the step at hand still needs their samples."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class Training:
    """One run in one folder: begun from SFace's weights, or gone on with from its checkpoint.

    ``usable`` are the pool's rows that are learnt from, all without; ``thinning`` hears of how many layers have been
    thinned.
    """

    def __init__(
        self,
        folder: Path,
        pool: Pool,
        start: Path,
        options: TrainingOptions,
        *,
        usable: NDArray[np.int64] | None = None,
        thinning: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self._options = options
        self._samples = Samples(pool, (options.rows, WIDTH), options.sampling, usable)
        # How it is computed is no part of the plan: a run may go on with other workers, or on another device.
        settled = asdict(replace(options, workers=0, device="", every=0))
        self._plan = hashlib.sha256(f"{settled}{len(pool)}".encode()).hexdigest()
        self._device = torch.device(options.device)
        # In the mode of use: batch norms keep SFace's statistics, which those of a batch of masked faces would spoil.
        stand = checkpoint.load(folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else None
        begun = self._thinned(from_sface(start, options.rows), thinning) if stand is None else self._like(stand)
        self.network = begun.eval().to(self._device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self._start = {name: value.cpu().clone() for name, value in begun.state_dict().items()}
        self._objective = Objective(
            torch.from_numpy(np.array(pool.teacher)).to(self._device),
            torch.from_numpy(pool.person.astype(np.int64)).to(self._device),
            options.objective,
        )
        parameters = list(self.network.parameters())
        self._sizes = torch.stack([p.detach().square().mean().sqrt().clamp(min=SMALLEST).cpu() for p in parameters])
        self._optimizer = torch.optim.AdamW(
            [{"params": p, "weight_decay": options.decay if p.ndim > 1 else 0.0} for p in parameters]
        )
        self.step = 0
        self.curves: list[dict[str, float]] = []
        if stand is not None:
            self.average.load_state_dict(stand.parts["average"])
            self._start = dict(stand.parts["start"])
            self._sizes = stand.parts["sizes"]["sizes"]
            self._optimizer.load_state_dict(_unfolded(stand.parts["optimizer"], self._optimizer.state_dict()))
            self._objective.restore(stand.parts.get("objective", {}))
            self.step, self.curves = stand.step, stand.curves

    def _like(self, stand: Stand) -> PeriocularNet:
        path = self.folder / CHECKPOINT
        found = PeriocularNet(self._options.rows, self._options.widths)
        try:
            found.load_state_dict(stand.parts["network"])
        except RuntimeError as error:
            message = f"{path} is a checkpoint of another architecture: name another folder, or that one's settings"
            raise UsageError(message) from error
        if stand.plan != self._plan:
            message = f"{path} is of a run with other settings or pictures: name another folder, or the same settings"
            raise UsageError(message)
        return found

    def _thinned(self, network: PeriocularNet, told: Callable[[int], None]) -> PeriocularNet:
        widths = self._options.widths
        if len(widths) != len(WIDTHS) or any(wanted > width for wanted, width in zip(widths, WIDTHS, strict=True)):
            message = f"widths are {len(WIDTHS)} numbers up to {WIDTHS}, not {widths}"
            raise UsageError(message)
        if widths == WIDTHS:
            return network
        seen, _ = _collate([self._samples[number] for number in range(THINNING)])
        return thinned(network.eval().to(memory_format=torch.channels_last), seen, widths, told)

    def run(self, on_progress: Callable[[Progress], None], stopped: Callable[[], bool] = lambda: False) -> None:
        """Train to the last step; a checkpoint is written with every word of progress, and when ``stopped`` says so."""
        options = self._options
        self.folder.mkdir(parents=True, exist_ok=True)
        loader = DataLoader(
            self._samples,
            batch_size=options.samples,
            sampler=_Numbers(self.step * options.samples, options.steps * options.samples),
            num_workers=options.workers,
            collate_fn=_collate,
            worker_init_fn=_deaf,
            prefetch_factor=4 if options.workers else None,
        )
        sums: dict[str, float] = {}
        since, first = monotonic(), self.step
        for pictures, rows in loader:
            for name, value in self._learn(pictures, rows).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            last = self.step == options.steps or stopped()
            if self.step % options.every == 0 or last:
                count = self.step - first
                losses = {name: round(value / count, 4) for name, value in sums.items()}
                spent = monotonic() - since
                self.curves.append({"step": self.step, **losses})
                self.save()
                left = spent / count * (options.steps - self.step)
                on_progress(Progress(self.step, options.steps, losses, count * len(pictures) / spent, left))
                sums, since, first = {}, monotonic(), self.step
            if last:
                return

    def finished(self) -> PeriocularNet:
        """What ships: the mean of weights blended with what the run began with, and its head whitened."""
        network = self._blended()
        options = replace(self._samples.options, masked=(1.0, 0.0), labelled=0.5, seed=self._samples.options.seed + 1)
        samples = self._samples.drawn_otherwise(options)
        pictures, rows = _collate([samples[number] for number in range(WHITENING)])
        return whitened(network, pictures.unflatten(0, (WHITENING, -1)), rows[:, 0] == rows[:, 1])

    def _blended(self) -> PeriocularNet:
        found = PeriocularNet(self._options.rows, self._options.widths)
        with torch.no_grad():
            for name, value in self.average.state_dict().items():
                begun, learnt = self._start[name], value.cpu()
                blend = torch.lerp(begun, learnt, self._options.blend) if learnt.dtype.is_floating_point else learnt
                found.state_dict()[name].copy_(blend)
        found.eval()
        return found

    def save(self) -> None:
        """Write the checkpoint."""
        parts = {
            "start": self._start,
            "sizes": {"sizes": self._sizes},
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": _folded(self._optimizer.state_dict()),
            "objective": self._objective.state(),
        }
        checkpoint.save(self.folder / CHECKPOINT, Stand(self.step, self._plan, self.curves, parts))

    def _learn(self, pictures: Tensor, rows: Tensor) -> dict[str, float]:
        options = self._options
        if self.step >= options.early:
            self.network.freeze_early()
        for group, size in zip(self._optimizer.param_groups, self._sizes.tolist(), strict=True):
            group["lr"] = options.rate * size * self._share()
        batch = pictures.to(self._device, memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16):
            vectors = self.network(batch)
        losses = self._objective(vectors.float().view(len(rows), 2, -1), rows.to(self._device))
        self._optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self._optimizer.step()
        _average_into(self.average, self.network, 1 - 1 / min(options.average, self.step + 1))
        return {name: float(getattr(losses, name).detach()) for name in ("total", "distil", "teacher", "pair")}

    def _share(self) -> float:
        """Of the highest rate: up in a line, down in half a cosine."""
        options = self._options
        if self.step < options.warm_up:
            return (self.step + 1) / options.warm_up
        done = (self.step - options.warm_up) / max(1, options.steps - options.warm_up)
        return 0.5 * (1 + math.cos(math.pi * done))


def _average_into(average: PeriocularNet, network: PeriocularNet, keep: float) -> None:
    """Move ``average`` towards ``network``, keeping ``keep`` of it (Polyak averaging); buffers alike."""
    with torch.no_grad():
        for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)


def _folded(state: dict[str, Any]) -> dict[str, Tensor]:
    """An optimizer's state with one name for each tensor: the parameter's number, and what it is of it."""
    return {f"{number}.{name}": value for number, of in state["state"].items() for name, value in of.items()}


def _unfolded(tensors: Mapping[str, Tensor], state: dict[str, Any]) -> dict[str, Any]:
    """``state`` with the tensors of ``_folded``."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        found.setdefault(int(number), {})[name] = value
    return state | {"state": found}
