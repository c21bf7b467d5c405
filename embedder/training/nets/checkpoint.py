"""Where a training run stands, on disk: tensors in safetensors form, never pickle, and replaced whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ingest.errors import UsageError

FORMAT = "atmwatch.training.1"
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Stand:
    """After ``step`` steps of a run whose settings ``plan`` sums up, with the ``curves`` so far.

    ``parts`` holds the tensors of each part of the run, by names.
    """

    step: int
    plan: str
    curves: list[dict[str, float]]
    parts: dict[str, Tensors]


def save(path: Path, stand: Stand) -> None:
    """Write ``stand`` beside ``path``, then put it in its place: a crash leaves the one before."""
    tensors = {
        f"{part}/{name}": value.contiguous() for part, values in stand.parts.items() for name, value in values.items()
    }
    notes = {"format": FORMAT, "step": str(stand.step), "plan": stand.plan, "curves": json.dumps(stand.curves)}
    beside = path.with_name(path.name + ".new")
    save_file(tensors, beside, notes)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def load(path: Path) -> Stand:
    """What ``save`` wrote at ``path``.  Raises ``UsageError`` when it is no checkpoint, or one of another version."""
    parts: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118
                part, _, name = key.partition("/")
                parts.setdefault(part, {})[name] = file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        message = f"{path} is no checkpoint of a training run: {error}"
        raise UsageError(message) from error
    if notes.get("format") != FORMAT:
        message = f"{path} is no checkpoint of this version ({FORMAT})"
        raise UsageError(message)
    return Stand(int(notes["step"]), notes["plan"], json.loads(notes["curves"]), dict(parts))
