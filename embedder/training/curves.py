"""The course of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ingest.errors import UsageError

PARTS = {"distil": "distance to the teacher", "teacher": "contrast with the teacher", "pair": "contrast with views"}


def draw_curves(curves: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the losses over the steps, one panel a part, as PNG.  Raises ``UsageError`` without Matplotlib."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        message = "curves need Matplotlib: pip install 'atmwatch[train]'"
        raise UsageError(message) from error
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    steps = [point["step"] for point in curves]
    for axes, (name, title) in zip(figure.subplots(1, len(PARTS)), PARTS.items(), strict=True):
        axes.plot(steps, [point[name] for point in curves], color="#0072b2", marker=".", linewidth=1.4)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
        axes.grid(color="#d9d9d9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
