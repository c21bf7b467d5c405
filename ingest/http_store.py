"""Pictures over HTTP(S): one bounded GET at a time, to an address that was checked.

fsspec's HTTP file system follows redirects by itself, resolves names by itself and decompresses by itself, so none of
the three could be bounded; this is httpx's transport instead, without the client around it, which would log URIs, keep
cookies and obey proxy variables.

DNS rebinding: a name is resolved once per request, every address of the answer is checked, and the connection goes to
one of those addresses, not to the name; TLS still proves the name (SNI and certificate), and the Host header carries
it.  Each request has a connection of its own, so none is reused for another name at the same address.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from urllib.parse import urljoin

import httpx

from ingest.allow_list import PORTS, AllowList, Place, literal_address, may_connect
from ingest.errors import BadRecord, ErrorAnswer, Unavailable
from ingest.reasons import Reason

Resolve = Callable[[str, int], list[str]]
"""Host and port to IP addresses; raises OSError."""

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})
_MOST_ADDRESSES = 4
_LONGEST_RETRY_S = 300.0
_SECONDS = re.compile(r"[0-9]{1,9}")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """``private_hosts`` are names that may lead to a private network; ``max_bytes`` bounds a body."""

    max_bytes: int
    private_hosts: frozenset[str]
    connect_s: float
    retry_s: float
    max_redirects: int
    tls: ssl.SSLContext
    resolve: Resolve = resolve


@dataclass(slots=True)
class Request:
    """One fetch under way.  ``until`` is when it must be over (``time.monotonic``).

    ``abort``, from any thread, closes its connection, so that the thread that works on it ends too.
    """

    until: float
    _transport: httpx.HTTPTransport | None = field(default=None, init=False)

    def left_s(self) -> float:
        """The seconds left.  Raises TimeoutError when there are none."""
        left = self.until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def abort(self) -> None:
        self.until = 0.0
        if self._transport is not None:
            self._transport.close()

    @contextmanager
    def transport(self, tls: ssl.SSLContext) -> Iterator[httpx.HTTPTransport]:
        """A connection that ``abort`` can close."""
        with closing(httpx.HTTPTransport(verify=tls, trust_env=False)) as self._transport:
            yield self._transport


class HttpStore:
    """Reads pictures below the roots of ``allowed``.  Safe to use from several threads."""

    def __init__(self, allowed: AllowList, options: HttpOptions) -> None:
        self._allowed = allowed
        self._options = options

    def read(self, place: Place, request: Request) -> bytes:
        """The body at ``place``, redirects followed as far as they stay below the roots.

        Raises BadRecord: OUTSIDE_ROOT, TOO_MANY_BYTES, UNREADABLE (not there, not allowed, too many redirects).
        Raises Unavailable for what may heal: no connection, a broken one; ErrorAnswer for 408, 425, 429 and 5xx, with
        the pause that the server asks for.  Raises TimeoutError.
        """
        for _ in range(self._options.max_redirects + 1):
            answer = self._get(place, request)
            if isinstance(answer, bytes):
                return answer
            place = self._allowed.place(urljoin(place.uri, answer))
            if place.scheme not in PORTS:
                raise BadRecord(Reason.OUTSIDE_ROOT, "The picture's URI is redirected to another kind of store.")
        raise BadRecord(Reason.UNREADABLE, "The picture's URI is redirected too often.")

    def _get(self, place: Place, request: Request) -> bytes | str:
        """The body, or where else it is said to be."""
        addresses = self._addresses(place)
        for address in addresses:
            try:
                with request.transport(self._options.tls) as transport:
                    return self._answer(transport, place, address, request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if address == addresses[-1]:
                    raise self._unavailable(place) from error
            except httpx.TransportError as error:
                raise self._unavailable(place) from error
        raise self._unavailable(place)

    def _addresses(self, place: Place) -> list[str]:
        if literal_address(place.host):  # it is a root's, so somebody wrote it down
            return [place.host]
        try:
            found = self._options.resolve(place.host, place.port or 0)
        except OSError as error:
            raise self._unavailable(place) from error
        private = place.host in self._options.private_hosts
        if not all(may_connect(address, private=private) for address in found):
            detail = "The picture's host leads to a private address, and is not configured as a private host."
            raise BadRecord(Reason.OUTSIDE_ROOT, detail)
        return found[:_MOST_ADDRESSES]

    def _answer(self, transport: httpx.HTTPTransport, place: Place, address: str, request: Request) -> bytes | str:
        left = request.left_s()
        to = f"[{address}]" if ":" in address else address
        asked = httpx.Request(
            "GET",
            f"{place.scheme}://{to}:{place.port}{place.target}",
            # Compressed, a small body could become a large one.
            headers={"Host": place.authority, "Accept-Encoding": "identity", "Connection": "close"},
            extensions={
                "sni_hostname": place.host,
                "timeout": httpx.Timeout(left, connect=min(left, self._options.connect_s)).as_dict(),
            },
        )
        with closing(transport.handle_request(asked)) as response:
            location = response.headers.get("location")
            if response.status_code in _REDIRECTS and location:
                return str(location)
            self._check_status(response, place)
            return self._body(response, request)

    def _check_status(self, response: httpx.Response, place: Place) -> None:
        status = response.status_code
        if status in _LATER or status >= 500:
            retry_s = retry_after(response.headers.get("retry-after"), datetime.now(UTC), self._options.retry_s)
            raise ErrorAnswer(_named(place), retry_s)
        if status != _OK:
            raise BadRecord(Reason.UNREADABLE, f"It can't be read: the store answered {status}.")

    def _body(self, response: httpx.Response, request: Request) -> bytes:
        most = self._options.max_bytes
        announced = response.headers.get("content-length", "")
        size = int(announced) if _SECONDS.fullmatch(announced) else 0
        pieces: list[bytes] = []
        if size <= most:
            size = 0
            for piece in response.iter_raw():
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    break
                request.left_s()
        if size > most:
            raise BadRecord(Reason.TOO_MANY_BYTES, f"The picture is larger than {most:,} bytes.")
        return b"".join(pieces)

    def _unavailable(self, place: Place) -> Unavailable:
        return Unavailable(_named(place), self._options.retry_s)


def retry_after(value: str | None, now: datetime, default_s: float) -> float:
    """The seconds that a Retry-After header (RFC 9110, 10.2.3) asks for, from ``default_s`` to five minutes."""
    seconds = default_s
    if value is not None and _SECONDS.fullmatch(value.strip()):
        seconds = float(value)
    elif value is not None:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return default_s
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, default_s), _LONGEST_RETRY_S)


def _named(place: Place) -> str:
    return f"the picture store {place.authority}"
