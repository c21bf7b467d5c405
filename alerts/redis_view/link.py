"""What the Redis view asks of a server: a read of several keys at once, and a write that happens only if.

The only module that knows the client.  Every call either gives an answer, or raises ``Unavailable`` (the server
is not there, is loading, full or a read-only replica) or ``UsageError`` (wrong credentials: trying again would
not help).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis, RedisCluster, exceptions
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from ingest.errors import Unavailable, UsageError

GUARDED = """
local at = 2
for _ = 1, tonumber(ARGV[1]) do
  local key, found = KEYS[tonumber(ARGV[at])], nil
  if ARGV[at + 1] == '' then found = redis.call('GET', key) else found = redis.call('HGET', key, ARGV[at + 1]) end
  if (found or '') ~= ARGV[at + 2] then return 0 end
  at = at + 3
end
while at <= #ARGV do
  local count = tonumber(ARGV[at + 2])
  redis.call(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, at + 2 + count))
  at = at + 3 + count
end
return 1
"""
"""Runs commands if all guards hold: a key, or a hash's field, has the value expected ('' for none)."""

RANKED = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local ids = redis.call(ARGV[2], KEYS[2], ARGV[3], ARGV[4])
if #ids == 0 then return {} end
return redis.call('HMGET', KEYS[3], unpack(ids))
"""
"""The values of a hash in the order of a sorted set, if a key has the value expected."""

MOST_ARGS = 1000
"""Of one command in a script, an even number: Lua's stack holds about 8000."""

Client = Redis | RedisCluster
Command = tuple[str, ...]
"""A command's name, its key and its further arguments."""

_WRONG = (
    exceptions.AuthenticationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)
_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.TryAgainError,
    exceptions.ClusterError,
    exceptions.AskError,
    exceptions.RedisClusterException,
)
_AWAY_CODES = frozenset({"MISCONF", "NOREPLICAS", "BUSY"})
"""Answers of a server that can't take writes now, for which the client has no type."""


def connect(url: str, *, cluster: bool = False, timeout_s: float = 2.0) -> Client:
    """A client for ``redis://``, ``rediss://`` (TLS) or ``unix://``; ``timeout_s`` bounds each connect and answer.

    Connects when first used; a cluster's at once.  Raises ``UsageError`` for a URL that can't be one or wrong
    credentials, and ``Unavailable``.
    """
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2)
    kind: type[Redis] | type[RedisCluster] = RedisCluster if cluster else Redis
    with _reachable():
        try:
            return kind.from_url(
                url, decode_responses=True, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry
            )
        except ValueError as error:
            message = "the Redis URL must be redis://[[user]:password@]host[:port]/[database], rediss:// or unix://"
            raise UsageError(message) from error


def ping(client: Client) -> None:
    """Nothing, when the server answers.  Raises ``UsageError`` for wrong credentials, and ``Unavailable``."""
    with _reachable():
        client.ping()


class Guarded:
    """Commands that are run together, or not at all when something is not as expected."""

    def __init__(self, script: Callable[..., Any]) -> None:
        self._script = script
        self._keys: dict[str, int] = {}
        self._guards: list[str] = []
        self._commands: list[str] = []

    def expect(self, key: str, value: str | None, name: str = "") -> Guarded:
        """Only if ``key``, or the field ``name`` of a hash, has ``value``, or is not there (None)."""
        self._guards += [self._number(key), name, value or ""]
        return self

    def do(self, command: str, key: str, *args: str) -> Guarded:
        """Run ``command``; one with very many ``args`` in several pieces."""
        for start in range(0, max(len(args), 1), MOST_ARGS):
            part = args[start : start + MOST_ARGS]
            self._commands += [command, self._number(key), str(len(part)), *part]
        return self

    def remove(self, *keys: str) -> Guarded:
        """Remove ``keys``, as far as they are there."""
        for key in keys:
            self.do("UNLINK", key)
        return self

    def run(self) -> bool:
        """Whether everything was as expected, and the commands were run.

        When the connection breaks, the client tries again: False may then mean that it was this call's first
        try that changed what was expected.
        """
        args = [str(len(self._guards) // 3), *self._guards, *self._commands]
        with _reachable():
            return bool(self._script(keys=list(self._keys), args=args))

    def _number(self, key: str) -> str:
        return str(self._keys.setdefault(key, len(self._keys) + 1))


class Link:
    """A server, or a cluster.  All keys of one call must lie in one hash slot."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._guarded = client.register_script(GUARDED)
        self._ranked = client.register_script(RANKED)

    def get(self, key: str) -> str | None:
        """The value of ``key``."""
        with _reachable():
            found = self._client.get(key)
        return None if found is None else str(found)

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to reading ``commands``, all of one moment."""
        with _reachable(), self._client.pipeline(transaction=True) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(pipe.execute())

    def ranked(self, guard: tuple[str, str], index: str, rows: str, window: tuple[int, int, bool]) -> list[Any] | None:
        """The values of hash ``rows`` for the ids that ``index`` has from rank to rank (reversed if True).

        None unless the key and value of ``guard`` hold.
        """
        first, last, reverse = window
        command = "ZREVRANGE" if reverse else "ZRANGE"
        key, value = guard
        with _reachable():
            found = self._ranked(keys=[key, index, rows], args=[value, command, str(first), str(last)])
        return None if found is None else list(found)

    def guarded(self) -> Guarded:
        """A write to be put together."""
        return Guarded(self._guarded)


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except _WRONG as error:
        message = "Redis refuses the user or password, or a permission that the view needs"
        raise UsageError(message) from error
    except _AWAY as error:
        what = "Redis"
        raise Unavailable(what) from error
    except exceptions.ResponseError as error:
        if str(error).partition(" ")[0] not in _AWAY_CODES:
            raise
        what = "Redis"
        raise Unavailable(what) from error
