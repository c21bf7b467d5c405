"""The Dockerfile and the compose file: hardened, pinned, and in the program's own words."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from shared import COMMANDS, DEPLOY, ROLES, ROOT, SETTINGS, load

from deploy.environment import PREFIX, check_environment, variables
from deploy.settings import Settings

DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = load(DEPLOY / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("atmwatch:")}


def _instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE))
    return [(line.split()[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def _last_stage() -> list[tuple[str, str]]:
    found = _instructions()
    start = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def test_dockerfile_has_two_stages_on_one_pinned_base() -> None:
    stages = [text for word, text in _instructions() if word == "FROM"]
    assert stages == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE} AS run"]
    assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm\n" in DOCKERFILE


def test_dockerfile_runs_as_a_number_of_group_0() -> None:
    users = [text for word, text in _instructions() if word == "USER"]
    assert len(users) == 1
    assert re.fullmatch(r"[1-9][0-9]{3,}:0", users[0])


def test_dockerfile_fetches_and_compiles_nothing_unchecked() -> None:
    words = {word for word, _ in _instructions()}
    assert "ADD" not in words
    for _, text in _instructions():
        assert not re.search(r"\b(curl|wget|apt-get|apk|gcc|build-essential|sudo)\b", text)
    installs = [text for word, text in _instructions() if word == "RUN" and re.search(r"pip\b.*\binstall\b", text)]
    assert len(installs) == 3
    for text in installs:
        for command in re.findall(r"python -m pip [^&]*\binstall\b[^&]*", text):
            assert "--require-hashes" in command or "--no-index" in command
    assert not [text for word, text in _last_stage() if word == "RUN" and " install" in text]


def test_dockerfile_copies_no_more_than_it_names() -> None:
    for word, text in _instructions():
        if word == "COPY":
            assert not re.search(r"(^|\s)\.(\s|/\s)", text), text


def test_dockerfile_stops_and_is_watched_as_the_roles_expect() -> None:
    last = dict(_last_stage())
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["ENTRYPOINT"] == '["atmwatch"]', "exec form, so that the program gets the signal"
    assert "/livez" in last["HEALTHCHECK"]
    environment = last["ENV"]
    assert set(re.findall(r"ATMWATCH_\w+", environment)) <= SETTINGS
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)", last["LABEL"]))
    assert {"title", "description", "version", "revision", "licenses"} <= labels


def test_dockerignore_is_an_allow_list() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    copied = {
        name for word, text in _instructions() if word == "COPY" and "--from" not in text for name in text.split()[:-1]
    }
    assert {name.split("/")[0] for name in copied} <= {line[1:] for line in lines if line.startswith("!")}
    assert {"deploy/.env", "deploy/compose/secrets", "**/__pycache__"} <= set(lines)


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}\n" in DOCKERFILE
    assert SERVICES["embedder"]["image"] == f"atmwatch:${{ATMWATCH_VERSION:-{version}}}"


def test_every_role_runs() -> None:
    assert set(ROLES) | {"topics", "demo"} == OURS
    assert {"kafka", "redis", "prometheus", "grafana"} <= set(SERVICES)


@pytest.mark.parametrize("name", sorted(OURS))
def test_commands_exist(name: str) -> None:
    command = SERVICES[name]["command"]
    if "entrypoint" in SERVICES[name]:
        lines = [line.split()[1:] for line in command[0].splitlines() if line.startswith("atmwatch ")]
    else:
        lines = [command]
    assert lines
    for words in lines:
        assert tuple(words[:2]) in COMMANDS or tuple(words[:1]) in COMMANDS


@pytest.mark.parametrize("name", sorted(OURS))
def test_settings_exist(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert {key for key in environment if key.startswith("ATMWATCH_")} <= SETTINGS


def test_the_settings_are_the_programs_own() -> None:
    assert set(variables(Settings, PREFIX)) >= SETTINGS
    check_environment(re.findall(r"\bATMWATCH_\w+", (DEPLOY / ".env.example").read_text("utf-8")), Settings)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["logging"]["options"]["max-size"]
    if name not in OURS:
        assert re.fullmatch(r"[1-9][0-9]*:[0-9]+", service["user"]), "not root"
        assert re.search(r":v?[0-9]+\.[0-9][\w.-]*$", service["image"]), "a version, not latest"
        assert "healthcheck" in service
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")
    for volume in service.get("volumes", ()):
        source, target = volume.split(":")[:2]
        if source.startswith("."):
            assert volume.endswith(":ro")
            assert (DEPLOY / source).exists()
        else:
            assert source in COMPOSE["volumes"]
        assert target.startswith("/")


def test_the_order_of_starting() -> None:
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    for role in ROLES:
        assert SERVICES[role]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert SERVICES["view"]["depends_on"]["redis"] == {"condition": "service_healthy"}
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)


def test_nothing_can_leave_the_stream() -> None:
    assert COMPOSE["networks"]["stream"] == {"internal": True}
    for role in ROLES:
        assert ("host" in SERVICES[role]["networks"]) is (role == "gateway")


def test_secrets_are_required_and_in_the_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    required = set(re.findall(r"(?<!\$)\$\{(\w+):\?", text))
    defaulted = set(re.findall(r"(?<!\$)\$\{(\w+):-", text))
    assert required == {
        *("KAFKA_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD"),
        *("GATEWAY_KEYS_FILE", "VIEW_SECRET_FILE"),
    }
    assert not re.search(r"(?<!\$)\$\{?\w+\}?(?![\w:])(?<=\w)\}", re.sub(r"\$\{\w+:[?-][^}]*\}", "", text))
    example = (DEPLOY / ".env.example").read_text("utf-8")
    assert set(re.findall(r"(?m)^(\w+)=", example)) == required
    assert set(re.findall(r"(?m)^#(\w+)=", example)) == defaulted
    assert re.findall(r"(?m)^\w*PASSWORD=(.*)$", example) == ["", "", ""], "an example has no secret"
    ignored = (DEPLOY / ".gitignore").read_text("utf-8").split()
    assert {".env", "compose/secrets/"} <= set(ignored)


def test_whoever_has_the_view_has_its_secret() -> None:
    readers = {name for name in OURS if "ATMWATCH_REDIS__URL" in SERVICES[name]["environment"]}
    assert readers == {"view"}
    for name in OURS:
        files = {key: path for key, path in SERVICES[name]["environment"].items() if key.endswith("_FILE")}
        assert ("ATMWATCH_VIEW_SECRET_FILE" in files) is (name in readers)
        assert sorted(files.values()) == sorted(f"/run/secrets/{one}" for one in SERVICES[name].get("secrets", ()))
        assert set(SERVICES[name].get("secrets", ())) <= set(COMPOSE["secrets"])


def test_the_broker_is_the_one_that_the_tests_start() -> None:
    pom = ET.parse(ROOT / "tests" / "servers" / "kafka" / "pom.xml")  # noqa: S314 - our own file
    version = pom.findtext(".//{*}kafka.version")
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


def test_the_broker_makes_no_topics_by_itself_and_asks_for_a_password() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    protocols = dict(pair.split(":") for pair in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    for listener in environment["KAFKA_LISTENERS"].split(","):
        name, address = listener.split("://")
        assert protocols[name].startswith("SASL_") or address.startswith("localhost:")


def test_prometheus_finds_every_role() -> None:
    config = load(DEPLOY / "prometheus" / "prometheus.yml")
    job = config["scrape_configs"][0]
    assert job["job_name"] == "atmwatch", "the alert rules look for it"
    assert tuple(job["dns_sd_configs"][0]["names"]) == ROLES
    assert job["dns_sd_configs"][0]["port"] == 9464
    assert job["relabel_configs"] == [{"source_labels": ["__meta_dns_name"], "target_label": "component"}]


def test_grafana_is_provisioned() -> None:
    source = load(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")["datasources"][0]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    provider = load(DEPLOY / "grafana" / "provisioning" / "dashboards" / "atmwatch.yaml")["providers"][0]
    targets = {volume.split(":")[0]: volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    assert provider["options"]["path"] == targets["./grafana/dashboards"]
