"""Server processes that cannot outlive the tests, and free ports for them."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_WARDEN = Path(__file__).with_name("warden.py")
_END_SECONDS = 10.0


class Child:
    """One running server process, in a process group of its own.

    It ends with `stop` or `kill`, when the interpreter exits, and also when the tests are SIGKILLed: its parent is a
    small warden process that ends it as soon as the pipe from here closes. Not thread-safe: one owner at a time.
    """

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as out:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WARDEN), str(out.fileno()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                pass_fds=[out.fileno()],
                start_new_session=True,
                bufsize=0,
                env=env,
            )
        assert self._warden.stdin is not None
        assert self._warden.stdout is not None
        self._orders = self._warden.stdin
        with self._warden.stdout as told:
            line = told.readline()
        self._end = weakref.finalize(self, _end, self._warden)
        if not line:
            self._end()
            message = f"{command[0]} could not be started; see {log}"
            raise RuntimeError(message)
        self.pid = int(line)

    def is_running(self) -> bool:
        return self._warden.poll() is None

    def stop(self, timeout: float = 20.0) -> None:
        """Ask it to end (SIGTERM) and wait; after `timeout` seconds it is killed. Nothing happens when it is gone."""
        self._order(b"t", timeout)

    def kill(self) -> None:
        """SIGKILL, at once."""
        self._order(b"k", 5.0)

    def _order(self, order: bytes, timeout: float) -> None:
        if self._end.alive and self.is_running():
            try:
                self._orders.write(order)
                self._warden.wait(timeout)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                pass  # it went by itself meanwhile, or it does not listen: it is killed below
        self._end()


def _end(warden: "subprocess.Popen[bytes]") -> None:
    assert warden.stdin is not None
    warden.stdin.close()
    try:
        warden.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(warden.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        warden.wait()


def free_port() -> int:
    """A free TCP port of 127.0.0.1 below the range from which clients get theirs.

    From that range, a client that keeps connecting to a stopped server would sooner or later be given the very
    port, connect to itself, and keep the server from starting again.
    """
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    message = "no free TCP port on 127.0.0.1 between 20000 and 32000"
    raise RuntimeError(message)


def wait_until(ready: Callable[[], bool], child: Child, log: Path, seconds: float) -> None:
    """Return when `ready()`; raise with the end of `log` when the child ends before, or `seconds` pass."""
    until = time.monotonic() + seconds
    while not ready():
        if not child.is_running() or time.monotonic() > until:
            why = "did not get ready" if child.is_running() else "ended at once"
            child.kill()
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            message = f"the server {why}; the end of {log}:\n{tail}"
            raise RuntimeError(message)
        time.sleep(0.02)


@contextmanager
def ended_by_deadline(process: "subprocess.Popen[str]", seconds: float) -> Iterator[None]:
    """Kill `process` when the block is still busy with it after `seconds`."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
