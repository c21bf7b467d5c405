"""Logs: one JSON object a line on stderr, whoever writes it, and nothing of a face or a card in it.

Names of things may be logged (event, ATM, alert, rule, partition); contents may not.  What is logged is cleaned in
one place, at the end, so that it holds for libraries as well: an object shows as the name of its class, bytes as
their number, and text loses what looks like a card number, a template, or a field that would hold one.
"""

from __future__ import annotations

import copy
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any, TextIO
from uuid import UUID

import structlog
from structlog.stdlib import BoundLogger, LoggerFactory, ProcessorFormatter
from structlog.types import EventDict, WrappedLogger

from deploy.complaints import Complaints
from ingest.errors import UsageError
from ingest.records import mask_card_numbers
from ingest.trace_context import trace_headers

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SECRET = frozenset(
    {
        *("vector", "template", "templates", "embedding", "landmarks", "image", "pixels", "body"),
        *("card", "card_token", "cardtoken", "ce_cardtoken", "pan"),
        *("password", "sasl_password", "secret", "secrets", "token", "authorization", "cookie", "webhook_signature"),
    }
)
"""Names of fields whose values are never logged."""

HIDDEN = "[hidden]"
MAX_TEXT = 2000
MAX_TRACE = 8000
MAX_CLEANED = 65_536
MAX_ITEMS = 30
MAX_DEPTH = 4
QUIET = ("kafka", "httpx", "httpcore", "uvicorn.access", "asyncio", "fsspec", "urllib3")
"""Libraries that tell of every request: they are asked for warnings alone."""
COMPLAINING = "kafka"
"""The library whose warnings are told by their beginning and end, unless the level is DEBUG."""

_NAMES = "|".join(sorted(SECRET, key=len, reverse=True))
_FIELD = re.compile(
    rf"(?i)\b({_NAMES})(\\?['\"]?\s*[=:]\s*)(b?'(?:[^'\\]|\\.)*'?|b?\"(?:[^\"\\]|\\.)*\"?|\[[^\]]*\]?|[^\s,;)}}\]]+)"
)
_BYTES = re.compile(r"\bb(?:'(?:[^'\\]|\\.){8,}'?|\"(?:[^\"\\]|\\.){8,}\"?)")
_CODED = re.compile(r"[A-Za-z0-9+/_-]{120,}={0,2}")
_NUMBERS = re.compile(r"(?:-?[0-9]+\.[0-9]*(?:e[+-]?[0-9]+)?[\s,]+){7,}-?[0-9]+\.[0-9]*(?:e[+-]?[0-9]+)?")


def configure_logging(level: str = "INFO", *, stream: TextIO | None = None, **always: str) -> None:
    """Send every log of this process to ``stream`` (stderr), from ``level`` on; ``always`` is in each line.

    Calling it again replaces what it did before.  Call it in the main thread, before others start.  Raises
    ``UsageError`` for a level that is none.
    """
    if level.upper() not in LEVELS:
        message = f"the log level must be one of {', '.join(LEVELS)}"
        raise UsageError(message)
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, CleanHandler)]:
        root.removeHandler(old)
    handler = CleanHandler(stream or sys.stderr, always)
    if number > logging.DEBUG:
        handler.addFilter(Complaints(COMPLAINING, _tell, message_of))
    root.addHandler(handler)
    root.setLevel(number)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # it brings handlers of its own
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *_NAMED,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=LoggerFactory(),
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=False,
    )


def _tell(level: int, event: str, fields: Mapping[str, object]) -> None:
    structlog.get_logger("atmwatch").log(level, event, **fields)


@contextmanager
def traced(headers: Iterable[tuple[str, bytes]]) -> Iterator[None]:
    """Put the trace and span id of a valid ``traceparent`` among ``headers`` into every line of this context."""
    parents = [value.decode("ascii") for name, value in trace_headers(headers) if name == "traceparent"]
    if not parents:
        yield
        return
    _, trace_id, span_id, _ = parents[0].split("-")
    with structlog.contextvars.bound_contextvars(trace_id=trace_id, span_id=span_id):
        yield


