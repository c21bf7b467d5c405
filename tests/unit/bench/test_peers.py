"""The pure parts of the script that measures peers; the script itself installs dlib and is run by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.dlib_worker import models_folder
from bench.peers import Column, dlib_column, euclidean_sets, half_masked, main, sample, table

from deploy.evaluation.acquire import Acquired
from deploy.evaluation.pictures import Labelled


def test_cosines_rank_pairs_as_distances_do() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((20, 128)) * 0.12, rng.standard_normal((30, 128)) * 0.12
    probe, gallery = euclidean_sets((x, np.arange(20), np.arange(20)), (y, np.arange(30), np.arange(30)))
    cosines = probe.templates.astype(np.float64) @ gallery.templates.T.astype(np.float64)
    squares = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    slope, offset = np.polyfit(squares.ravel(), cosines.ravel(), 1)
    assert slope < 0
    assert cosines == pytest.approx(slope * squares + offset, abs=1e-5)
    assert offset == pytest.approx(0, abs=1e-5)


def pictures(*people: str) -> list[Labelled]:
    return [Labelled(person, Path(f"{person}/{number}.jpg"), number) for number, person in enumerate(people)]


def test_a_sample_is_of_people_with_two_pictures() -> None:
    found = sample(pictures("a", "a", "b", "c", "c", "d", "d"), 2, seed=1)
    assert [picture.number for picture in found] == [0, 1, 2, 3]
    assert len({picture.person for picture in found}) == 2
    assert "b" not in {picture.person for picture in found}
    assert sample(pictures("a", "a"), 9, seed=1)[0].person == "a"


def test_the_figures_of_what_dlib_found() -> None:
    near = [[0.0, 0.0], [0.1, 0.0], [1.0, 1.0], [1.0, 1.1]]
    result = {
        "bare": {"seconds": 0.4, "descriptors": near},
        "masked": {"seconds": 0.4, "descriptors": [None, [0.1, 0.1], [1.0, 1.0], [0.9, 1.0]]},
        "clusters": [0, 0, 1, None],
    }
    column = dlib_column(result, np.array([0, 0, 1, 1]))
    assert column.found == {"bare": 1.0, "masked": 0.75}
    assert column.seconds == pytest.approx(0.1)
    assert column.bcubed_f == 1
    assert set(column.errors.values()) == {(0.0, 0.0)}


def test_every_second_picture_is_masked() -> None:
    some = tuple(pictures("a", "a", "b"))
    bare = Acquired(some, failures={0: "no_face", 1: "no_face", 2: "no_face"})
    masked = Acquired(some, failures={0: "blurred", 1: "blurred", 2: "blurred"})
    assert half_masked({"bare": bare, "masked": masked}).failures == {0: "no_face", 1: "blurred", 2: "no_face"}


def test_the_table_is_one_and_the_script_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    errors = dict.fromkeys(("bare", "masked probe, bare gallery", "both masked"), (0.21, 0.5))
    text = table({"dlib": Column({"bare": 0.97, "masked": 0.22}, errors, 0.5, 0.167)})
    assert "| masked faces with a usable face | 22.0 % |" in text
    assert "| both masked: EER | 0.2100 |" in text
    assert "| one core, a picture | 167 ms |" in text
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "same pictures in one run" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="not installed"):
        models_folder()
