"""Alerts to a bank's own systems by HTTP: CloudEvents in JSON, signed, until the receiver has them.

Sources: CloudEvents 1.0.2 JSON format and HTTP binding (structured mode); Standard Webhooks for the signature
(``alerts.signature``) and for what an answer means: 2xx taken; 429, 408 and 5xx later; anything else never.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from random import SystemRandom

import httpx
from pydantic_core import to_json

from alerts.records import Alert
from alerts.signature import Secret, signed
from alerts.sinks import Sink
from ingest.cloudevents import JSON_TYPE, STRUCTURED_TYPE, record_attributes
from ingest.errors import Unavailable, UsageError

_LATER = frozenset({408, 425, 429})
_log = logging.getLogger("atmwatch.webhook")


class Outcome(StrEnum):
    """What came of one try to deliver."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where alerts go, and for how long they are tried.

    ``url`` must be https, but for a loopback address.  ``ca_file`` holds the authorities to trust in place of
    certifi's; ``proxy`` is an http(s) proxy: the environment's are not used, nor its .netrc.  Times are in
    seconds: ``timeout_s`` for each of connecting, sending and reading, ``first_pause_s`` and ``longest_pause_s``
    between tries, of which there are at most ``attempts`` before the sink says that the receiver is unavailable.
    """

    url: str
    ca_file: Path | None = None
    proxy: str | None = None
    timeout_s: float = 5.0
    attempts: int = 4
    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0
    max_response: int = 65_536


class WebhookSink:
    """Posts each alert to one URL.  Owned by one thread.

    At least once: an alert whose answer got lost comes again, with the same ``webhook-id`` (its ``alert_id``).  A
    receiver that refuses an alert for good (a redirect, or 4xx) is not asked again: the alert goes to ``refused``,
    and to the log by its id, and does not stand in the way of the next.  ``secrets`` sign, each of them;
    ``on_outcome`` hears of every try; ``wait`` sleeps, and may return early when the process is to end.  Raises
    ``UsageError`` for options that can't work.
    """

    def __init__(
        self,
        options: WebhookOptions,
        secrets: Sequence[Secret],
        *,
        refused: Sink | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
        wait: Callable[[float], object] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not secrets:
            message = "a webhook needs a secret to sign with"
            raise UsageError(message)
        self._options = options
        self._url = _checked(options.url)
        self._secrets = tuple(secrets)
        self._refused = refused
        self._on_outcome = on_outcome
        self._wait = wait
        self._jitter = SystemRandom()
        self._client = httpx.Client(
            verify=_trust(options.ca_file),
            proxy=_proxy(options.proxy),
            timeout=options.timeout_s,
            follow_redirects=False,  # a redirect could lead the alert anywhere
            trust_env=False,
            limits=httpx.Limits(max_connections=1),
            transport=transport,
        )

    def deliver(self, alert: Alert) -> None:
        body = cloud_event(alert)
        pause = self._options.first_pause_s
        for attempt in range(1, self._options.attempts + 1):
            asked = self._post(alert.alert_id, body)
            if asked is Outcome.DELIVERED:
                self._tell(asked)
                return
            if asked is Outcome.REFUSED:
                if self._refused:
                    self._refused.deliver(alert)
                self._tell(asked)
                return
            least = asked if isinstance(asked, float) else 0.0
            if attempt == self._options.attempts or least > self._options.longest_pause_s:
                self._tell(Outcome.UNAVAILABLE)
                what = "the webhook's receiver"
                raise Unavailable(what, retry_after=max(least, pause))
            self._tell(Outcome.RETRIED)
            # Full jitter over the upper half, so that senders which failed together do not come back together.
            self._wait(max(least, pause * self._jitter.uniform(0.5, 1.0)))
            pause = min(2 * pause, self._options.longest_pause_s)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _post(self, alert_id: str, body: bytes) -> Outcome | float | None:
        """What came of one try; the seconds to wait at least, or None, when it is worth another."""
        headers = {
            "content-type": f"{STRUCTURED_TYPE}; charset=utf-8",
            "user-agent": "atmwatch",
            **signed(alert_id, int(time.time()), body, self._secrets),
        }
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                status, retry_after = response.status_code, response.headers.get("retry-after")
                with suppress(httpx.TransportError):  # what it answered is known
                    self._skim(response)
        except httpx.TransportError as error:
            _log.warning("alert %s: the webhook's receiver can't be reached: %s", alert_id, type(error).__name__)
            return None
        if 200 <= status < 300:
            return Outcome.DELIVERED
        if status in _LATER or status >= 500:
            _log.warning("alert %s: the webhook's receiver answers %d", alert_id, status)
            return _seconds(retry_after)
        _log.error("alert %s: the webhook's receiver refuses it with %d", alert_id, status)
        return Outcome.REFUSED

    def _skim(self, response: httpx.Response) -> None:
        """Read a short answer, so that the connection can be used again; a long one is left unread."""
        left = self._options.max_response
        deadline = time.monotonic() + self._options.timeout_s
        for piece in response.iter_raw():
            left -= len(piece)
            if left < 0 or time.monotonic() > deadline:
                break

    def _tell(self, outcome: Outcome) -> None:
        if self._on_outcome:
            self._on_outcome(outcome)


def cloud_event(alert: Alert) -> bytes:
    """``alert`` as a CloudEvent of type ``com.atmwatch.alert.v1`` in structured JSON; its id is the alert's."""
    data = alert.to_json().encode()
    head = to_json(record_attributes(alert, data) | {"datacontenttype": JSON_TYPE})
    return head.removesuffix(b"}") + b',"data":' + data + b"}"


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header asks for (RFC 9110, 10.2.3): seconds or a date; at most an hour, None if nothing."""
    if retry_after is None or len(retry_after) > 64:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), 3600.0)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), 3600.0)


def _checked(url: str) -> httpx.URL:
    message = "the webhook's URL must be https://host/path, without user or password (http for loopback alone)"
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UsageError(message) from error
    safe = parsed.scheme == "https" or (parsed.scheme == "http" and _is_loopback(parsed.host))
    if not safe or not parsed.host or parsed.userinfo:
        raise UsageError(message)
    return parsed


def _proxy(url: str | None) -> httpx.Proxy | None:
    try:
        return None if url is None else httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL) as error:  # its text may repeat a password
        message = "the webhook's proxy must be http://host:port or https://host:port"
        raise UsageError(message) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # an SSLError is one
        message = f"{ca_file}: no certificates can be read from it"
        raise UsageError(message) from error
