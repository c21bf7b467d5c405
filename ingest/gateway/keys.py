"""Who may send: API keys, of which the gateway knows the hashes alone.

The keys file has a line for each key, ``client:hash`` or ``client:hash:prefix,prefix``; blank lines and those that
begin with # are skipped.  ``hash`` is the SHA-256 of the key, 64 hexadecimal digits; the prefixes are those of the ATMs
that the client may send for, any without.  A client may have several keys, so that one can be exchanged for another.

A slow hash protects passwords, which people choose and others guess.  Keys are random, 32 characters at least, so
nobody finds one from its SHA-256, and a request costs microseconds.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path

from ingest.claim_check import read_file
from ingest.errors import BadRecord, UsageError
from ingest.gateway.config import MIB
from ingest.gateway.problems import Code, Problem
from ingest.limits import ImageLimits

SHORTEST_KEY = 32
LONGEST_KEY = 256
_BEARER = re.compile(rf"(?i:bearer) +(?P<key>[A-Za-z0-9._~+/-]{{{SHORTEST_KEY},{LONGEST_KEY}}}={{0,2}})")
_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"[0-9A-Fa-f]{64}")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="atmwatch"'}


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request; ``prefixes`` of the ATMs that it may send for, none for any."""

    name: str
    prefixes: tuple[str, ...] = ()

    def may_send_for(self, atm_id: str) -> bool:
        """Whether its key covers this ATM."""
        return not self.prefixes or atm_id.startswith(self.prefixes)


ANONYMOUS = Client("anonymous")


class Keys:
    """The clients by their keys' SHA-256 (32 bytes); ``anonymous`` is whoever sends no key.  Safe in any thread."""

    def __init__(self, clients: dict[bytes, Client], *, anonymous: Client | None = None) -> None:
        # Hashed once more with a secret of this process: how long the look-up takes then says nothing about a key.
        self._blind = secrets.token_bytes(32)
        self._clients = {self._blinded(digest): client for digest, client in clients.items()}
        self._anonymous = anonymous

    def client(self, authorization: str | None) -> Client:
        """Whose the ``Authorization`` header is.  Raises Problem (UNAUTHENTICATED), the same for every fault."""
        if authorization is None and self._anonymous is not None:
            return self._anonymous
        found = _BEARER.fullmatch(authorization or "")
        if found:
            client = self._clients.get(self._blinded(sha256(found["key"].encode()).digest()))
            if client is not None:
                return client
        detail = "Send the header Authorization: Bearer, with a key that is known here."
        raise Problem(Code.UNAUTHENTICATED, detail, _CHALLENGE)

    def _blinded(self, digest: bytes) -> bytes:
        return blake2b(digest, key=self._blind, digest_size=32).digest()


def load_keys(path: Path | None, *, allow_anonymous: bool) -> Keys:
    """The keys of a file.  Raises ``UsageError`` when there is none and strangers are not allowed, or it is wrong."""
    anonymous = ANONYMOUS if allow_anonymous else None
    if path is None:
        if anonymous is None:
            message = (
                "the gateway has no keys: name a file with ATMWATCH_GATEWAY__KEYS_FILE, or let everybody in with "
                "ATMWATCH_GATEWAY__ALLOW_ANONYMOUS=true"
            )
            raise UsageError(message)
        return Keys({}, anonymous=anonymous)
    try:
        text = read_file(path, ImageLimits(max_bytes=MIB)).decode()
    except BadRecord as error:
        message = f"keys file {path}: {error.detail}"
        raise UsageError(message) from error
    except UnicodeDecodeError as error:
        message = f"keys file {path}: it is not UTF-8"
        raise UsageError(message) from error
    return Keys(parse_keys(text, str(path)), anonymous=anonymous)


def parse_keys(text: str, source: str) -> dict[bytes, Client]:
    """The clients by the SHA-256 of their keys.  Raises ``UsageError`` that names the line, and nothing in it."""
    clients: dict[bytes, Client] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.strip().partition(":")
        digest, _, listed = rest.partition(":")
        prefixes = tuple(prefix.strip() for prefix in listed.split(",") if prefix.strip())
        if not _CLIENT.fullmatch(name) or not _HASH.fullmatch(digest):
            message = f"{source}:{number}: not client:hash or client:hash:prefixes, the hash 64 hexadecimal digits"
            raise UsageError(message)
        key = bytes.fromhex(digest)
        if key in clients:
            message = f"{source}:{number}: the key is there twice"
            raise UsageError(message)
        clients[key] = Client(name, prefixes)
    if not clients:
        message = f"{source} holds no keys"
        raise UsageError(message)
    return clients
