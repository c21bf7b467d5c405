from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from deploy.settings import Settings, load_settings, model_folder
from embedder.cards import WEIGHTS
from ingest.errors import UsageError
from ingest.limits import DEFAULT_LIMITS


def test_nothing_needs_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings == Settings()
    assert (settings.model, settings.detector, settings.rules, settings.threads) == ("periocular", "yunet", None, 0)
    assert settings.limits == DEFAULT_LIMITS


def test_the_environment_sets_and_an_option_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMWATCH_THREADS", "3")
    monkeypatch.setenv("ATMWATCH_BATCH", "5")
    monkeypatch.setenv("ATMWATCH_RULES", "/etc/atmwatch/rules.yaml")
    monkeypatch.setenv("ATMWATCH_MAX_BYTES", "1000")
    monkeypatch.setenv("ATMWATCH_POLICY__VISIT_GAP", "PT3M")
    monkeypatch.setenv("ATMWATCH_POLICY__HORIZON", "P2D")
    settings = load_settings(threads=1, rules=None, threshold=0.4)
    assert (settings.threads, settings.batch, settings.threshold) == (1, 5, 0.4)
    assert settings.rules == Path("/etc/atmwatch/rules.yaml")
    assert settings.limits.max_bytes == 1000
    assert (settings.policy.visit_gap, settings.policy.horizon) == (timedelta(minutes=3), timedelta(days=2))
    assert settings.policy.templates == Settings().policy.templates


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ATMWATCH_THREADS", "many", "threads: Input should be a valid integer"),
        ("ATMWATCH_THREADS", "-1", "threads: "),
        ("ATMWATCH_BATCH", "0", "batch: "),
        ("ATMWATCH_THRESHOLD", "2", "threshold: "),
        ("ATMWATCH_MAX_PIXELS", "1e3x", "max_pixels: "),
        ("ATMWATCH_POLICY__TEMPLATES", "0", "policy.templates: "),
        ("ATMWATCH_POLICY__COLOUR", "red", "ATMWATCH_POLICY__COLOUR is not a setting"),
        ("ATMWATCH_POLICY", '{"colour": "red"}', "policy.colour: Extra inputs are not permitted"),
        ("ATMWATCH_POLICY", "{", '"policy"'),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert told in str(caught.value)
    assert "ATMWATCH_" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ATMWATCH_TRESHOLD", "ATMWATCH_THRESHOLD"),
        ("atmwatch_thread", "ATMWATCH_THREADS"),
        ("ATMWATCH_KAFKA_BOOTSTRAP", "ATMWATCH_KAFKA__BOOTSTRAP"),
        ("ATMWATCH_KAFKA__SASL_PASWORD", "ATMWATCH_KAFKA__SASL_PASSWORD"),
        ("ATMWATCH_LOG_LEVEL", "ATMWATCH_LOG__LEVEL"),
        ("ATMWATCH_HTTP__PORTS", "ATMWATCH_HTTP__PORT"),
    ],
)
def test_a_misspelt_variable_is_not_overlooked(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    monkeypatch.setenv(name, "not-to-be-told")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert str(caught.value) == f"environment: {name.upper()} is not a setting; did you mean {meant}?"


def test_every_misspelt_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMWATCH_COLOUR", "red")
    monkeypatch.setenv("ATMWATCH_BATHC", "1")
    with pytest.raises(UsageError) as caught:
        load_settings()
    told = "ATMWATCH_BATHC is not a setting; did you mean ATMWATCH_BATCH?; ATMWATCH_COLOUR is not a setting"
    assert str(caught.value) == f"environment: {told}"


def test_what_is_for_others_and_what_is_spelt_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATMWATCH_TEST_KAFKA", "ATMWATCH_CHAOS_FULL", "ATMWATCH_VERSION", "ATMWATCHER", "atmwatch_batch"):
        monkeypatch.setenv(name, "7")
    assert load_settings().batch == 7


def test_several_faults_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(threads=-1, batch=0, colour="red")
    assert all(f"{name}: " in str(caught.value) for name in ("threads", "batch", "colour"))


def test_a_model_is_named_or_lies_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folder("sface") == WEIGHTS / "sface"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.json").write_text("{}")
    assert model_folder(str(tmp_path / "mine")) == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    assert model_folder("mine") == Path("mine")
    with pytest.raises(UsageError, match=r"no model 'yours': .* one of eyes, .*sface, wear, yunet"):
        model_folder("yours")
