from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Outcome, run
from portraits import ALICE, ALICE_2, ALICE_3, BOB, CAROL, masked, nobody, portrait, put

from deploy.evaluate import MASKS, Acquirer, Labelled, check_mask, evaluate_stream, labelled_pictures, mask_of
from deploy.settings import load_settings
from embedder.synthetic_masks import MaskKind
from ingest.errors import UsageError


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people: Alice in four pictures, the others in two, and a picture of Bob's empty chair."""
    folder = tmp_path_factory.mktemp("people")
    put(folder / "alice" / "alice_0001.jpg", portrait(ALICE))
    put(folder / "alice" / "alice_0002.jpg", portrait(ALICE_2))
    put(folder / "alice" / "alice_0003.jpg", portrait(ALICE_3))
    put(folder / "alice" / "alice_0004.jpg", masked(ALICE, "n95"))
    put(folder / "bob" / "bob_0001.jpg", portrait(BOB, 400))
    put(folder / "bob" / "bob_0002.jpg", masked(BOB, "cloth", 400))
    put(folder / "bob" / "bob_0003.jpg", nobody())
    put(folder / "carol" / "carol_0001.jpg", portrait(CAROL))
    put(folder / "carol" / "carol_0002.jpg", masked(CAROL, "black"))
    put(folder / "carol" / "notes.txt", b"no picture")
    put(folder / "readme.jpg", portrait(ALICE))  # of nobody in particular
    return folder