class CleanHandler(logging.StreamHandler[TextIO]):
    """Writes cleaned lines; one that can't be written is replaced by one that says so, and tells nothing else."""

    def __init__(self, stream: TextIO, always: Mapping[str, str]) -> None:
        super().__init__(stream)
        self._always = dict(always)
        self.setFormatter(
            ProcessorFormatter(
                foreign_pre_chain=[structlog.contextvars.merge_contextvars, *_NAMED],
                processors=[
                    ProcessorFormatter.remove_processors_meta,
                    structlog.processors.StackInfoRenderer(),
                    structlog.processors.format_exc_info,
                    self._add_always,
                    clean,
                    structlog.processors.JSONRenderer(),
                ],
            )
        )

    def format(self, record: logging.LogRecord) -> str:
        """The line, made of a copy: other handlers get the record as it came."""
        record = copy.copy(record)
        if not isinstance(record.msg, str | dict):
            record.msg = safe(record.msg)
        if isinstance(record.args, Mapping):
            record.args = {name: safe(value, name) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(safe(value) for value in record.args)
        return super().format(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Python's own would print the record's arguments."""
        line = {"event": "a log line could not be written", "level": "error", "logger": safe(record.name)}
        try:
            self.stream.write(json.dumps(line) + "\n")
        except (OSError, ValueError):  # stderr is gone: there is nobody to tell
            return

    def _add_always(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**self._always, **event}


def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that takes contents out of a line."""
    args = event.pop("positional_args", ())
    if args and isinstance(event.get("event"), str):
        cleaned = tuple(safe(value) for value in args)
        try:
            event["event"] %= cleaned
        except (TypeError, ValueError):
            event["event"] = f"{event['event']} {cleaned}"
    return {
        text(str(name), 200): text(value, MAX_TRACE) if name in ("exception", "stack") else safe(value, name)
        for name, value in event.items()
    }


def message_of(record: logging.LogRecord) -> str:
    """What a record says, made of cleaned arguments."""
    args = record.args if isinstance(record.args, tuple) else ()
    try:
        return text(str(record.msg) % tuple(safe(value) for value in args))
    except (TypeError, ValueError):
        return text(record.msg)


def safe(value: Any, name: object = "", depth: int = 0) -> Any:
    """``value`` as something JSON can hold, without contents; ``name`` is the field's."""
    if value is None or isinstance(value, bool):
        return value
    if str(name).casefold().replace("-", "_") in SECRET:
        return HIDDEN
    if depth < MAX_DEPTH and isinstance(value, Mapping | list | tuple | set | frozenset):
        return _inside(value, name, depth + 1)
    return _alone(value)


def _alone(value: Any) -> int | float | str:
    shown: int | float | str
    match value:
        case Enum():
            shown = text(value.value)
        case int() if abs(value) < 10**12:  # a longer one may be a card number
            shown = int(value)
        case float() if isfinite(value):
            shown = float(value)
        case bytes() | bytearray() | memoryview():
            shown = f"[{len(value)} bytes]"
        case BaseException():
            shown = text(f"{type(value).__name__}: {value}")
        case str() | int() | float() | datetime() | date() | UUID() | PurePath() | Decimal():
            shown = text(value)
        case _:
            shown = f"[{type(value).__name__}]"
    return shown


def text(value: object, most: int = MAX_TEXT) -> str:
    """``value`` as text, without card numbers, templates and the values of fields that may hold them.

    The middle of a long one is left out: the end of a traceback is what it is about.
    """
    found = str(value)
    if len(found) <= MAX_CLEANED:
        found = _cleaned(found)
    else:  # what is cut here is cut again below, so that nothing half cut stays
        found = _cleaned(found[: MAX_CLEANED // 2]) + _cleaned(found[-MAX_CLEANED // 2 :])
    return found if len(found) <= most else f"{found[: most // 2]} [...] {found[-most // 2 :]}"


def _cleaned(found: str) -> str:
    found = _FIELD.sub(rf"\1\2{HIDDEN}", found)
    for pattern, shown in ((_BYTES, "[bytes]"), (_CODED, "[data]"), (_NUMBERS, "[numbers]")):
        found = pattern.sub(shown, found)
    return mask_card_numbers(found)


def _inside(value: Any, name: object, depth: int) -> Any:
    if isinstance(value, Mapping):
        items = list(value.items())[:MAX_ITEMS]
        shown: MutableMapping[str, Any] = {text(str(key), 200): safe(item, key, depth) for key, item in items}
        if len(value) > MAX_ITEMS:
            shown["..."] = f"{len(value) - MAX_ITEMS} more"
        return shown
    if len(value) > MAX_ITEMS or (len(value) > 7 and all(isinstance(item, float) for item in value)):
        return f"[{len(value)} values]"
    return [safe(item, name, depth) for item in value]


_NAMED = (
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
