"""The gateway's OpenAPI document: FastAPI's own, with what its endpoint reads as a stream."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ingest import cloudevents
from ingest.gateway.problems import PROBLEM_TYPE, Code, ProblemDetails
from ingest.gateway.receive import EVENT_PART, IMAGE_PART, MULTIPART_TYPE
from ingest.reasons import Reason
from ingest.records import AtmEvent

TITLE = "atmwatch gateway"
VERSION = "1.0.0"
DESCRIPTION = """Events of ATM cameras over HTTP, for terminals that can't speak Kafka.

An event may be sent as often as one likes: it is counted once by its `event_id`. Without an id of its own it gets one \
from its ATM, its time and its picture. Send it again, unchanged, after a 429, a 503, a 408, a broken connection or no \
answer; not after any other refusal.
"""
_PICTURES = ("image/jpeg", "image/png", "image/webp")
_REFS = "#/components/schemas/{model}"
_IMAGE = {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP; also BMP, TIFF and GIF."}
REFUSED: dict[int, tuple[Code | Reason, ...]] = {
    400: (Code.MALFORMED_REQUEST,),
    401: (Code.UNAUTHENTICATED,),
    403: (Code.FORBIDDEN_ATM,),
    408: (Code.SLOW_BODY,),
    409: (Code.EVENT_ID_CONFLICT,),
    413: (Code.BODY_TOO_LARGE, Reason.TOO_MANY_BYTES),
    415: (Code.UNSUPPORTED_MEDIA_TYPE, Reason.NOT_AN_IMAGE),
    422: (
        Reason.BAD_RECORD,
        Reason.EMPTY_FILE,
        Reason.CHECKSUM_MISMATCH,
        Reason.CAPTURED_AT_MISSING,
        Reason.CAPTURED_AT_NAIVE,
        Reason.CAPTURED_AT_IN_FUTURE,
        Reason.RAW_CARD_NUMBER,
        Reason.UNKNOWN_SCOPE,
        Reason.CASH_SLOT_CAMERA,
    ),
    429: (Code.RATE_LIMITED,),
    500: (Code.INTERNAL_ERROR,),
    503: (Code.BROKER_UNAVAILABLE, Code.OVERLOADED),
}
"""The codes of each status that ``POST /v1/events`` answers with."""


def operation() -> dict[str, Any]:
    """What FastAPI is told of ``POST /v1/events``."""
    return {
        "operation_id": "postEvent",
        "summary": "Send an event",
        "tags": ["events"],
        "response_description": "The broker has the event for good.",
        "responses": {status: _refusal(status) for status in REFUSED},
        "openapi_extra": {
            "security": [{"apiKey": []}],
            "parameters": [*_tracing(), *_attributes()],
            "requestBody": {"required": True, "content": _content()},
        },
    }


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of ``app``, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = made.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas.update(_schema_of(AtmEvent))
        schemas.update(_schema_of(ProblemDetails))
        schemas["AtmEvent"]["required"].remove("event_id")  # it may be derived
        del schemas["AtmEvent"]["properties"]["image"]  # it comes beside the JSON, never in it
        schemas.pop("HTTPValidationError", None)  # FastAPI's, for parameters that it would check itself
        schemas.pop("ValidationError", None)
        components["securitySchemes"] = {
            "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, as `Authorization: Bearer`."}
        }
        app.openapi_schema = made
    return app.openapi_schema


def _schema_of(model: type[AtmEvent] | type[ProblemDetails]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REFS)
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REFS.format(model=name)}


def _content() -> dict[str, Any]:
    form = {
        "type": "object",
        "properties": {EVENT_PART: _ref("AtmEvent"), IMAGE_PART: _IMAGE},
        "required": [EVENT_PART, IMAGE_PART],
        "additionalProperties": False,
    }
    encoding = {EVENT_PART: {"contentType": cloudevents.JSON_TYPE}, IMAGE_PART: {"contentType": ", ".join(_PICTURES)}}
    claim = {"allOf": [_ref("AtmEvent"), {"type": "object", "required": ["image_uri", "sha256"]}]}
    envelope = {
        "type": "object",
        "properties": {
            "specversion": {"const": cloudevents.SPECVERSION},
            "id": {"type": "string"},
            "source": {"type": "string"},
            "type": {"const": cloudevents.kind_of(AtmEvent).ce_type},
            "data": _ref("AtmEvent"),
        },
        "required": ["specversion", "id", "source", "type", "data"],
    }
    return {
        MULTIPART_TYPE: {"schema": form, "encoding": encoding},
        cloudevents.JSON_TYPE: {"schema": claim},
        cloudevents.STRUCTURED_TYPE: {"schema": envelope},
        **{media: {"schema": _IMAGE} for media in _PICTURES},
    }


def _refusal(status: int) -> dict[str, Any]:
    codes = REFUSED[status]
    named = "; ".join(f"`{code}`: {code.sentence}" for code in codes)
    headers: dict[str, Any] = {}
    if status in (429, 503):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
    if status == Code.UNAUTHENTICATED.status:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    content = {PROBLEM_TYPE: {"schema": _ref("ProblemDetails")}}
    return {"description": named, "content": content, **({"headers": headers} if headers else {})}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    shape = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": shape}


def _tracing() -> list[dict[str, Any]]:
    sane = "An id of the request, for the log; made if it is not there or not sane."
    return [
        _header("X-Request-ID", sane, pattern="^[A-Za-z0-9._-]{1,64}$"),
        _header("traceparent", "W3C trace context; carried into the stream."),
        _header("tracestate", "W3C trace context; carried into the stream."),
    ]


def _attributes() -> list[dict[str, Any]]:
    """CloudEvents' attributes, which are required when the body is the picture itself."""
    required = {
        "specversion": "CloudEvents version, with a picture as the body; so are the other ce- headers.",
        "id": "The event's id.",
        "source": "/atms/ and the ATM's id.",
        "type": cloudevents.kind_of(AtmEvent).ce_type,
        "time": "When the picture was taken, RFC 3339.",
        "subject": "The ATM's id.",
    }
    named = [_header(f"ce-{name}", text) for name, text in required.items()]
    named += [_header(f"ce-{name}", f"The event's {field}.") for field, name in cloudevents.EXTENSIONS.items()]
    return [*named, *(_header(f"ce-{name}", "Where the ATM stands, in degrees.") for name in ("lat", "lon"))]
