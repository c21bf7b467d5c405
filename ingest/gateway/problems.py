"""What the gateway answers when it can't take an event: problem details with stable codes (RFC 9457).

A code is a ``Reason`` where the event is at fault, and otherwise one of ``Code``, whose members are never renamed.
No text of a problem repeats content of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import ceil
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ingest.errors import AtmwatchError, BadRecord, Unavailable
from ingest.reasons import Reason

PROBLEM_TYPE = "application/problem+json"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Code(StrEnum):
    """Why a request was refused that holds no faulty event; the status and the sentence that go with it."""

    MALFORMED_REQUEST = "malformed_request", 400, "The request can't be read."
    UNAUTHENTICATED = "unauthenticated", 401, "A valid API key is needed."
    FORBIDDEN_ATM = "forbidden_atm", 403, "This key may not send for this ATM."
    NOT_FOUND = "not_found", 404, "There is nothing here."
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "The method is not allowed here."
    SLOW_BODY = "slow_body", 408, "The body did not come in time."
    EVENT_ID_CONFLICT = "event_id_conflict", 409, "Another event has this id."
    BODY_TOO_LARGE = "body_too_large", 413, "The body is larger than the limit."
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "The body's type is not supported."
    RATE_LIMITED = "rate_limited", 429, "The client sends too many requests."
    INTERNAL_ERROR = "internal_error", 500, "The gateway failed."
    OVERLOADED = "overloaded", 503, "Too much is under way."
    BROKER_UNAVAILABLE = "broker_unavailable", 503, "The event was not acknowledged."

    status: int
    sentence: str

    def __new__(cls, code: str, status: int = 500, sentence: str = "") -> Code:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status = status
        member.sentence = sentence
        return member


STATUS: Mapping[Reason, int] = MappingProxyType(
    {
        Reason.TOO_MANY_BYTES: Code.BODY_TOO_LARGE.status,
        Reason.NOT_AN_IMAGE: Code.UNSUPPORTED_MEDIA_TYPE.status,
    }
)
"""The status of a faulty event where it is not 422."""


class ProblemDetails(BaseModel):
    """The body of every answer that is no 2xx."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(description="urn:atmwatch:problem: and the code.")
    title: str
    status: int
    code: str = Field(description="Stable: a reason code, or a code of the gateway.")
    detail: str = Field(description="One sentence for a person, without content of the request.")
    request_id: str


class Problem(Exception):
    """A request that is refused; ``detail`` is one sentence.  Answered by the application."""

    def __init__(self, code: Code | Reason, detail: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status = code.status if isinstance(code, Code) else STATUS.get(code, 422)
        self.detail = detail
        self.headers = headers

    @classmethod
    def busy(cls, code: Code, detail: str, retry_after_s: float) -> Problem:
        """One that heals: it says when to try again."""
        return cls(code, detail, {"Retry-After": str(max(1, ceil(retry_after_s)))})


def of_error(error: AtmwatchError) -> Problem:
    """The problem that an error of ours is to the client: the event's fault, or the broker's."""
    if isinstance(error, BadRecord):
        return Problem(error.reason, error.detail)
    pause = error.retry_after if isinstance(error, Unavailable) else 1.0
    return Problem.busy(Code.BROKER_UNAVAILABLE, "The broker did not acknowledge; send the event again.", pause)


def response(problem: Problem, request_id: str) -> Response:
    """The answer to the client."""
    details = ProblemDetails(
        type=f"urn:atmwatch:problem:{problem.code}",
        title=problem.code.sentence,
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        request_id=request_id,
    )
    return Response(details.model_dump_json(), problem.status, dict(problem.headers), PROBLEM_TYPE)
