"""Roles that are watched from outside: what is made of the looks at them, and how they are started and ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from deploy import bench_roles
from deploy.bench_roles import Look, RoleProcess, running, usage
from ingest.errors import AtmwatchError


def looked(*looks: tuple[float, int, float, float]) -> RoleProcess:
    nothing = cast(Any, None)
    return RoleProcess("clusterer", nothing, "", Path(), 0.0, [Look(*one) for one in looks])


def test_a_role_is_timed_from_its_first_committed_input_to_its_last() -> None:
    role = looked((0, 0, 1, 10), (1, 100, 2, 11), (2, 600, 3, 12), (3, 1100, 4, 13), (9, 1100, 5, 14))
    assert [look.at for look in role.course] == [1, 2, 3]
    assert role.rate == 500
    assert role.cpu_ms == 2.0
    assert (role.most_mb, role.tenths_mb) == (14, [12, 13])
    idle = looked((0, 0, 1, 10))
    assert (idle.rate, idle.cpu_ms) == (0.0, 0.0)
    nobody = looked()
    assert (nobody.rate, nobody.cpu_ms, nobody.most_mb, nobody.tenths_mb) == (0.0, 0.0, 0.0, [])


def test_memory_is_that_of_each_tenth_of_the_inputs() -> None:
    role = looked(*((float(number), 5 * number, 0.0, 100.0 + number) for number in range(1, 101)))
    assert role.tenths_mb == [100.0 + 10 * tenth for tenth in range(1, 11)]


def test_a_process_tells_its_time_and_memory() -> None:
    cpu_s, rss_mb = usage(os.getpid())
    assert cpu_s > 0
    assert 10 < rss_mb < 100_000


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has a program of a few lines take the place of `atmwatch run`; its port is the environment's."""

    def use(program: str) -> None:
        popen = bench_roles.subprocess.Popen
        monkeypatch.setattr(
            bench_roles.subprocess, "Popen", lambda _, **more: popen([sys.executable, "-c", program], **more)
        )

    return use


SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answer.asked += 1
        self.send_response(200 if self.path == "/metrics" or Answer.asked > 3 else 503)
        self.end_headers()
        self.wfile.write(b'atmwatch_events_total{role="clusterer"} %d.0\\n' % (10 * Answer.asked))
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["ATMWATCH_HTTP__PORT"])), Answer).serve_forever()
"""


def test_a_role_is_watched_while_it_runs(stand_in: Callable[[str], None], tmp_path: Path) -> None:
    stand_in(SERVER)
    with running("clusterer", {}, tmp_path) as role:
        role.wait_ready(20)
        assert role.wait_for(60, 20).events >= 60
        with pytest.raises(AtmwatchError, match=r"had not committed 1,000,000 inputs after 0 s"):
            role.wait_for(1_000_000, 0.0)
        with pytest.raises(AtmwatchError, match="was not ready after 0 s"):
            role.wait_ready(0.0)
    assert role.process.poll() is not None
    assert role.rate > 0


def test_a_role_that_ends_is_reported_with_its_last_words(stand_in: Callable[[str], None], tmp_path: Path) -> None:
    stand_in("import sys; print('one'); sys.exit('the last words')")
    with running("alerter", {}, tmp_path) as role:
        role.process.wait(20)
        with pytest.raises(AtmwatchError, match="the alerter ended: the last words"):
            role.look()


def test_a_role_that_does_not_stop_is_ended(
    stand_in: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_roles, "FAREWELL_S", 0.1)
    stand_in(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    with running("alerter", {}, tmp_path) as role:
        while not role.log.stat().st_size:
            pass
    assert role.process.returncode == -9
