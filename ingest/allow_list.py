"""Which URIs may be fetched: those under configured roots, compared after normalisation.

Events come from outside, so a picture's URI must not lead atmwatch to anything but pictures (server-side request
forgery, CWE-918).  A URI that two programs could read in two ways is refused, not repaired: only the characters of
RFC 3986, no user information, no dot segments however encoded, no encoded slash, backslash or control character, no
fragment.  Scheme and host are compared in lower case, ports with the scheme's default filled in, paths percent-decoded
and by whole segments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import MappingProxyType
from urllib.parse import unquote

from ingest.errors import BadRecord, UsageError
from ingest.reasons import Reason

PORTS = MappingProxyType({"https": 443, "http": 80})
STORES = frozenset({"s3", "memory"})
"""Schemes that fsspec reads.  ``memory`` is a store within the process, for tests."""

_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<rest>#.*)?"
)
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(
    rf"(?P<name>(?:{_LABEL}\.){{0,126}}{_LABEL}\.?|\[[0-9A-Fa-f:.]{{2,45}}\])(?::(?P<port>[0-9]{{1,5}}))?"
)
_HIDDEN = re.compile(r"%(?:2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_MOST_CHARS = 4096
_MOST_ENCODINGS = 4
_TRANSLATED = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Place:
    """A URI in normal form.  ``host`` is a bucket for stores, and an IPv6 address has no brackets.

    ``path`` is percent-decoded and begins with a slash; ``target`` is path and query as they were written.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    target: str

    @property
    def authority(self) -> str:
        """Host and, where it is not the default, port: what HTTP's Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in (None, PORTS.get(self.scheme)) else f"{host}:{self.port}"

    @property
    def uri(self) -> str:
        """The URI, normalised but for the path's encoding."""
        return f"{self.scheme}://{self.authority}{self.target}"


class AllowList:
    """The roots, as URI prefixes of whole path segments.  Immutable.

    Raises UsageError for a root that is no URI of a known scheme, or has a query.
    """

    def __init__(self, roots: Iterable[str]) -> None:
        self._roots = tuple(_root(uri, number) for number, uri in enumerate(roots, start=1))

    @property
    def schemes(self) -> frozenset[str]:
        """The schemes that any root has."""
        return frozenset(root.scheme for root in self._roots)

    def place(self, uri: str) -> Place:
        """``uri`` in normal form.  Raises BadRecord (OUTSIDE_ROOT) unless it lies below a root."""
        found = _place(uri)
        for root in self._roots:
            same = (found.scheme, found.host, found.port) == (root.scheme, root.host, root.port)
            if same and found.path.startswith(root.path) and len(found.path) > len(root.path):
                return found
        raise BadRecord(Reason.OUTSIDE_ROOT, "The picture's URI lies below none of the roots that may be read.")


def literal_address(host: str) -> bool:
    """Whether a host is an IP address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def may_connect(address: str, *, private: bool) -> bool:
    """Whether a name may lead to this IP address: a public one, or with ``private`` one of a private network.

    Never to link-local addresses, where clouds keep their metadata and credentials, nor to multicast, reserved or
    unspecified ones.  IPv4 within IPv6 (mapped, 6to4, NAT64) is judged as IPv4.
    """
    ip = _unwrapped(ip_address(address.partition("%")[0]))
    if ip.is_loopback:
        return private
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return False
    return private or ip.is_global


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _root(uri: str, number: int) -> Place:
    """A root is named by its number in messages: it may hold a password."""
    try:
        root = _place(uri if uri.endswith("/") else uri + "/")
    except BadRecord as error:
        message = f"root {number} of the pictures can't be one: {error.detail}"
        raise UsageError(message) from error
    if "?" in root.target:
        message = f"root {number} of the pictures can't be one: it has a query"
        raise UsageError(message)
    return root


def _place(uri: str) -> Place:
    found = _URI.fullmatch(uri) if len(uri) <= _MOST_CHARS and _CHARACTERS.fullmatch(uri) else None
    if found is None:
        raise _refused(why="is not valid")
    scheme = found["scheme"].lower()
    if scheme not in PORTS and scheme not in STORES:
        raise _refused(why="is of a scheme that is not read")
    if "@" in found["authority"]:
        raise _refused(why="holds user information")
    if found["rest"] is not None:
        raise _refused(why="has a fragment")
    host = _HOST.fullmatch(found["authority"])
    if host is None or int(host["port"] or 1) not in range(1, 65536):
        raise _refused(why="has no valid host")
    query = "" if found["query"] is None else f"?{found['query']}"
    target = (found["path"] or "/") + query
    path = _decoded(found["path"] or "/")
    if scheme in STORES:
        if host["port"] or query or host["name"].startswith("["):
            raise _refused(why="has a port or a query, which a store has not")
        return Place(scheme, host["name"], None, path, target)
    return Place(scheme, _host(host["name"]), int(host["port"] or PORTS[scheme]), path, target)


def _host(name: str) -> str:
    if not name.startswith("["):
        return name.lower().removesuffix(".")
    try:
        return str(IPv6Address(name[1:-1]))
    except ValueError as error:
        raise _refused(why="has no valid host") from error


def _decoded(path: str) -> str:
    """``path`` percent-decoded once; refused when any further decoding would lead elsewhere."""
    decoded: str | None = None
    text = path
    for _ in range(_MOST_ENCODINGS):
        if _HIDDEN.search(text):
            raise _refused(why="holds an encoded slash, backslash or control character")
        try:
            further = unquote(text, errors="strict")
        except UnicodeDecodeError as error:
            raise _refused(why="is not UTF-8") from error
        # Some servers take what follows a semicolon for a parameter, and "..;" for "..".
        if any(segment.partition(";")[0] in (".", "..") for segment in further.split("/")):
            raise _refused(why="has a dot segment")
        decoded = further if decoded is None else decoded
        if further == text:
            return decoded
        text = further
    raise _refused(why="is encoded many times over")


def _refused(*, why: str) -> BadRecord:
    return BadRecord(Reason.OUTSIDE_ROOT, f"The picture's URI {why}.")
