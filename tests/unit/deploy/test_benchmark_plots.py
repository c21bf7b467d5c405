from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import run
from numpy.typing import NDArray
from portraits import ALICE, CAROL, portrait, put

from deploy.benchmarks import accuracy
from deploy.benchmarks.plots import Curve, write_plots
from deploy.benchmarks.speed import milliseconds_per_face
from embedder.evaluation.curve import BINS, ScoreCounts
from ingest.errors import UsageError


def bell(centre: float, width: float, count: int) -> NDArray[np.int64]:
    scores = np.random.default_rng(1).normal(centre, width, count)
    return np.histogram(np.clip(scores, -1, 1), BINS, (-1, 1))[0]


CURVES = {
    "one": Curve(ScoreCounts(bell(0.5, 0.12, 500), bell(0.05, 0.1, 50_000)), 0.021, 0.28),
    "perfect": Curve(ScoreCounts(bell(0.9, 0.01, 500), bell(0.05, 0.1, 50_000)), 0.0, 0.6),
}


def test_every_plot_is_drawn_twice_and_says_what_it_shows(tmp_path: Path) -> None:
    written = write_plots(tmp_path / "new" / "plots", "Both masked", CURVES)
    assert sorted(path.name for path in written) == [
        "det.png", "det.svg", "roc.png", "roc.svg", "scores.png", "scores.svg",
    ]  # fmt: skip
    for path in written:
        if path.suffix == ".png":
            picture = cv2.imread(str(path))
            assert picture is not None
            assert min(picture.shape[:2]) > 500
    det, roc, scores = (path.read_text("utf-8") for path in written if path.suffix == ".svg")
    for text in (det, roc):
        assert "false match rate (FMR)" in text
        assert "one: EER 2.10 %" in text
        assert "Both masked" in text
    assert "false non-match rate (FNMR)" in det
    assert "true match rate (1 - FNMR)" in roc
    assert "impostor" in scores
    assert "genuine" in scores


def test_the_same_curves_give_the_same_svg(tmp_path: Path) -> None:
    first, second = (write_plots(tmp_path / name, "Title", CURVES) for name in ("a", "b"))
    assert [a.read_bytes() for a in first if a.suffix == ".svg"] == [
        b.read_bytes() for b in second if b.suffix == ".svg"
    ]


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="plots can't be written"):
        write_plots(tmp_path / "file", "Title", CURVES)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"atmwatch\[bench\]"):
        write_plots(tmp_path, "Title", CURVES)


def test_plots_of_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "milliseconds_per_face", partial(milliseconds_per_face, rounds=2))
    for name in (ALICE, CAROL):
        for number in (1, 2):
            put(tmp_path / "people" / name / f"{number}.jpg", portrait(name, 200 + number))
    outcome = run("evaluate", "verification", tmp_path / "people", "--plots", tmp_path / "plots", "--bootstrap", 0)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(list((tmp_path / "plots").iterdir())) == 6
    assert "Plots are in" in outcome.out
    options = ("--people", "all", "--bootstrap", 0, "--out", tmp_path / "out")
    outcome = run("bench", "accuracy", tmp_path / "people", *options)
    assert (outcome.code, outcome.err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out" / "plots").iterdir()) == [
        "both_masked",
        "masked_probe_unmasked_gallery",
        "unmasked",
    ]
    assert run("bench", "report", tmp_path / "out").code == 0
    assert "Not measured in this run." in (tmp_path / "out" / "report.md").read_text("utf-8")
