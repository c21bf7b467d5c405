"""ROC and DET curves and score histograms, as PNG and SVG.

Matplotlib is in the extra ``bench`` and imported when a plot is drawn: nothing else needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.evaluation.curve import ScoreCounts
from ingest.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe & Ito's palette: told apart by the colour-blind, too."""
DASHES = ("-", "--", "-.", ":")
HISTOGRAM_BINS = 128
FORMATS = ("png", "svg")
STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "atmwatch",
    "svg.fonttype": "none",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn of one comparison: its counted ``scores``, its ``eer`` and the threshold there."""

    scores: ScoreCounts
    eer: float
    threshold: float


def check_plots() -> None:
    """Raise ``UsageError`` when plots can't be drawn here: to be asked before long work."""
    if find_spec("matplotlib") is None:
        message = "plots need Matplotlib: pip install 'atmwatch[bench]'"
        raise UsageError(message)


def write_plots(folder: Path, title: str, curves: Mapping[str, Curve]) -> list[Path]:
    """Draw ``curves``, by their names in the legend, into ``folder``: det, roc and scores, each as PNG and SVG.

    The folder is made when it is not there; files of these names are replaced.  Raises ``UsageError`` when Matplotlib
    is not installed, or the folder can't be written.  The same curves give the same SVG.
    """
    check_plots()
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    written = []
    with rc_context(STYLE):
        for name, draw, size in (
            ("det", _det, (6.4, 5.2)),
            ("roc", _roc, (6.4, 5.2)),
            ("scores", _histograms, (6.4, 1.2 + 2.2 * len(curves))),
        ):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure, curves)
            figure.suptitle(title, fontsize=11, x=0.01, ha="left")
            written += _save(figure, folder, name)
    return written


def _det(figure: Figure, curves: Mapping[str, Curve]) -> None:
    """FNMR over FMR, both logarithmic: the better curve is nearer to the lower left."""
    axes = figure.subplots()
    floor = _floor(curves)
    for place, (name, curve) in enumerate(curves.items()):
        fmr, fnmr = np.maximum(curve.scores.fmr, floor / 10), np.maximum(curve.scores.fnmr, floor / 10)
        axes.plot(fmr, fnmr, drawstyle="steps-post", label=_legend(name, curve), **_pen(place))
        _mark(axes, curve.eer, curve.eer, place)
    diagonal = np.array([floor, 1.0])
    axes.plot(diagonal, diagonal, color="#7f7f7f", linewidth=0.8, linestyle=":", label="FMR = FNMR", zorder=1)
    axes.set(xscale="log", yscale="log", xlim=(floor, 1), ylim=(floor, 1))
    axes.set_xlabel("false match rate (FMR)")
    axes.set_ylabel("false non-match rate (FNMR)")
    axes.legend(loc="upper right")


def _roc(figure: Figure, curves: Mapping[str, Curve]) -> None:
    """1 - FNMR over a logarithmic FMR: the better curve is nearer to the upper left."""
    axes = figure.subplots()
    floor = _floor(curves)
    lowest = 1.0
    for place, (name, curve) in enumerate(curves.items()):
        fmr, matched = curve.scores.fmr, 1 - curve.scores.fnmr
        axes.plot(np.maximum(fmr, floor / 10), matched, label=_legend(name, curve), **_pen(place))
        _mark(axes, curve.eer, 1 - curve.eer, place)
        lowest = min(lowest, float(matched[fmr >= floor].min(initial=1.0)))
    axes.set(xscale="log", xlim=(floor, 1), ylim=(max(0.0, lowest - 0.05), 1.005))
    axes.set_xlabel("false match rate (FMR)")
    axes.set_ylabel("true match rate (1 - FNMR)")
    axes.legend(loc="lower right")


def _histograms(figure: Figure, curves: Mapping[str, Curve]) -> None:
    """How the scores of genuine and impostor pairs lie, on a logarithmic density, one panel a curve."""
    panels = np.atleast_1d(figure.subplots(len(curves), 1, sharex=True))
    low, high = 1.0, -1.0
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        edges, genuine, impostor = curve.scores.histogram(HISTOGRAM_BINS)
        for density, colour, label in ((impostor, COLOURS[1], "impostor"), (genuine, COLOURS[0], "genuine")):
            axes.stairs(density, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(density, edges, color=colour, label=label)
        used = np.flatnonzero(genuine + impostor)
        low, high = min(low, edges[used[0]]), max(high, edges[used[-1] + 1])
        axes.axvline(curve.threshold, color="#404040", linewidth=1, linestyle="--", label=f"EER {_percent(curve.eer)}")
        axes.set_yscale("log")
        axes.set_ylabel("density")
        axes.set_title(name, fontsize=10, loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panels[-1].set(xlim=(low - 0.02, high + 0.02))
    panels[-1].set_xlabel("score (cosine)")


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0])
        figure.savefig(paths[1], metadata={"Date": None})
    except OSError as error:
        message = f"plots can't be written into {folder}: {error.strerror}"
        raise UsageError(message) from error
    return paths


def _floor(curves: Mapping[str, Curve]) -> float:
    """The lowest rate that is drawn: a power of ten that the impostor pairs still resolve, 1e-6 to 1e-2."""
    pairs = max(int(curve.scores.impostor.sum()) for curve in curves.values())
    return float(np.clip(10.0 ** -np.floor(np.log10(max(1, pairs) / 10 + 1)), 1e-6, 1e-2))


def _pen(place: int) -> dict[str, Any]:
    colour = COLOURS[place % len(COLOURS)]
    return {"color": colour, "linestyle": DASHES[place // len(COLOURS) % len(DASHES)], "linewidth": 1.6}


def _mark(axes: Axes, x: float, y: float, place: int) -> None:
    """The point of equal errors."""
    if x > 0:
        colour = COLOURS[place % len(COLOURS)]
        axes.plot([x], [y], marker="o", markersize=6, color=colour, markeredgecolor="white", zorder=5)


def _legend(name: str, curve: Curve) -> str:
    return f"{name}: EER {_percent(curve.eer)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
