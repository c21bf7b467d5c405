"""W3C Trace Context: the two headers that join an input's trace to its outputs'.

Nothing here starts a span; what came in, and is valid, goes out again.  Source: W3C Recommendation "Trace Context"
(level 1), https://www.w3.org/TR/trace-context-1/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Headers = tuple[tuple[str, bytes], ...]

_PARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<parent>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED = 1
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"(?P<key>{_KEY})={_VALUE}")
_MAX_MEMBERS = 32
_MAX_CHARS = 1024
"""A participant owes it to others to carry 512 characters at least."""


def trace_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """The valid ``traceparent`` among ``headers``, and ``tracestate`` with it; nothing when there is none.

    A ``traceparent`` of a later version is carried on as version 00, with the parts that 00 knows; two of them are
    none.  Several ``tracestate`` headers are one list; a list that is too long or not valid is left out.
    """
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        lower = name.lower()
        if lower == "traceparent":
            parents.append(value)
        elif lower == "tracestate":
            states.append(value)
    if len(parents) != 1:
        return ()
    parent = _parent(parents[0])
    if parent is None:
        return ()
    state = _state(states)
    return (("traceparent", parent), ("tracestate", state)) if state else (("traceparent", parent),)


def _parent(value: bytes) -> bytes | None:
    text = _text(value)
    found = text and _PARENT.fullmatch(text.strip(" \t"))
    if not found:
        return None
    if found["version"] == "00":
        return found.group().encode() if found["more"] is None else None
    flags = int(found["flags"], 16) & _SAMPLED
    return f"00-{found['trace']}-{found['parent']}-{flags:02x}".encode()


def _state(values: list[bytes]) -> bytes:
    text = _text(b",".join(value or b"" for value in values))
    if text is None:
        return b""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = {found["key"] for member in members if (found := _MEMBER.fullmatch(member))}
    joined = ",".join(members)
    # A member that is not valid, or a key that comes twice, leaves fewer keys than members.
    if len(keys) < len(members) or len(members) > _MAX_MEMBERS or len(joined) > _MAX_CHARS:
        return b""
    return joined.encode()


def _text(value: bytes | None) -> str | None:
    if value is None or len(value) > 2 * _MAX_CHARS or not value.isascii():
        return None
    return value.decode("ascii")
