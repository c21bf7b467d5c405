"""Around the application: a request id, safe headers, a measurement and a log line for every request."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from secrets import token_hex
from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.records import holds_card_number

REQUEST_ID, CODE = "request_id", "problem_code"
"""Where a request's state has its id, and the code of the problem that it was answered with."""
_HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_FAILED = 500

SAFE_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
)

Observe = Callable[[int, float], None]
"""Told of every answer: its status, and the seconds from the request's head to the end of the answer."""

_log = structlog.get_logger("atmwatch.gateway")


class Doorway:
    """An ASGI application around ``app``, so that even its failures are answered with a request id.

    ``X-Request-ID`` is the client's if it is sane, else a new one; it is in the answer, in every log line of the
    request, and in the request's state.  Belongs to the event loop.
    """

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe
        self._mine = token_hex(6)
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        request_id = self._request_id(scope)
        scope.setdefault("state", {})[REQUEST_ID] = request_id
        status = _FAILED

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *SAFE_HEADERS, (_HEADER, request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(**{REQUEST_ID: request_id}):
            try:
                await self._app(scope, receive, framed)
            finally:
                seconds = perf_counter() - began
                self._observe(status, seconds)
                if status >= 400:
                    _log.info("refused", status=status, code=scope["state"].get(CODE), seconds=round(seconds, 4))

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == _HEADER and _SANE.fullmatch(value):
                found: str = value.decode("ascii")
                if not holds_card_number(found):
                    return found
        return f"{self._mine}-{next(self._numbers):x}"
