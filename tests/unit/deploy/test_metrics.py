"""The metrics' names and labels are a contract with dashboards and alert rules, and must never tell of a person."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from report_sample import alert, event, rejection, sighting

from alerts.records import Severity
from deploy.metrics import OTHER, Family, Metrics, Role, Vocabulary
from ingest.reasons import UNUSABLE, Reason

WORDS = Vocabulary(
    scopes=("default", "north"),
    topics=("atm.events", "atm.faces"),
    rules=("R1", "R2"),
    version="0.1.0",
    models=("sface-v1",),
)
NAMES = {
    "atmwatch_events_total": {"role"},
    "atmwatch_rejects_total": {"reason"},
    "atmwatch_stage_seconds": {"stage"},
    "atmwatch_lag_records": {"topic", "partition"},
    "atmwatch_restore_seconds": set(),
    "atmwatch_index_templates": {"scope"},
    "atmwatch_identities": {"scope"},
    "atmwatch_decisions_total": {"kind"},
    "atmwatch_alerts_total": {"rule", "severity"},
    "atmwatch_dead_letters_total": {"reason"},
    "atmwatch_dependency_up": {"dependency"},
    "atmwatch_commit_seconds": set(),
    "atmwatch_retries_total": {"dependency"},
    "atmwatch_build_info": {"version", "model_id"},
    "atmwatch_unusable_pictures_total": {"reason"},
    "atmwatch_gateway_requests_total": {"code"},
    "atmwatch_gateway_seconds": set(),
    "atmwatch_rebalances_total": set(),
    "atmwatch_view_lag_records": {"partition"},
    "atmwatch_webhook_deliveries_total": {"outcome"},
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, Role.ALL, WORDS)


def families(metrics: Metrics) -> dict[str, Family[Any]]:
    return {name: value for name, value in vars(metrics).items() if isinstance(value, Family)}


def touch_all(metrics: Metrics, value: str | None = None) -> None:
    """Make a series of every family: of its first allowed values, or all of ``value``."""
    for family in families(metrics).values():
        family.of(**{name: value or min(allowed) for name, allowed in family._allowed.items()})


def shown(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Each metric's name as scraped, with the names of its labels."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return found


def label_values(registry: CollectorRegistry) -> set[str]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {value for family in families for s in family.samples for label, value in s.labels.items() if label != "le"}


def test_the_names_and_labels_are_those_that_dashboards_know(metrics: Metrics, registry: CollectorRegistry) -> None:
    touch_all(metrics)
    assert shown(registry) == NAMES


@given(st.sampled_from(["person-abc", "4111111111111111", "e1#0", "tok-1", "a\nb", ""]) | st.text(max_size=20))
def test_no_label_can_hold_an_identity_card_or_event(value: str) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, Role.ALL, WORDS)
    touch_all(metrics)
    before = label_values(registry)
    touch_all(metrics, value)
    allowed = {word for family in families(metrics).values() for words in family._allowed.values() for word in words}
    after = label_values(registry)
    assert after - before <= {OTHER} | ({value} & allowed)
    for secret in ("person-abc", "4111111111111111", "e1#0", "tok-1"):
        assert secret not in after


def test_every_set_of_values_is_small() -> None:
    metrics = Metrics(CollectorRegistry(), Role.ALL, WORDS)
    for name, family in families(metrics).items():
        series = 1
        for allowed in family._allowed.values():
            series *= len(allowed) + 1
        assert series <= 5000, name


def test_labels_must_be_the_metrics_own(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="topic, partition"):
        metrics.lag.of(topic="atm.faces")
    with pytest.raises(ValueError, match="role"):
        metrics.events.of(role="all", identity="person-abc")


def test_what_runs_is_told(metrics: Metrics, registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("atmwatch_build_info", {"version": "0.1.0", "model_id": "sface-v1"}) == 1
    bare = CollectorRegistry()
    Metrics(bare, Role.GATEWAY, Vocabulary(version="0.1.0"))
    assert bare.get_sample_value("atmwatch_build_info", {"version": "0.1.0", "model_id": ""}) == 1


def outputs() -> list[Any]:
    one = sighting(event(1), 1)
    return [
        one,
        rejection(Reason.NO_FACE, "e2"),
        rejection(Reason.TRUNCATED_IMAGE, "e3"),
        rejection(Reason.DUPLICATE_EVENT, "e4"),
        alert([one], "R1", Severity.HIGH, "Often seen"),
        alert([one], "UNKNOWN", Severity.HIGH, "Often seen"),
        one.event,
    ]


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"atmwatch_{name}_total", labels) or 0.0


def test_a_batch_is_counted_by_what_it_gave(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.observe(outputs())
    assert value(registry, "decisions", kind="founded") + value(registry, "decisions", kind="joined") == 1
    assert value(registry, "unusable_pictures", reason="no_face") == 1
    assert value(registry, "rejects", reason="truncated_image") == 1
    assert value(registry, "rejects", reason="duplicate_event") == 1
    assert value(registry, "rejects", reason="no_face") == 0
    assert value(registry, "dead_letters", reason="truncated_image") == 1
    assert value(registry, "dead_letters", reason="duplicate_event") == 0
    assert value(registry, "alerts", rule="R1", severity="high") == 1
    assert value(registry, "alerts", rule=OTHER, severity="high") == 1


def test_over_all_roles_everything_is_counted_once() -> None:
    sums = dict.fromkeys(("decisions", "unusable_pictures", "alerts"), 0.0)
    for role in (Role.EMBEDDER, Role.CLUSTERER, Role.ALERTER):
        registry = CollectorRegistry()
        Metrics(registry, role, WORDS).observe(outputs())
        for family in registry.collect():
            for sample in family.samples:
                name = sample.name.removeprefix("atmwatch_").removesuffix("_total")
                if name in sums:
                    sums[name] += sample.value
    assert sums == {"decisions": 1, "unusable_pictures": 1, "alerts": 2}


def test_seconds_are_measured_of_failures_too(metrics: Metrics, registry: CollectorRegistry) -> None:
    with metrics.timed("embed"):
        pass
    message = "broken"
    with pytest.raises(RuntimeError), metrics.timed("embed"):
        raise RuntimeError(message)
    assert registry.get_sample_value("atmwatch_stage_seconds_count", {"stage": "embed"}) == 2
    metrics.commit_seconds.observe(0.012)
    assert registry.get_sample_value("atmwatch_commit_seconds_bucket", {"le": "0.02"}) == 1


def test_reasons_are_split_without_rest(metrics: Metrics) -> None:
    assert metrics.unusable._allowed["reason"] == frozenset(UNUSABLE)
    assert metrics.rejects._allowed["reason"] == frozenset(Reason)
