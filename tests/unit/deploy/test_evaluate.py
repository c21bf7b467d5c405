from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Outcome, run
from portraits import ALICE, ALICE_2, ALICE_3, BOB, CAROL, masked, nobody, portrait, put

from deploy.cli import leakage as leakage_command
from deploy.evaluation import acquire, leakage
from deploy.evaluation import labels as label_tables
from deploy.evaluation.acquire import MASKS, Acquirer, check_mask, mask_of
from deploy.evaluation.clustering import evaluate_stream, stream_order
from deploy.evaluation.pictures import Labelled, labelled_pictures
from deploy.settings import load_settings
from embedder.cards import WEIGHTS
from embedder.detect import Detector
from embedder.evaluation.leakage import LeakageOptions
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
    acquired = acquirer.acquire(pictures, ["none"], 1, told.append)["periocular", "none"]
    assert told == [1, 2, 3, 4, 5]
    again = acquirer.acquire(pictures, ["none"], 1, told.append)["periocular", "none"]
    for number, probe in acquired.probes.items():
        assert np.array_equal(probe.vector, again.probes[number].vector)
    clustered: list[int] = []
    card = acquirer.embedders["periocular"].model.card
    report = evaluate_stream(acquired, card, acquirer.settings, [4, 0, 2, 1, 3], on_progress=clustered.append, draws=5)
    assert clustered == [5]
    assert (report.images, report.identities_found) == (5, 2)
    assert stream_order(acquired, None) == [0, 1, 2, 3, 4]
    assert sorted(stream_order(acquired, 1)) == [0, 1, 2, 3, 4] != stream_order(acquired, 1)


def test_several_masks_and_models_share_one_detection(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    plain = Detector.detect
    monkeypatch.setattr(Detector, "detect", lambda self, image: looked.append(1) or plain(self, image))
    acquirer = Acquirer(load_settings(threads=1), ["sface", str(WEIGHTS / "sface")])
    pictures = labelled_pictures(people)[:4]
    found = acquirer.acquire(pictures, ["none", "random", "half"], 1, lambda _: None)
    assert len(found) == 6
    assert len(looked) == 8  # each picture bare and under one mask
    one, other = (found[name, "random"] for name in acquirer.embedders)
    assert all(np.array_equal(one.probes[n].vector, other.probes[n].vector) for n in one.probes)
    half, bare, masked = (found["sface", mask] for mask in ("half", "none", "random"))
    for number, probe in half.probes.items():
        source = bare if number % 2 == 0 else masked
        assert np.array_equal(probe.vector, source.probes[number].vector)
    assert set(masked.drawn) == {0, 1, 2, 3}
    assert set(half.drawn) == {1, 3}
    assert bare.drawn == {}


def test_a_masked_face_that_is_not_found_again_is_missed(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquire, "draw_mask", lambda image, *_: np.full_like(image, 127))
    acquirer = Acquirer(load_settings(threads=1))
    found = acquirer.acquire(labelled_pictures(people)[:2], ["n95"], 1, lambda _: None)["periocular", "n95"]
    assert found.missed == {0, 1} == set(found.failures)
    assert found.only(found.pictures[1:]).missed == {1}


@pytest.mark.parametrize("command", ["verification", "clustering"])
def test_results_are_shown_to_people_as_well(people: Path, command: str) -> None:
    outcome = run("evaluate", command, people, "--bootstrap", 20)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"failure to acquire +0\.1111", outcome.out)
    assert re.search(r"pictures +9", outcome.out)


def test_models_stand_side_by_side(people: Path) -> None:
    both = ("--model", "sface", "--model", WEIGHTS / "sface", "--bootstrap", 0)
    shown = run("evaluate", "clustering", people, *both).out
    assert re.search(r"BCubed F +1\.0000 +1\.0000", shown)
    report = evaluated("verification", people, *both)
    assert report["models"].keys() == {"sface", str(WEIGHTS / "sface")}
    assert report["models"]["sface"] == report["models"][str(WEIGHTS / "sface")]
    assert report["models"]["sface"]["intervals"] == {}


