"""A real redis-server on loopback: nothing on disk, a random port, a random password.

It is the one of PATH or of ATMWATCH_REDIS_SERVER. Without either, Debian's packages are downloaded and unpacked into
the cache: that installs nothing, needs no root and starts no service.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from servers.cache import Missing, cache_folder, kept, say
from servers.children import Child, free_port, wait_until

# redis-server is a link into redis-tools; the rest are the libraries that a small Debian may lack.
_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
_INSTEAD = (
    "Get it (Debian, as root): apt-get install redis-server. Or name the program in ATMWATCH_REDIS_SERVER, "
    "or point ATMWATCH_TEST_REDIS at a running one (redis://...)."
)
_START_SECONDS = 15.0


class RedisServer:
    """A Redis for one test run; `url` carries its password."""

    def __init__(self, folder: Path, program: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._program = program
        self._password = secrets.token_hex(16)
        self._port = free_port()
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        self.log_path = folder / "redis.log"
        self._folder = folder
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process's number; raises when it never ran."""
        if self._child is None:
            message = "redis-server is not running"
            raise RuntimeError(message)
        return self._child.pid

    def is_running(self) -> bool:
        return self._child is not None and self._child.is_running()

    def start(self) -> None:
        """Start it, empty, and return when it answers; nothing when it runs already."""
        if self.is_running():
            return
        settings = self._folder / "redis.conf"  # not the command line: the password would show in the process list
        settings.write_text(
            f'bind 127.0.0.1\nport {self._port}\nrequirepass {self._password}\ndir "{self._folder}"\n'
            'save ""\nappendonly no\ndaemonize no\ndatabases 4\nmaxmemory 256mb\n'
        )
        settings.chmod(0o600)
        self._child = Child([str(self._program), str(settings)], self.log_path, _with_libraries(self._program))
        wait_until(self._answers, self._child, self.log_path, _START_SECONDS)

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """SIGKILL it."""
        if self._child is not None:
            self._child.kill()

    def flush(self) -> None:
        """Forget everything (FLUSHALL), as an operator's mistake would."""
        self._ask("FLUSHALL")

    def _answers(self) -> bool:
        try:
            return self._ask("PING") == "+PONG"
        except OSError:
            return False

    def _ask(self, command: str) -> str:
        """Two inline commands over a plain socket, so that the harness needs no client library."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as link, link.makefile("rwb") as talk:
            talk.write(f"AUTH {self._password}\r\n{command}\r\n".encode())
            talk.flush()
            greeting, answer = talk.readline().decode().strip(), talk.readline().decode().strip()
        if greeting != "+OK" or not answer.startswith("+"):
            message = f"redis-server refused {command}: {greeting} {answer}"
            raise OSError(message)
        return answer


def redis_server(tmp: Path) -> RedisServer:
    """A running Redis; raises `Missing` when it cannot be had on this machine."""
    server = RedisServer(tmp, redis_program())
    server.start()
    return server


def redis_program() -> Path:
    """The redis-server to run: the one named, else of PATH, else out of Debian's packages in the cache."""
    named = os.environ.get("ATMWATCH_REDIS_SERVER")
    if named:
        if shutil.which(named) is None:
            message = f"ATMWATCH_REDIS_SERVER names {named}, which is no program. {_INSTEAD}"
            raise Missing(message)
        return Path(named)
    if found := shutil.which("redis-server"):
        return Path(found)
    folder = kept("redis", " ".join(_PACKAGES), _fetch)
    return folder / "usr/bin/redis-server"


def _fetch(folder: Path) -> None:
    tools = {name: shutil.which(name) for name in ("apt-get", "dpkg-deb")}
    if lacking := [name for name, path in tools.items() if path is None]:
        message = f"redis-server is missing, and so is {', '.join(lacking)} to get it with. {_INSTEAD}"
        raise Missing(message)
    say(f"Fetching redis-server from Debian's packages into {cache_folder()} (2 MB, once)")
    apt, unpack = str(tools["apt-get"]), str(tools["dpkg-deb"])
    download = [apt, "-o", "APT::Sandbox::User=root", "download", *_PACKAGES]
    with tempfile.TemporaryDirectory() as packages:
        done = _run(download, packages)
        if done.returncode != 0 and os.geteuid() == 0:  # a fresh machine has no package lists, or old ones
            _run([apt, "update"], packages)
            done = _run(download, packages)
        if done.returncode != 0:
            message = f"redis-server is missing and apt-get could not download it. {_INSTEAD}\n{done.stderr[:2000]}"
            raise Missing(message)
        for package in sorted(Path(packages).glob("*.deb")):
            _run([unpack, "--extract", str(package), str(folder)], packages)
    program = folder / "usr/bin/redis-server"
    if problem := _problem(program):
        message = f"the redis-server of Debian's packages does not run here: {problem}. {_INSTEAD}"
        raise Missing(message)


def _problem(program: Path) -> str:
    """Why `program` does not run (a library that is lacking, mostly); empty when it does."""
    if not program.exists():
        return "the packages hold none"
    version = [str(program), "--version"]
    done = subprocess.run(
        version, env=_with_libraries(program), capture_output=True, text=True, timeout=30, check=False
    )
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"


def _run(command: list[str], folder: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )


def _with_libraries(program: Path) -> dict[str, str]:
    """The environment, with the libraries that were unpacked beside the program."""
    beside = sorted({str(path.parent) for path in program.parent.parent.parent.glob("usr/lib/*/*.so*")})
    kept_here = cache_folder() in program.parents
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(beside)} if kept_here else dict(os.environ)
