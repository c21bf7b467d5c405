"""The gateway's application: ``POST /v1/events`` takes an event and answers 202 once the broker has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ingest.cloudevents import JSON_TYPE
from ingest.errors import BadRecord, Unavailable
from ingest.gateway import openapi
from ingest.gateway.config import GatewayConfig
from ingest.gateway.doorway import CODE, REQUEST_ID, Doorway, Observe
from ingest.gateway.events import reader
from ingest.gateway.intake import Done, Intake, Sender, Status
from ingest.gateway.keys import Keys
from ingest.gateway.limits import InFlight, RateLimits
from ingest.gateway.problems import Code, Problem, of_error, response
from ingest.gateway.receive import BodyLimits, receive
from ingest.limits import DEFAULT_LIMITS, ImageLimits
from ingest.records import AtmEvent
from ingest.trace_context import Headers, trace_headers

EVENTS_PATH = "/v1/events"
_TRACE = frozenset({b"traceparent", b"tracestate"})


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gateway works with: who may send, where events go, which scopes there are, how large a picture is."""

    keys: Keys
    sender: Sender
    scopes: Sequence[str] = ("default",)
    limits: ImageLimits = DEFAULT_LIMITS
    observe: Observe = lambda _status, _seconds: None
    now: Callable[[], datetime] = _now


class Receipt(BaseModel):
    """The event is in the stream: by this request, or it was before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: str = Field(description="The event's own, or the one that was derived for it.")
    status: Status


def create_app(config: GatewayConfig, parts: Parts) -> FastAPI:
    """The application.  Everything in it belongs to the event loop that serves it; serve it ``framed``."""
    app = FastAPI(
        title=openapi.TITLE,
        version=openapi.VERSION,
        description=openapi.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if config.openapi else None,
        redirect_slashes=False,
    )
    gate = Gate(config, parts)
    app.post(
        EVENTS_PATH,
        status_code=202,
        response_model=Receipt,
        **openapi.operation(),
    )(gate.post_event)
    app.add_exception_handler(Problem, _refused)
    app.add_exception_handler(HTTPException, _not_here)
    app.add_exception_handler(Exception, _failed)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


def document() -> dict[str, Any]:
    """The OpenAPI document, of a gateway that lets nobody in and sends nowhere."""
    return create_app(GatewayConfig(), Parts(Keys({}), _Nowhere())).openapi()


class _Nowhere:
    def send(self, record: AtmEvent, done: Done, trace: Headers = ()) -> None:  # noqa: ARG002 - the protocol's names
        what = "Kafka"
        raise Unavailable(what)


def framed(app: ASGIApp, parts: Parts) -> ASGIApp:
    """``app`` with request ids, safe headers, measurements and logs around it."""
    return Doorway(app, parts.observe)


class Gate:
    """Takes one event at a time through every check, cheapest first."""

    def __init__(self, config: GatewayConfig, parts: Parts) -> None:
        self._keys = parts.keys
        self._now = parts.now
        self._rates = RateLimits(config.rate_per_s, config.burst)
        self._flight = InFlight(config.max_in_flight, config.max_in_flight_bytes)
        self._limits = BodyLimits(
            config.max_body_bytes, config.max_event_bytes, parts.limits.max_bytes, config.body_timeout_s
        )
        self._reader = reader(parts.scopes, parts.limits)
        self._intake = Intake(parts.sender, config.remembered, config.ack_timeout_s)

    async def post_event(self, request: Request) -> Response:
        """Take an event with its picture, or with the URI and sha256 of one, into the stream.

        Answered once the broker has it for good.  Send it again, with the same id, until it is.
        """
        client = self._keys.client(request.headers.get("authorization"))
        self._rates.take(client.name)
        slot = self._flight.enter()
        try:
            submission = await receive(request, slot, self._limits)
            try:
                event, digest = self._reader.read(submission)
            except BadRecord as error:
                raise of_error(error) from error
            if not client.may_send_for(event.atm_id):
                raise Problem(Code.FORBIDDEN_ATM, "The key's prefixes do not cover the event's ATM.")
            if event.received_at is None:
                event = event.model_copy(update={"received_at": self._now()})
            trace = trace_headers((name.decode(), value) for name, value in request.headers.raw if name in _TRACE)
            status = await self._intake.accept(event, digest, slot, trace)
        finally:
            slot.release()
        receipt = Receipt(event_id=event.event_id, status=status)
        return Response(receipt.model_dump_json(), 202, media_type=JSON_TYPE)


def _answer(request: Request, problem: Problem) -> Response:
    state = request.scope.setdefault("state", {})
    state[CODE] = str(problem.code)
    return response(problem, str(state.get(REQUEST_ID, "")))


async def _refused(request: Request, error: Any) -> Response:
    return _answer(request, error)


async def _not_here(request: Request, error: Any) -> Response:
    found: HTTPException = error
    if found.status_code == Code.METHOD_NOT_ALLOWED.status:
        problem = Problem(Code.METHOD_NOT_ALLOWED, f"Events are sent by POST to {EVENTS_PATH}.", found.headers or {})
    else:
        problem = Problem(Code.NOT_FOUND, f"Events are sent by POST to {EVENTS_PATH}.")
    return _answer(request, problem)


async def _failed(request: Request, _error: Exception) -> Response:
    """The traceback goes to the log, because Starlette raises the error again."""
    return _answer(request, Problem(Code.INTERNAL_ERROR, "Send the event again; the log tells more."))
