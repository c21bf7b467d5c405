"""Signed messages: how a receiver knows that an alert comes from this installation, and when it was sent.

Source: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
The signature is HMAC-SHA256 (RFC 2104) over ``{webhook-id}.{webhook-timestamp}.{body}``, base64, under ``v1,``.
A receiver drops a message whose ``webhook-id`` it has seen.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping, Sequence
from pathlib import Path

from ingest.errors import AtmwatchError, UsageError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
MIN_SECRET, MAX_SECRET = 24, 64
"""Bytes of a secret, once its base64 is undone."""

TOLERANCE_S = 300
MAX_SIGNATURES = 10
_MAX_FILE = 4096


class NotAuthentic(AtmwatchError):
    """A message that this installation did not sign, or not lately.  The text never holds what was expected."""


class Secret:
    """A key of signatures; shown as dots."""

    __slots__ = ("_key",)

    def __init__(self, text: str) -> None:
        """Take ``whsec_`` and the base64 of 24 to 64 bytes.  Raises ``UsageError`` that never repeats it."""
        try:
            self._key = b64decode(text.strip().removeprefix(PREFIX), validate=True)
        except (Error, ValueError):
            self._key = b""
        if not MIN_SECRET <= len(self._key) <= MAX_SECRET:
            message = f"a webhook secret must be {PREFIX} and the base64 of {MIN_SECRET} to {MAX_SECRET} bytes"
            raise UsageError(message)

    @classmethod
    def read(cls, path: Path) -> tuple[Secret, ...]:
        """The secrets in a file, one a line, the one in use first.  Raises ``UsageError``."""
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_FILE + 1)
            lines = content.decode("ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            message = f"{path}: the webhook's secrets can't be read"
            raise UsageError(message) from error
        if not lines or len(content) > _MAX_FILE:
            message = f"{path}: must hold one webhook secret a line, {_MAX_FILE} bytes at most"
            raise UsageError(message)
        return tuple(cls(line) for line in lines)

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The signature of one message sent at ``timestamp``, seconds since 1970."""
        content = b".".join((message_id.encode(), str(timestamp).encode(), body))
        return "v1," + b64encode(hmac.digest(self._key, content, "sha256")).decode()

    def __repr__(self) -> str:
        return "Secret(…)"


def signed(message_id: str, timestamp: int, body: bytes, secrets: Sequence[Secret]) -> dict[str, str]:
    """The headers of a message: one signature for each secret, so that secrets can be changed without a break."""
    signatures = " ".join(secret.sign(message_id, timestamp, body) for secret in secrets)
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: signatures}


def verify(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[Secret], *, now: float, tolerance_s: float = TOLERANCE_S
) -> str:
    """The id of a message that was signed with one of ``secrets`` within ``tolerance_s`` of ``now``; for receivers.

    ``body`` is what came over the wire, byte for byte; ``now`` is in seconds since 1970.  Raises ``NotAuthentic``.
    """
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = found[ID], found[TIMESTAMP], found[SIGNATURE]
    except KeyError as error:
        message = f"the message lacks {error.args[0]}"
        raise NotAuthentic(message) from error
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 15):
        message = f"{TIMESTAMP} is not a number of seconds"
        raise NotAuthentic(message)
    if abs(now - int(timestamp)) > tolerance_s:
        message = f"the message was sent more than {tolerance_s:g} s before or after now"
        raise NotAuthentic(message)
    given = [one.encode() for one in signatures.split(" ")[:MAX_SIGNATURES]]
    expected = [secret.sign(message_id, int(timestamp), body).encode() for secret in secrets]
    if not any(hmac.compare_digest(one, other) for one in given for other in expected):
        message = "no signature of the message is right"
        raise NotAuthentic(message)
    return message_id
