"""The claim check for streams: an event's picture from an object store, a web server or a share, fetched with bounds.

``ingest.claim_check`` reads the local files of a replay; this reads what events from outside name, and so only below
configured roots (``allow_list``), within a size and a total time.  ``http(s)`` is ``http_store``'s; ``s3`` is read by
fsspec, whose endpoint and credentials are configuration's and never the event's; ``file`` is ``claim_check``'s, which
knows links, pipes and videos better than fsspec does.

An object's key in ``s3://bucket/key`` is percent-decoded once.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import BinaryIO, Protocol

import httpx

from ingest import claim_check
from ingest.allow_list import PORTS, STORES, AllowList, Place
from ingest.deadline import Deadline
from ingest.errors import BadRecord, Unavailable, UsageError
from ingest.http_store import HttpOptions, HttpStore, Request, Resolve, resolve
from ingest.limits import DEFAULT_LIMITS, ImageLimits
from ingest.patience import Patience, Trials
from ingest.reasons import Reason
from ingest.records import AtmEvent

_FILE = "file:"
_SHARE = "the picture share"
_MAY_HEAL = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EHOSTDOWN}
)
"""A share or this process is in trouble, not the file."""
_CLIENT_ERRORS = ("botocore.exceptions:BotoCoreError", "aiohttp:ClientError")
"""What s3fs lets through of the libraries below it: no credentials, no endpoint, a broken connection."""
_EXTRAS = MappingProxyType({"s3": "atmwatch[s3]"})


class Store(Protocol):
    """As much of an fsspec file system as is needed: ``path`` is ``bucket/key``."""

    def open(self, path: str, mode: str) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What may be fetched, and at what cost.

    ``roots`` are URI prefixes (``https://pictures.bank.example/atm/``, ``s3://bucket/atm``, ``file:///srv/atm``);
    what lies below none of them is refused, so a scheme without a root is not read at all.  A host that is a name
    must lead to public addresses, unless it is among ``private_hosts``; one that is an IP address, or
    ``localhost``, is taken as it is.  ``total_s`` bounds a fetch with everything in it, ``connect_s`` a connection.
    ``retry_s`` is the pause when something is unavailable; ``at_a_time`` bounds the fetches, hanging ones included.
    ``patience`` is for pictures that fail while others do not.  ``ca_file`` replaces the public certificate
    authorities.  ``store_options`` are fsspec's, by scheme.
    """

    roots: tuple[str, ...] = ()
    private_hosts: frozenset[str] = frozenset()
    limits: ImageLimits = DEFAULT_LIMITS
    total_s: float = 10.0
    connect_s: float = 3.0
    max_redirects: int = 3
    retry_s: float = 1.0
    at_a_time: int = 32
    patience: Patience = field(default_factory=Patience)
    ca_file: Path | None = None
    store_options: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)


