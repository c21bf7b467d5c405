"""What is downloaded is whole or not there, fetched once, and what lacks is named with the way to get it."""

import threading
import time
from pathlib import Path

import pytest
from servers.cache import Missing, kept
from servers.children import free_port
from servers.kafka_broker import kafka_jars
from servers.redis_store import redis_program


def test_a_folder_is_filled_once_per_recipe(tmp_path: Path) -> None:
    fills: list[Path] = []

    def fill(folder: Path) -> None:
        fills.append(folder)
        (folder / "jar").write_text(str(len(fills)))

    folder = kept("thing", "recipe 1", fill, tmp_path)
    assert kept("thing", "recipe 1", fill, tmp_path) == folder
    assert len(fills) == 1
    assert kept("thing", "recipe 2", fill, tmp_path) == folder
    assert (folder / "jar").read_text() == "2"


def test_an_interrupted_fill_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("thing", "recipe", broken, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]

    folder = kept("thing", "recipe", lambda _: None, tmp_path)
    assert not (folder / "half").exists()


def test_two_runs_do_not_fill_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fills: list[Path] = []

    def slow(folder: Path) -> None:
        fills.append(folder)
        time.sleep(0.2)

    runs = [threading.Thread(target=kept, args=("thing", "recipe", slow, tmp_path)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(fills) == 1
    assert "waiting for it" in capfd.readouterr().err


def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no tools and an empty cache; its folder of programs."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("JAVA_HOME", "ATMWATCH_REDIS_SERVER"):
        monkeypatch.delenv(name, raising=False)
    return tools


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_missing_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere(monkeypatch, tmp_path)
    with pytest.raises(Missing, match=r"Java is missing.* apt-get install openjdk-17"):
        kafka_jars()


def test_old_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(nowhere(monkeypatch, tmp_path) / "java", """echo 'openjdk version "11.0.2"' >&2""")
    with pytest.raises(Missing, match="needs Java 17 or later"):
        kafka_jars()


def test_missing_maven_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(nowhere(monkeypatch, tmp_path) / "java", """echo 'openjdk version "17.0.15"' >&2""")
    with pytest.raises(Missing, match=r"Maven \(mvn\) is missing.* apt-get install maven"):
        kafka_jars()


def test_what_maven_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tools = nowhere(monkeypatch, tmp_path)
    program(tools / "java", """echo 'openjdk version "21"' >&2""")
    program(tools / "mvn", "echo '[ERROR] no route to the repository'; exit 3")
    with pytest.raises(Missing, match=r"(?s)exit 3.*no route to the repository"):
        kafka_jars()


def test_missing_redis_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere(monkeypatch, tmp_path)
    with pytest.raises(Missing, match=r"redis-server is missing.*apt-get install redis-server"):
        redis_program()
    monkeypatch.setenv("ATMWATCH_REDIS_SERVER", "/no/redis")
    with pytest.raises(Missing, match="/no/redis, which is no program"):
        redis_program()


def test_a_failed_redis_download_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tools = nowhere(monkeypatch, tmp_path)
    program(tools / "apt-get", "echo 'E: no such package' >&2; exit 100")
    program(tools / "dpkg-deb", "exit 0")
    with pytest.raises(Missing, match=r"(?s)could not download it.*no such package"):
        redis_program()


def test_ports_lie_below_those_that_clients_get() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(20000 <= free_port() < min(low, 32000) for _ in range(20))
