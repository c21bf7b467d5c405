from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run
from portraits import ALICE, ALICE_2, CAROL, masked, portrait, put

from deploy.benchmarks import accuracy
from deploy.benchmarks.machine import processor_name, this_machine
from deploy.benchmarks.report import TITLES, refresh, write_report
from deploy.benchmarks.rows import rate
from deploy.benchmarks.speed import milliseconds_per_face
from deploy.benchmarks.tables import TABLES, markdown
from deploy.evaluation import leakage
from embedder.cards import WEIGHTS
from embedder.evaluation.leakage import LeakageOptions
from embedder.onnx_model import OnnxModel
from ingest.errors import UsageError

OTHER = WEIGHTS / "sface"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a benchmark of two people and one model under two names."""
    folder = tmp_path_factory.mktemp("accuracy")
    for name, shots in (("alice", (ALICE, ALICE_2)), ("carol", (CAROL, CAROL))):
        for number, shot in enumerate(shots):
            put(folder / "people" / name / f"{name}_{number:04d}.jpg", portrait(shot, 200 + number))
            put(folder / "real" / name / f"masked_{number}.jpg", masked(shot, "n95", 200 + number))
            put(folder / "real" / name / f"unmasked_{number}.jpg", portrait(shot, 200 + number))
    lines = ["file,sex"]
    for number in range(10):
        put(folder / "attributes" / f"{number}.jpg", portrait((ALICE, CAROL)[number % 2], 160 + number))
        lines.append(f"{number}.jpg,{'FM'[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "MIN_CLASS", 5)  # so few pictures are enough
        patch.setattr(accuracy, "milliseconds_per_face", partial(milliseconds_per_face, rounds=2))
        patch.setattr(accuracy, "LeakageOptions", partial(LeakageOptions, features=32, penalties=(0.1,)))
        outcome = run(
            *("bench", "accuracy", folder / "people", "--out", folder / "out", "--people", "all", "--no-plots"),
            *("--real-masks", folder / "real", "--attributes", folder / "attributes"),
            *("--labels", folder / "labels.csv", "--model", "sface", "--model", OTHER, "--bootstrap", 10, "--json"),
        )
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out) == json.loads((folder / "out" / "accuracy.json").read_text())
    (folder / "out" / "pipeline.json").write_text(
        '{"images_per_second": 91.25, "stage_ms": {"detect": 4}, "rss_mb": [1, 2]}'
    )
    return folder / "out"


def test_all_conditions_are_measured_in_one_run(results: Path) -> None:
    found: dict[str, Any] = json.loads((results / "accuracy.json").read_text())
    assert found["verification"].keys() == {"unmasked", "masked probe, unmasked gallery", "both masked"}
    assert found["clustering"].keys() == {"unmasked", "every second picture masked", "all masked"}
    assert found["real_masks"].keys() == {"masked against masked", "masked probe, unmasked gallery"}
    assert found["leakage"].keys() == found["models"].keys() == {"sface", str(OTHER)}
    pairs = [found["verification"][name]["sface"]["n_genuine"] for name in found["verification"]]
    assert pairs == [2, 4, 2]
    real = found["real_masks"]["masked probe, unmasked gallery"]["sface"]
    assert (real["n_genuine"], real["n_impostor"]) == (8, 8)
    assert found["machine"]["cores"] >= 1


def test_the_report_is_markdown_and_json(results: Path) -> None:
    page, sums = write_report(results)
    text = page.read_text("utf-8")
    assert [title for title in TITLES.values() if f"\n## {title}\n" not in text] == []
    assert "| DICTA 2021, LFW | 0.084 | 0.230 |" in text
    assert "| pipeline: images per second | 91.25 |" in text
    assert "| pipeline: stage ms | detect 4 |" in text
    assert "| pipeline: rss mb | 1, 2 |" in text
    assert json.loads(sums.read_text("utf-8")).keys() == {"accuracy", "speed"}


def test_a_document_s_tables_are_refreshed_and_its_text_is_kept(results: Path, tmp_path: Path) -> None:
    document = tmp_path / "BENCHMARKS.md"
    document.write_text("Before\n\n<!-- table: speed -->\nold\n<!-- end -->\n\nBehind |\n")
    assert refresh(document, results) == ["speed"]
    once = document.read_text("utf-8")
    assert once.startswith("Before\n\n<!-- table: speed -->\n|")
    assert once.endswith("|\n<!-- end -->\n\nBehind |\n")
    assert "old" not in once
    refresh(document, results)
    assert document.read_text("utf-8") == once
    shown = run("bench", "report", results, "--into", document)
    assert shown.code == 0
    assert "refreshed speed" in shown.err


def test_tables_without_results_stay(tmp_path: Path) -> None:
    (tmp_path / "pipeline.json").write_text('{"images": 5000000, "seconds": 2500.5, "name": "x"}')
    document = tmp_path / "BENCHMARKS.md"
    document.write_text("<!-- table: speed -->\nold\n<!-- end -->\n<!-- table: throughput -->\nold\n<!-- end -->\n")
    assert refresh(document, tmp_path) == ["throughput"]
    text = document.read_text("utf-8")
    assert text.startswith("<!-- table: speed -->\nold\n<!-- end -->")
    assert "5,000,000" in text
    assert "2,500.5" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [("<!-- table: spede -->\n<!-- end -->\n", "names no table of ours: spede"), ("none", "has no line")],
)
def test_a_document_that_can_not_be_refreshed_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "pipeline.json").write_text("{}")
    with pytest.raises(UsageError, match="can't be read as text"):
        refresh(tmp_path / "missing.md", tmp_path)
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(UsageError, match=told):
        refresh(tmp_path / "page.md", tmp_path)


@pytest.mark.parametrize(
    ("content", "told"), [("{", "as JSON"), ("[]", "not a JSON object"), ("{}", "not a result of this version")]
)
def test_results_that_are_none_are_told(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(UsageError, match="holds no results"):
        write_report(tmp_path)
    (tmp_path / "accuracy.json").write_text(content)
    with pytest.raises(UsageError, match=told):
        write_report(tmp_path)


def test_what_a_benchmark_lacks_is_told_before_it_begins(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / "people" / name / "1.jpg", b"")
        put(tmp_path / "people" / name / "2.jpg", b"")
    (tmp_path / "out").touch()

    def told(*arguments: object) -> str:
        outcome = run("bench", "accuracy", tmp_path / "people", "--people", "all", *arguments)
        assert outcome.code == 2
        return outcome.err

    assert "is not a folder" in told("--out", tmp_path / "out")
    assert "give both, or neither" in told("--attributes", tmp_path)
    assert "matches 'masked_*'" in told("--real-masks", tmp_path / "people")


def test_models_take_turns_on_the_clock() -> None:
    times = milliseconds_per_face({"a": OnnxModel(OTHER)}, rounds=3)
    assert 0 < times["a"] < 10_000


def test_the_machine_is_named(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: Fast One\nmodel name\t: Fast One\n")
    assert processor_name(cpuinfo) == "Fast One"
    assert processor_name(tmp_path / "none") == processor_name(tmp_path)
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.libraries["numpy"] == np.__version__


def test_tables_escape_what_would_break_them() -> None:
    assert markdown(("a", "b"), [("x|y", "1\n2")]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 2 |"
    assert set(TABLES) < set(TITLES)
    assert (rate(None), rate(0.25), rate(0.25, (0.1, 0.5))) == ("–", "0.2500", "0.2500 (0.1000 to 0.5000)")
