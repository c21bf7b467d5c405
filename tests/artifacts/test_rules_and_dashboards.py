"""Alert rules and dashboards speak of metrics that exist, and of labels that those have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from shared import DEPLOY, METRICS, TARGET_LABELS, load

from deploy.metrics import Metrics, Role

RULES: list[dict[str, Any]] = [
    rule for group in load(DEPLOY / "prometheus" / "rules" / "atmwatch.rules.yml")["groups"] for rule in group["rules"]
]
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
}
GUIDE = (DEPLOY / "OPERATIONS.md").read_text("utf-8")


def _selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of a PromQL expression with the labels that it is selected by."""
    for name, labels in re.findall(r"\b((?:atmwatch_\w+|up))\b(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))


def _grouped(expression: str) -> set[str]:
    groups = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", expression)
    return {label.strip() for group in groups for label in group.split(",") if label.strip()}


def _check(expression: str, allowed: set[str]) -> None:
    known = set(TARGET_LABELS)
    for name, labels in _selectors(expression):
        assert name in allowed, f"{name} is no metric of ours"
        own = METRICS.get(name, set()) | TARGET_LABELS
        assert labels <= own, f"{name} has no label {labels - own}"
        known |= own
    assert _grouped(expression) <= known | set(re.findall(r'label_replace\(.*"(role)"', expression))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_sound(rule: dict[str, Any]) -> None:
    _check(rule["expr"], {*METRICS, "up"})
    assert rule["alert"].startswith("Atmwatch")
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_leads_to_a_chapter(rule: dict[str, Any]) -> None:
    page, anchor = rule["annotations"]["runbook"].split("#")
    assert page == "OPERATIONS.md"
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"(?m)^#+ (.*)$", GUIDE)}
    assert anchor in headings


def test_every_rule_is_tested() -> None:
    fires = set()
    for path in (DEPLOY / "prometheus" / "tests").glob("*.test.yml"):
        for test in load(path)["tests"]:
            fires |= {case["alertname"] for case in test["alert_rule_test"] if case["exp_alerts"]}
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert fires == set(names)


def test_nobody_is_named_in_a_label() -> None:
    forbidden = {
        "identity",
        "identity_id",
        "card",
        "card_token",
        "subject",
        "event_id",
        "face_id",
        "session_id",
        "atm_id",
    }
    text = "\n".join(rule["expr"] for rule in RULES) + json.dumps(DASHBOARDS)
    assert not forbidden & set(re.findall(r"(\w+)\s*(?:=~|!=|=)", text))
    assert not any(forbidden & labels for labels in METRICS.values())


def test_both_dashboards_are_there() -> None:
    assert set(DASHBOARDS) == {"operations", "fraud-overview"}
    assert len({board["uid"] for board in DASHBOARDS.values()}) == 2


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_is_sound(name: str) -> None:
    board = DASHBOARDS[name]
    assert board["id"] is None, "Grafana gives it"
    assert board["schemaVersion"] >= 41
    assert board["description"]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"\$(\w+)", json.dumps(board["panels"]).replace("$__", "")))
    used |= set(re.findall(r"\$\{(\w+)\}", json.dumps(board["panels"])))
    assert used <= set(variables)
    for variable in variables.values():
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            assert label in METRICS[metric] | TARGET_LABELS
    for link in board["links"]:
        assert link["url"].removeprefix("/d/") in {other["uid"] for other in DASHBOARDS.values()}


PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_sound(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 20, "says what the figure means"
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        _check(target["expr"], set(METRICS))


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_panels_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_program_has_these_metrics_with_these_labels() -> None:
    registry = CollectorRegistry()
    Metrics(registry, Role.ALL)
    for name, labels in METRICS.items():
        collector = registry._names_to_collectors[name]
        assert set(collector._labelnames) == labels - {"le"}, name  # type: ignore[attr-defined]
