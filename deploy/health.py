"""What an operator's machinery asks a role: do you live, are you ready, what are your numbers.

``/livez`` is 200 while the main loop beats its heart, ``/readyz`` while nothing stands in the way of work, and both
are 503 with reasons otherwise; ``/metrics`` is Prometheus text, or OpenMetrics for those who accept it.  The page of
a role that restores its state for minutes: it lives, and is not ready.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Lock, Thread
from time import monotonic
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ingest.errors import UsageError

STARTING = "starting"
"""The reason that stands in the way until it is taken away with all others."""

MAX_REASONS = 20
MAX_REASON = 200


class Health:
    """Whether this process lives and is ready.  Safe to use from several threads.

    It begins alive and not ready.  It is dead once nobody has called ``heartbeat`` for ``patience_s`` seconds:
    call it in every round of the main loop, and in long steps such as a restore.
    """

    def __init__(self, patience_s: float = 30.0, clock: Callable[[], float] = monotonic) -> None:
        self._patience = patience_s
        self._clock = clock
        self._lock = Lock()
        self._beat = clock()
        self._reasons: dict[str, None] = {STARTING: None}

    def heartbeat(self) -> None:
        """The main loop is at work."""
        with self._lock:
            self._beat = self._clock()

    def ready(self, reason: str | None = None) -> None:
        """``reason`` does not stand in the way any more; without one, nothing does."""
        with self._lock:
            if reason is None:
                self._reasons.clear()
            else:
                self._reasons.pop(reason[:MAX_REASON], None)

    def not_ready(self, reason: str) -> None:
        """``reason`` stands in the way: restoring, a dependency's name.  It is public: no content of records."""
        with self._lock:
            if len(self._reasons) < MAX_REASONS:
                self._reasons[reason[:MAX_REASON]] = None

    @property
    def idle_s(self) -> float:
        """Seconds since the last heartbeat."""
        with self._lock:
            return max(self._clock() - self._beat, 0.0)

    @property
    def alive(self) -> bool:
        """Whether the heart has beaten lately."""
        return self.idle_s <= self._patience

    @property
    def reasons(self) -> list[str]:
        """What stands in the way of being ready."""
        with self._lock:
            return list(self._reasons)


@dataclass(frozen=True, slots=True)
class HealthOptions:
    """Where to listen; loopback unless told otherwise, port 0 for any.

    At most ``most`` requests are served at a time: a further one takes the place of the oldest.  ``timeout_s``
    bounds each wait for a client.
    """

    host: str = "127.0.0.1"
    port: int = 0
    most: int = 8
    timeout_s: float = 5.0


class HealthServer:
    """Serves ``health`` and ``registry`` from threads of its own until ``close``.  Raises ``UsageError``."""

    def __init__(self, health: Health, registry: CollectorRegistry, options: HealthOptions | None = None) -> None:
        options = options or HealthOptions()
        try:
            self._server = _Server(health, registry, options)
        except (OSError, OverflowError) as error:
            message = f"can't listen on {options.host} port {options.port}: {error}"
            raise UsageError(message) from error
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening, and let go of the requests at hand; again does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(HTTPServer):
    """One thread a request, as ``ThreadingMixIn`` has, but with a bound on their number."""

    request_queue_size = 64

    def __init__(self, health: Health, registry: CollectorRegistry, options: HealthOptions) -> None:
        self.health = health
        self.registry = registry
        self.options = options
        self._lock = Lock()
        self._open: dict[socket.socket, Thread] = {}
        self.address_family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        super().__init__((options.host, options.port), _Handler)

    def server_bind(self) -> None:
        """Bind, without a look-up of the host's name, which can take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve ``request`` in a thread of its own."""
        thread = Thread(target=self._serve, args=(request, client_address), name="health-request", daemon=True)
        with self._lock:
            if len(self._open) >= self.options.most:  # a client that dawdles must not keep the probe waiting
                oldest = next(iter(self._open))
                del self._open[oldest]
                _hang_up(oldest)
            self._open[request] = thread
        thread.start()

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            with suppress(OSError, ValueError):  # the client went away, or was sent away
                self.finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and end the requests at hand."""
        super().server_close()
        with self._lock:
            waiting = dict(self._open)
        for request in waiting:
            _hang_up(request)
        for thread in waiting.values():
            thread.join(self.options.timeout_s)


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; HTTP/1.0, so that the connection ends with it."""

    server: _Server
    server_version = "atmwatch"
    sys_version = ""

    def setup(self) -> None:
        """Bound each wait for the client."""
        super().setup()
        self.connection.settimeout(self.server.options.timeout_s)

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without one."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Tell nothing: probes come every few seconds, and a request's text is a stranger's."""

    def _answer(self, *, with_body: bool) -> None:
        status, kind, body = self._page(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _page(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        health = self.server.health
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            return HTTPStatus.OK, kind, encode(self.server.registry)
        if path == "/livez":
            alive, idle = health.alive, health.idle_s
            reasons = [] if alive else [f"no heartbeat for {idle:.0f} s"]
            return _verdict(reasons, idle_s=round(idle, 3))
        if path == "/readyz":
            reasons = health.reasons
            return _verdict(reasons if health.alive else [*reasons, "no heartbeat"])
        return _json(HTTPStatus.NOT_FOUND, {"status": "not found"})


def _verdict(reasons: list[str], **more: object) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return _json(status, {"status": "failing" if reasons else "ok", "reasons": reasons, **more})


def _json(status: HTTPStatus, content: dict[str, object]) -> tuple[HTTPStatus, str, bytes]:
    return status, "application/json", json.dumps(content).encode() + b"\n"
