"""The chart without helm: schema, values, and the words of its templates.  `deploy/validate` renders it."""

from __future__ import annotations

import json
import re
import tomllib
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft7Validator
from shared import CHART, DEPLOY, ROLES, ROOT, SETTINGS, load

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
VALUES: dict[str, Any] = load(CHART / "values.yaml")
TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted((CHART / "templates").rglob("*.*"))}
ALL = "\n".join(TEMPLATES.values())


def _merge(base: Any, over: Any) -> Any:
    """Values laid over values, as helm does it."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}
    return deepcopy(over)


def _faults(values: Any) -> list[str]:
    return [error.message for error in Draft7Validator(SCHEMA).iter_errors(values)]


def test_the_schema_is_one_and_the_values_fit() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert _faults(VALUES) == []


@pytest.mark.parametrize("path", sorted((CHART / "ci").glob("*-values.yaml")), ids=lambda path: path.name)
def test_the_checked_values_fit(path: Any) -> None:
    assert _faults(_merge(VALUES, load(path))) == []


@pytest.mark.parametrize(
    "over",
    [
        {"embeder": {}},
        {"scopes": []},
        {"scopes": ["a", "a"]},
        {"image": {"digest": "latest"}},
        {"kafka": {"bootstrap": "kafka"}},
        {"kafka": {"securityProtocol": "TLS"}},
        {"kafka": {"password": "x"}},
        {"webhook": {"url": "http://example.com"}},
        {"viewSecret": {"secret": "x"}},
        {"podSecurityContext": {"runAsNonRoot": False}},
        {"podSecurityContext": {"runAsUser": 0}},
        {"containerSecurityContext": {"privileged": True}},
        {"extraEnv": [{"name": "DB_PASSWORD", "value": "x"}]},
        {"extraEnv": [{"name": "bad name", "value": "x"}]},
        {"clusterer": {"replicas": 0}},
        {"embedder": {"autoscaling": {"kind": "vpa"}}},
        {"networkPolicy": {"kafka": {"ports": [70000]}}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(over: dict[str, Any]) -> None:
    assert _faults(_merge(VALUES, over))


def test_every_object_of_the_schema_is_closed() -> None:
    open_on_purpose = {
        *("global", "definition", "valueFrom", "podSecurityContext", "containerSecurityContext"),
        *("tolerations", "items"),
    }

    def walk(name: str, node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and "properties" in node and name not in open_on_purpose:
                assert node["additionalProperties"] is False, name
            for key, value in node.items():
                walk(key, value)

    walk("values", {key: value for key, value in SCHEMA.items() if key != "definitions"})


def test_the_chart_is_of_this_version() -> None:
    chart = load(CHART / "Chart.yaml")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["appVersion"] == version


def test_no_more_embedders_than_partitions() -> None:
    partitions = load(DEPLOY / "topics.yaml")["topics"]["atm.events"]["partitions"]
    assert VALUES["embedder"]["autoscaling"]["maxReplicas"] <= partitions


def test_settings_exist() -> None:
    assert set(re.findall(r"name: (ATMWATCH_\w+)", ALL)) <= SETTINGS
    assert set(re.findall(r"\bATMWATCH_\w+__\w+", ALL)) <= SETTINGS


def test_every_secret_file_is_mounted_where_it_is_named() -> None:
    pod = TEMPLATES["_helpers.tpl"]
    named = dict(re.findall(r"name: (ATMWATCH_\w*(?:_FILE|CAFILE))\s+value: (\S+)/[\w.]+\n", pod))
    mounted = dict(re.findall(r"name: ([\w-]+), mountPath: (/etc/\S+), readOnly: true", pod))
    volumes = set(re.findall(r"- name: ([\w-]+)\n\s+secret: \{ secretName:", pod))
    assert named["ATMWATCH_VIEW_SECRET_FILE"] == mounted["view-secret"]
    assert set(named.values()) == {path for name, path in mounted.items() if name in volumes}


def test_every_role_is_deployed_and_budgeted() -> None:
    listed = {name: set(re.findall(r'"(\w+)"', _role_list(text))) for name, text in TEMPLATES.items() if "list" in text}
    assert listed["deployments.yaml"] | listed["statefulsets.yaml"] == set(ROLES)
    assert listed["disruption.yaml"] == set(ROLES)


def _role_list(text: str) -> str:
    found = re.search(r"range \$role := list ([^}]*)", text)
    return found.group(1) if found else ""


def test_no_secret_is_written_and_no_token_is_mounted() -> None:
    assert "kind: Secret" not in ALL
    assert "stringData" not in ALL
    pods = ALL.count("containers:")
    assert ALL.count("automountServiceAccountToken: false") == pods + 1, "every pod, and the account"
    assert ALL.count("enableServiceLinks: false") == pods
    assert ALL.count(".Values.containerSecurityContext") + ALL.count("$v.containerSecurityContext") == pods


def test_the_default_suits_the_restricted_level_and_any_uid() -> None:
    pod, container = VALUES["podSecurityContext"], VALUES["containerSecurityContext"]
    assert pod == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, "OpenShift chooses the uid"
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_probes_ask_the_right_questions() -> None:
    probes = dict(re.findall(r"(\w+)Probe:\s+httpGet: \{ path: (\S+), port: metrics \}", TEMPLATES["_helpers.tpl"]))
    assert probes == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_the_copies_in_the_chart_are_the_originals() -> None:
    originals = {
        "atmwatch.rules.yml": DEPLOY / "prometheus" / "rules" / "atmwatch.rules.yml",
        "operations.json": DEPLOY / "grafana" / "dashboards" / "operations.json",
        "fraud-overview.json": DEPLOY / "grafana" / "dashboards" / "fraud-overview.json",
    }
    assert {path.name for path in (CHART / "files").iterdir()} == set(originals)
    for name, original in originals.items():
        assert (CHART / "files" / name).read_bytes() == original.read_bytes(), f"copy {original} to {CHART / 'files'}"