def evaluated(*arguments: object) -> dict[str, Any]:
    outcome = run("evaluate", *arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_verification_compares_every_pair_once(people: Path) -> None:
    report = evaluated("verification", people)
    assert report["n_genuine"] == 6 + 1 + 1
    assert report["n_impostor"] == 4 * 2 + 4 * 2 + 2 * 2
    assert report["failure_to_acquire"] == pytest.approx(1 / 9)
    assert (report["images"], report["people"]) == (9, 3)
    assert (report["eer"], report["accuracy"], report["frr100"]) == (0, 1, 0)
    assert report["frr_at_fmr"].keys() == {"1e-2", "1e-3", "1e-4"}
    assert report["thresholds"].keys() == {"1e-2", "1e-3", "1e-4", "eer"}
    assert set(report["frr_at_fmr"].values()) == {0}


def test_verification_of_a_masked_probe_compares_ordered_pairs(people: Path) -> None:
    report = evaluated("verification", people, "--probe-mask", "surgical_blue", "--seed", 3)
    assert report["n_genuine"] == 2 * (6 + 1 + 1)
    assert report["n_impostor"] == 2 * (4 * 2 + 4 * 2 + 2 * 2)
    assert report["failure_to_acquire"] == pytest.approx(2 / 18)
    assert report["eer"] < 0.2


def test_verification_of_pairs_in_a_file(people: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("alice 1 2\nalice,1,3\ncarol\t1\t2\nalice 2 bob 1\nalice 3 carol 2\nalice 1 bob 3\n")
    report = evaluated("verification", people, "--pairs", pairs)
    assert (report["n_genuine"], report["n_impostor"]) == (3, 2)
    assert report["accuracy"] == 1


def test_clustering_finds_the_people(people: Path) -> None:
    report = evaluated("clustering", people, "--order", "shuffled", "--seed", 4)
    assert (report["identities_true"], report["identities_found"]) == (3, 3)
    assert report["bcubed"] == report["pairwise"] == {"precision": 1, "recall": 1, "f": 1}
    assert (report["nmi"], report["visit_count_mae"]) == (1, 0)
    assert report["recall_at"]["1"] == 1
    assert report["recall_at"].keys() == {"1", "10", "20"}
    assert report["failure_to_acquire"] == pytest.approx(1 / 9)


def test_clustering_by_path_with_every_second_face_masked(people: Path) -> None:
    report = evaluated("clustering", people, "--order", "path", "--mask", "half")
    assert report["identities_true"] == 3
    assert report["bcubed"]["f"] > 0.8


def test_no_threshold_is_high_enough_for_everybody_and_an_impossible_one_for_nobody(people: Path) -> None:
    assert evaluated("clustering", people, "--threshold", "0.999")["identities_found"] == 8
    assert evaluated("clustering", people, "--threshold", "-0.99")["identities_found"] == 1


def test_a_stream_is_clustered_in_the_order_that_is_asked_for(people: Path) -> None:
    acquirer = Acquirer(load_settings())
    pictures = labelled_pictures(people)[:5]
    told: list[int] = []
    acquired = acquirer.acquire(pictures, "none", 1, told.append)
    assert told == [1, 2, 3, 4, 5]
    again = acquirer.acquire(pictures, "none", 1, told.append)
    for number, probe in acquired.probes.items():
        assert np.array_equal(probe.vector, again.probes[number].vector)
    clustered: list[int] = []
    report = evaluate_stream(acquired, acquirer, [4, 0, 2, 1, 3], clustered.append)
    assert clustered == [5]
    assert (report.images, report.identities_found) == (5, 2)


@pytest.mark.parametrize("command", ["verification", "clustering"])
def test_results_are_shown_to_people_as_well(people: Path, command: str) -> None:
    outcome = run("evaluate", command, people)
    assert (outcome.code, outcome.err) == (0, "")
    assert "FTA 0.1111" in outcome.out
    assert "9 pictures" in outcome.out


def wrong(*arguments: object) -> str:
    outcome: Outcome = run("evaluate", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err
    return outcome.err


def test_without_a_genuine_pair_there_is_nothing_to_measure(tmp_path: Path) -> None:
    put(tmp_path / "alice" / "1.jpg", portrait(ALICE))
    put(tmp_path / "carol" / "1.jpg", portrait(CAROL))
    assert "genuine" in wrong("verification", tmp_path)


def test_without_a_face_there_is_nothing_to_measure(tmp_path: Path) -> None:
    put(tmp_path / "alice" / "1.jpg", nobody())
    put(tmp_path / "alice" / "2.jpg", b"")
    assert "no picture shows a usable face, so there is nothing to compare" in wrong("verification", tmp_path)
    assert "no picture shows a usable face, so there is nothing to cluster" in wrong("clustering", tmp_path)


@pytest.mark.parametrize("option", [("verification", "--probe-mask"), ("clustering", "--mask")])
def test_an_unknown_mask_is_told_with_what_there_is(tmp_path: Path, option: tuple[str, str]) -> None:
    told = wrong(option[0], tmp_path, option[1], "beard")
    assert "mask 'beard' is not one of none, surgical_blue, " in told
    assert "random, half" in told


def test_other_wrong_arguments(people: Path, tmp_path: Path) -> None:
    assert "is not a folder" in wrong("clustering", tmp_path / "nowhere")
    put(tmp_path / "1.jpg", portrait())
    assert "DIR/name/name_0001.jpg" in wrong("verification", tmp_path)
    assert "--order is shuffled or path" in wrong("clustering", people, "--order", "sideways")
    assert "pairs.txt" in wrong("verification", people, "--pairs", tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_text("alice 1 99\n")
    assert "alice_0099" in wrong("verification", people, "--pairs", tmp_path / "pairs.txt")


def test_masks_are_drawn_by_number_and_seed() -> None:
    pictures = [Labelled("x", Path("x"), number) for number in range(60)]
    assert all(mask_of("none", picture, 1) is None for picture in pictures)
    assert {mask_of("n95", picture, 1) for picture in pictures} == {MaskKind.N95}
    kinds = [mask_of("random", picture, 1) for picture in pictures]
    assert set(kinds) == set(MaskKind)
    assert kinds == [mask_of("random", picture, 1) for picture in pictures]
    assert kinds != [mask_of("random", picture, 2) for picture in pictures]
    half = [mask_of("half", picture, 1) for picture in pictures]
    assert half[::2] == [None] * 30
    assert None not in half[1::2]


def test_at_least_five_kinds_of_masks_can_be_asked_for() -> None:
    assert len(MaskKind) >= 5
    assert all(check_mask(kind) == kind for kind in MASKS)
    with pytest.raises(UsageError, match="beard"):
        check_mask("beard")