class Fetcher:
    """Fetches the pictures of events.  Safe to use from several threads.

    ``stores`` are ready-made file systems by scheme, ``resolve`` looks names up, ``clock`` is what patience goes by.
    Raises UsageError for a root that is none, a scheme whose library is not installed, or a ``ca_file`` that can't be
    read.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        stores: Mapping[str, Store] | None = None,
        resolve: Resolve = resolve,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._policy = policy
        self._folders = tuple(_folder(root) for root in policy.roots if root.lower().startswith(_FILE))
        self._allowed = AllowList(root for root in policy.roots if not root.lower().startswith(_FILE))
        self._deadline = Deadline(policy.total_s, policy.at_a_time)
        self._trials = Trials(policy.patience, clock)
        self._stores = dict(stores or {})
        for scheme in sorted((self._allowed.schemes & STORES) - self._stores.keys()):
            self._stores[scheme] = _open_store(scheme, policy.store_options.get(scheme, {}))
        self._store_errors: tuple[type[Exception], ...] = (OSError,)
        if self._stores:
            self._store_errors += _installed(_CLIENT_ERRORS)
        self._http: HttpStore | None = None
        if self._allowed.schemes & PORTS.keys():
            self._http = HttpStore(self._allowed, _http_options(policy, resolve))

    def fetch(self, event: AtmEvent) -> bytes:
        """The encoded picture of an event: its own ``image``, else what its ``image_uri`` points at.

        A remote picture needs the event's ``sha256``; where there is one, it is checked.  Raises BadRecord:
        OUTSIDE_ROOT, CHECKSUM_MISMATCH, TOO_MANY_BYTES, EMPTY_FILE, UNREADABLE, UNFETCHABLE (failed for too long),
        BAD_RECORD (no claim check, or one without ``sha256``), and for files what ``claim_check.fetch`` raises.
        Raises Unavailable when the store, or the way to it, is what fails.  No text repeats the URI, which may be
        signed.
        """
        if event.image is not None or event.image_uri is None:
            return claim_check.fetch(event, self._policy.limits)
        if event.image_uri.lower().startswith(_FILE):
            if not self._folders:
                raise BadRecord(Reason.OUTSIDE_ROOT, "Pictures are not read from files here.")
            read = partial(self._in_time, _SHARE, partial(self._read_file, event))
            return self._trials.read(event.image_uri, _SHARE, read)
        place = self._allowed.place(event.image_uri)
        if event.sha256 is None:
            raise BadRecord(Reason.BAD_RECORD, "The event names a remote picture without its sha256.")
        what = f"the picture store {place.authority}"
        return self._trials.read(event.image_uri, what, partial(self._read_checked, place, what, event.sha256))

    def _read_checked(self, place: Place, what: str, digest: str) -> bytes:
        data = self._read(place, what)
        if not data:
            raise BadRecord(Reason.EMPTY_FILE, Reason.EMPTY_FILE.sentence)
        if sha256(data).hexdigest() != digest:
            raise BadRecord(Reason.CHECKSUM_MISMATCH, Reason.CHECKSUM_MISMATCH.sentence)
        return data

    def _read(self, place: Place, what: str) -> bytes:
        if self._http is None or place.scheme in STORES:
            return self._in_time(what, partial(self._read_store, place, what))
        request = Request(until=monotonic() + self._policy.total_s)
        return self._in_time(what, partial(self._http.read, place, request), request.abort)

    def _in_time(self, what: str, call: Callable[[], bytes], give_up: Callable[[], None] = lambda: None) -> bytes:
        try:
            return self._deadline.run(call)
        except TimeoutError as error:
            give_up()
            raise Unavailable(what, self._policy.retry_s) from error

    def _read_store(self, place: Place, what: str) -> bytes:
        most = self._policy.limits.max_bytes
        try:
            with self._stores[place.scheme].open(place.host + place.path, "rb") as content:
                data = content.read(most + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise BadRecord(Reason.UNREADABLE, "It can't be read: the store has no such object.") from error
        except PermissionError as error:  # also what S3 says of a missing key to those who must not list
            raise BadRecord(Reason.UNREADABLE, "It can't be read: the store refuses to give it.") from error
        except self._store_errors as error:
            raise Unavailable(what, self._policy.retry_s) from error
        if len(data) > most:
            raise BadRecord(Reason.TOO_MANY_BYTES, f"The picture is larger than {most:,} bytes.")
        return data

    def _read_file(self, event: AtmEvent) -> bytes:
        try:
            return claim_check.fetch(event, self._policy.limits, self._folders)
        except BadRecord as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _MAY_HEAL:
                raise Unavailable(_SHARE, self._policy.retry_s) from error
            raise


def _http_options(policy: FetchPolicy, resolve: Resolve) -> HttpOptions:
    try:
        tls = (
            httpx.create_ssl_context(trust_env=False)
            if policy.ca_file is None
            else ssl.create_default_context(cafile=policy.ca_file)
        )
    except OSError as error:  # ssl's errors are of this class too
        message = f"{policy.ca_file} is no file of certificates: {error.strerror or 'unreadable'}"
        raise UsageError(message) from error
    return HttpOptions(
        max_bytes=policy.limits.max_bytes,
        private_hosts=frozenset(host.lower() for host in policy.private_hosts) | {"localhost"},
        connect_s=policy.connect_s,
        retry_s=policy.retry_s,
        max_redirects=policy.max_redirects,
        tls=tls,
        resolve=resolve,
    )


def _folder(root: str) -> Path:
    try:
        return claim_check.uri_path(root)
    except BadRecord as error:
        message = f"a root of the pictures is no file URI such as file:///srv/pictures: {error.detail}"
        raise UsageError(message) from error


def _open_store(scheme: str, options: Mapping[str, object]) -> Store:
    try:
        store: Store = import_module("fsspec").filesystem(scheme, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme, "fsspec")
        message = f"pictures from {scheme}:// need a library that is not installed: pip install '{extra}'"
        raise UsageError(message) from error
    return store


def _installed(names: tuple[str, ...]) -> tuple[type[Exception], ...]:
    """Those exceptions (``module:class``) whose modules are there."""
    found: list[type[Exception]] = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            found.append(getattr(import_module(module), attribute))
        except ImportError:
            continue
    return tuple(found)
