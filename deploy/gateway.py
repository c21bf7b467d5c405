"""The gateway role: an HTTP server in a thread of its own, and the publisher that it sends with."""

from __future__ import annotations

import socket
from threading import Event, Lock, Thread

import uvicorn
from starlette.types import ASGIApp

from deploy.metrics import Dependency
from deploy.roles import keep_at
from deploy.routes import publisher_route
from deploy.settings import Settings
from deploy.watch import Watch
from ingest.errors import Unavailable, UsageError
from ingest.gateway.app import Parts, create_app, framed
from ingest.gateway.config import GatewayConfig
from ingest.gateway.intake import Done, Sender
from ingest.gateway.keys import load_keys
from ingest.kafka_bus.config import EVENTS
from ingest.kafka_bus.publisher import Publisher, PublisherOptions
from ingest.kafka_bus.topics import check_topics
from ingest.records import AtmEvent
from ingest.trace_context import Headers

TURN_S = 0.2
HTTP_GRACE_S = 4
PUBLISHER_GRACE_S = 2.0
"""How long requests at hand, and then records under way, may take once the role is told to stop: together less than
the role has."""


def run_gateway(settings: Settings, watch: Watch, stop: Event) -> None:
    """Take events over HTTP until ``stop`` is set; any number of these share the work.

    While Kafka is away it listens on and answers 503.  Raises ``UsageError`` for wrong keys, a port that is taken, and
    topics or rights that are not there.
    """
    config = settings.gateway
    keys = load_keys(config.keys_file, allow_anonymous=config.allow_anonymous)
    relay = Relay()
    parts = Parts(keys, relay, settings.kafka.scopes, settings.limits, watch.answered)
    server = HttpServer(framed(create_app(config, parts), parts), config)

    def loop() -> None:
        check_topics(settings.kafka, (EVENTS,))
        # Tried for a little longer than a request waits: what comes too late for one is known to the next.
        options = PublisherOptions(delivery_timeout_s=config.ack_timeout_s + 5)
        publisher = Publisher(settings.kafka, publisher_route, (EVENTS,), options)
        relay.open(publisher)
        up = True
        try:
            watch.ready()
            while not stop.wait(TURN_S):
                watch.turning()
                if publisher.failing is up:
                    up = not up
                    watch.depends(Dependency.KAFKA, up)
                server.check()
                publisher.check()
            server.close()  # before the publisher, which the requests at hand still need
        finally:
            relay.shut()
            publisher.close(PUBLISHER_GRACE_S)

    try:
        keep_at(loop, watch, stop)
    finally:
        server.close()


class Relay:
    """Passes events on to the publisher that there is.  Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sender: Sender | None = None

    def open(self, sender: Sender) -> None:
        """From now on ``sender`` takes the events."""
        with self._lock:
            self._sender = sender

    def shut(self) -> None:
        """From now on nobody takes them."""
        with self._lock:
            self._sender = None

    def send(self, record: AtmEvent, done: Done, trace: Headers = ()) -> None:
        """Raises ``Unavailable`` while there is no publisher."""
        with self._lock:
            sender = self._sender
        if sender is None:
            what = "Kafka"
            raise Unavailable(what)
        sender.send(record, done, trace)


class HttpServer:
    """Serves ``app`` from a thread of its own until ``close``.  Raises ``UsageError`` when it can't listen."""

    def __init__(self, app: ASGIApp, config: GatewayConfig) -> None:
        tls = [str(path) for path in (config.tls_certfile, config.tls_keyfile) if path is not None]
        self._socket = _listening(config.host, config.port)
        self.port = int(self._socket.getsockname()[1])
        prepared = uvicorn.Config(
            app,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=config.max_connections,
            timeout_graceful_shutdown=HTTP_GRACE_S,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )
        try:
            prepared.load()
        except OSError as error:  # ssl.SSLError too
            self._socket.close()
            message = f"the gateway's TLS files can't be used: {error.strerror or type(error).__name__}"
            raise UsageError(message) from error
        self._server = uvicorn.Server(prepared)
        self._thread = Thread(target=self._server.run, args=([self._socket],), name="gateway-http", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises ``RuntimeError`` when the server has ended by itself."""
        if not self._thread.is_alive():
            message = "the gateway's HTTP server has ended"
            raise RuntimeError(message)

    def close(self) -> None:
        """Stop listening, and answer the requests at hand; again does nothing."""
        self._server.should_exit = True
        self._thread.join(HTTP_GRACE_S + 2)
        self._socket.close()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer takes 40 ms more.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(1024)
    except OSError as error:
        found.close()
        message = f"the gateway can't listen on {host} port {port}: {error.strerror or error}"
        raise UsageError(message) from error
    return found
