"""What other programs and people rely on, held against files: schemas, help texts, the layout of an output folder.

A difference is either a mistake, or a change of a contract that CHANGELOG.md must tell of.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, run
from portraits import ALICE, ALICE_2, CAROL, after, manifest, nobody, portrait, put

from alerts.rulefile import parse_rules
from deploy.cli.schema import Subject, schema_of
from deploy.settings import Settings
from ingest.reasons import Reason

HERE = Path(__file__).parent
WRITE = "GOLDEN"
HINT = (
    "{name} differs.  If the change is meant, and CHANGELOG.md tells of it, refresh the files with\n"
    f"    {WRITE}=write .venv/bin/pytest tests/golden\n"
    "and look at the difference before you commit it."
)
COMMANDS = (
    (),
    ("replay",),
    ("simulate",),
    ("demo",),
    ("schema",),
    ("evaluate",),
    ("evaluate", "verification"),
    ("evaluate", "clustering"),
    ("evaluate", "leakage"),
    ("bench",),
    ("bench", "pipeline"),
    ("bench", "accuracy"),
    ("bench", "report"),
    ("masks", "apply"),
    ("masks", "sheet"),
    ("models",),
    ("models", "list"),
    ("models", "verify"),
    ("train",),
    ("train", "wear"),
    ("train", "eyes"),
    ("train", "landmarks"),
    ("train", "template"),
    ("rules",),
    ("rules", "check"),
    ("run",),
    ("publish",),
    ("topics", "create"),
    ("view", "rebuild"),
    ("deadletter", "list"),
    ("deadletter", "replay"),
)


def hold(name: str, text: str) -> None:
    """``text`` must be what the file ``name`` holds."""
    path = HERE / name
    if os.environ.get(WRITE) == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    golden = path.read_text("utf-8") if path.exists() else ""
    assert text == golden, HINT.format(name=path.relative_to(ROOT))


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("subject", Subject)
def test_schemas(subject: Subject) -> None:
    hold(f"schemas/{subject.value}.json", as_json(schema_of(subject)))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(("atmwatch", *command)))
def test_help_texts(command: tuple[str, ...]) -> None:
    hold(f"help/{'_'.join(('atmwatch', *command))}.txt", run(*command, "--help").out)


def test_output_of_a_replay(tmp_path: Path) -> None:
    folder, out = tmp_path / "day", tmp_path / "out"
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "version: 1\nrules: [{id: TWICE, title: Came twice, severity: low, per: identity, cooldown: 1h, "
        "when: {any: [{window: 1h, visits: 2}]}}]\n"
    )
    pictures = {"alice": portrait(ALICE), "alice_2": portrait(ALICE_2), "carol": portrait(CAROL), "nobody": nobody()}
    for name, picture in pictures.items():
        put(folder / f"{name}.jpg", picture)
    rows = [
        {"path": f"{name}.jpg", "atm_id": "ATM-1", "captured_at": after(10 * number).isoformat()}
        for number, name in enumerate(pictures)
    ]
    manifest(folder, rows)
    assert run("replay", folder, "--out", out, "--rules", rules).code == 0

    def keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: keys(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [keys(value[0])] if value else []
        return type(value).__name__

    journals = ("sightings.jsonl", "alerts.jsonl", "rejected.jsonl")
    written = {
        "files": sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()),
        "summary.json": keys(json.loads((out / "summary.json").read_text())),
        "identity.json": keys(json.loads(next((out / "identities").glob("*/identity.json")).read_text())),
        **{name: keys(json.loads((out / name).read_text().splitlines()[-1])) for name in journals},
    }
    hold("output.json", as_json(written))


def test_the_readme_explains_every_reason_code() -> None:
    _, _, section = (ROOT / "README.md").read_text("utf-8").partition("## Reason codes")
    section = section.partition("\n## ")[0]
    for reason in Reason:
        assert f"| `{reason.value}` | {reason.sentence} |" in section, f"README.md: ## Reason codes lacks {reason}"
    assert section.count("\n| `") == len(Reason), "README.md: ## Reason codes names a code that does not exist"


def test_the_readme_names_every_command_and_setting() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for command in COMMANDS:
        assert " ".join(command) in readme, f"README.md does not name {command}"
    for name in Settings.model_fields:
        assert f"ATMWATCH_{name.upper()}" in readme, f"README.md does not name the setting {name}"


def test_the_readmes_rules_are_rules() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for block in readme.split("```yaml\n")[1:]:
        assert parse_rules(block.partition("```")[0].encode()).rules