def test_what_stands_around_the_error_rates(people: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("person,sex,race\nalice,F,x\nbob,M,x\ncarol,F,y\n")
    report = evaluated("verification", people, "--mask", "random", "--labels", labels, "--bootstrap", 30)
    assert report["masks_drawn"] == 8
    assert report["detection_rate"] == 1
    assert report["recall_at"]["20"] == 1
    assert report["one_probe_each"]["people"] == 3
    assert set(report["intervals"]) == {"eer", "1e-2", "1e-3", "1e-4"}
    groups = report["groups"]
    assert set(groups) == {"quality", "mask_kind", "sex", "race", "sex and race"}
    assert groups["sex"]["F"]["n_genuine"] == 6 + 1
    assert groups["sex"]["F"]["n_impostor"] == 4 * 2  # within the group
    assert groups["sex"]["M"] == {**groups["sex"]["M"], "n_genuine": 1, "n_impostor": 0, "fmr": None, "eer": None}
    assert groups["sex and race"].keys() == {"F, x", "F, y", "M, x"}
    assert sum(group["n_genuine"] for group in groups["mask_kind"].values()) == 2 * 8
    shown = run("evaluate", "verification", people, "--labels", labels, "--bootstrap", 0).out
    shown = " ".join(shown.split())  # a title may be broken into lines
    assert "periocular: by sex and race, at the threshold of FMR 1e-3 over all pairs" in shown


def test_one_probe_of_each_kind(people: Path) -> None:
    report = evaluated("verification", people, "--protocol", "dicta", "--bootstrap", 20)
    assert report["n_genuine"] == report["n_impostor"] == 3
    assert report["groups"] == {}


def test_probes_and_gallery_of_different_files(people: Path) -> None:
    report = evaluated(
        "verification", people, "--probe-files", "*_0001.jpg", "--gallery-files", "*_000[23].jpg", "--bootstrap", 0
    )
    assert report["n_genuine"] == 2 + 1 + 1
    assert report["n_impostor"] == 2 + 3 + 3
    assert report["images"] == 3 + 5


def test_only_some_of_the_people(tmp_path: Path) -> None:
    for number, name in enumerate("abcde"):
        for shot in (1, 2):
            put(tmp_path / name / f"{shot}.jpg", portrait((ALICE, ALICE, CAROL, ALICE, CAROL)[number], 200))
    assert evaluated("verification", tmp_path, "--people", "rest", "--bootstrap", 0)["people"] == 4
    assert evaluated("clustering", tmp_path, "--people", "first-fifth", "--bootstrap", 0)["identities_true"] == 1
    (tmp_path / "few").mkdir()
    put(tmp_path / "few" / "a" / "1.jpg", portrait(ALICE, 200))
    assert "1 people, too few for a fifth" in wrong("clustering", tmp_path / "few", "--people", "first-fifth")


def test_attributes_are_read_from_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_tables, "MAX_GROUPS", 5)  # so few pictures are enough
    monkeypatch.setattr(leakage, "MIN_CLASS", 5)
    monkeypatch.setattr(leakage_command, "LeakageOptions", partial(LeakageOptions, features=32, penalties=(0.1,)))
    lines = ["file,sex,age,rare"]
    for number in range(10):
        name = (ALICE, CAROL)[number % 2]
        put(tmp_path / f"{number:02d}.jpg", portrait(name, 160 + number))
        lines.append(f"{number:02d}.jpg,{'M' if name == CAROL else 'F'},{20 + number},{number % 5}")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join([*lines, "gone.jpg,F,20,0"]) + "\n")
    report = evaluated("leakage", tmp_path, labels, "--mask", "n95")
    assert (report["images"], report["people"], report["missing"]) == (10, 10, 1)
    assert report["leakage"].keys() == {"none", "n95"}
    assert report["leakage"]["none"].keys() == {"sex", "age"}  # a rare value can't be learned
    assert report["leakage"]["none"]["sex"]["linear"]["accuracy"] == 1  # two faces only
    assert report["published"]["sex"] == 0.94
    shown = run("evaluate", "leakage", tmp_path, labels, "--mask", "none", "--limit", 50).out
    assert re.search(r"age +masked, published +6\.2 off", shown)


def wrong(*arguments: object) -> str:
    outcome: Outcome = run("evaluate", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err
    return outcome.err


def test_without_a_genuine_pair_there_is_nothing_to_measure(tmp_path: Path) -> None:
    put(tmp_path / "alice" / "1.jpg", portrait(ALICE))
    put(tmp_path / "carol" / "1.jpg", portrait(CAROL))
    told = wrong("verification", tmp_path)
    assert "there is no genuine pair: none of the 2 people has two different pictures to compare" in told
    put(tmp_path / "alice" / "2.jpg", portrait(ALICE))
    assert "no genuine pair" in wrong("verification", tmp_path, "--probe-files", "1.jpg", "--gallery-files", "1.jpg")


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
    assert "no picture's file name matches 'x*'" in wrong("verification", people, "--probe-files", "x*")
    assert "each name the pairs" in wrong("verification", people, "--pairs", "p", "--protocol", "dicta")
    assert "can't be read" in wrong("verification", people, "--labels", tmp_path / "none.csv")
    assert "can't be read" in wrong("leakage", people, tmp_path / "none.csv")
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
