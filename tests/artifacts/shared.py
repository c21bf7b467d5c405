"""Where the deployment's files lie, and the vocabulary that they share with the program."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "atmwatch"

ROLES = ("embedder", "clusterer", "alerter", "view", "gateway")

COMMANDS = {
    ("topics", "create"),
    *(("run", role) for role in (*ROLES, "all")),
    ("publish",),
    ("simulate",),
    ("deadletter", "list"),
    ("deadletter", "replay"),
    ("view", "rebuild"),
}

SETTINGS = {
    *(
        f"ATMWATCH_KAFKA__{name}"
        for name in (
            *("BOOTSTRAP", "SECURITY_PROTOCOL", "SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD"),
            *("SSL_CAFILE", "SCOPES"),
        )
    ),
    "ATMWATCH_REDIS__URL",
    "ATMWATCH_VIEW_SECRET_FILE",
    "ATMWATCH_STATE_DIR",
    "ATMWATCH_HTTP__HOST",
    "ATMWATCH_HTTP__PORT",
    "ATMWATCH_GATEWAY__HOST",
    "ATMWATCH_GATEWAY__PORT",
    "ATMWATCH_GATEWAY__KEYS_FILE",
    "ATMWATCH_WEBHOOK__URL",
    "ATMWATCH_WEBHOOK__SECRET_FILE",
    "ATMWATCH_RULES",
    "ATMWATCH_MODEL",
    "ATMWATCH_LOG__LEVEL",
}

TARGET_LABELS = {"job", "instance", "component"}
"""What the scrape adds to every series."""

METRICS: dict[str, set[str]] = {
    "atmwatch_events_total": {"role"},
    "atmwatch_rejects_total": {"reason"},
    "atmwatch_stage_seconds_bucket": {"stage", "le"},
    "atmwatch_lag_records": {"topic", "partition"},
    "atmwatch_restore_seconds": set(),
    "atmwatch_index_templates": {"scope"},
    "atmwatch_identities": {"scope"},
    "atmwatch_decisions_total": {"kind"},
    "atmwatch_alerts_total": {"rule", "severity"},
    "atmwatch_dead_letters_total": {"reason"},
    "atmwatch_dependency_up": {"dependency"},
    "atmwatch_commit_seconds_bucket": {"le"},
    "atmwatch_retries_total": {"dependency"},
    "atmwatch_build_info": {"version", "model_id"},
    "atmwatch_unusable_pictures_total": {"reason"},
    "atmwatch_gateway_requests_total": {"code"},
    "atmwatch_gateway_seconds_bucket": {"le"},
    "atmwatch_rebalances_total": set(),
    "atmwatch_view_lag_records": {"partition"},
    "atmwatch_webhook_deliveries_total": {"outcome"},
}
"""Each metric as Prometheus sees it, with its own labels."""


class StrictLoader(yaml.SafeLoader):
    """YAML in which a key that comes twice is an error; PyYAML would take the last and be silent."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.value != "<<":
                message = f"{key.value!r} comes twice, {key.start_mark}"
                raise ValueError(message)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Any:
    """The one document of a YAML file."""
    return yaml.load(path.read_text("utf-8"), StrictLoader)  # noqa: S506
