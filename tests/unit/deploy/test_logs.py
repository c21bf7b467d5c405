"""Logs are one JSON object a line, and tell nothing of a face or a card, whoever writes them."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from report_sample import event, sighting

from deploy.logs import HIDDEN, CleanHandler, configure_logging, safe, text, traced
from embedder.records import Box, FaceEmbedding
from ingest.errors import UsageError
from ingest.reasons import Reason

PAN = "4111111111111111"
TOKEN = "tok-9f8e7d6c"  # noqa: S105 - of a card that is not one
VECTOR = np.linspace(-0.1234, 0.9876, 128, dtype="<f4").tobytes()
PIXELS = b"\xff\xd8\xff\xe0" + bytes(range(256))
TRACE = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    assert len([handler for handler in root.handlers if isinstance(handler, CleanHandler)]) == 1
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@contextmanager
def alone() -> Iterator[None]:
    """Without the tests' own capture of logs, which fails where ours must not."""
    root = logging.getLogger()
    others = [handler for handler in root.handlers if not isinstance(handler, CleanHandler)]
    for handler in others:
        root.removeHandler(handler)
    yield
    for handler in others:
        root.addHandler(handler)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(restored: None, stream: io.StringIO) -> Lines:
    configure_logging("DEBUG", stream=stream, role="clusterer")
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def secrets() -> list[object]:
    """Records that hold everything that must not be logged."""
    taken = event(1, card_token=TOKEN, image=PIXELS)
    seen = sighting(taken, 1).model_copy(update={"vector": VECTOR})
    face = FaceEmbedding(
        face_id="e#0",
        event=taken,
        model_id="m",
        vector=VECTOR,
        box=Box(x=0, y=0, width=10, height=10),
        landmarks=((1.5, 2.5),) * 5,
        quality=seen.quality,
    )
    return [taken, seen, face]


def leaks(line: str) -> list[str]:
    numbers = [f"{value:.4f}"[:6] for value in np.frombuffer(VECTOR, "<f4")[5:9]]
    signs = [TOKEN, PAN, "4111 1111", *numbers, "\\xff\\xd8", "\\x10\\x11", "AQIDBAUG"]
    return [sign for sign in signs if sign in line]


def test_a_line_is_an_object_with_time_level_logger_and_role(lines: Lines) -> None:
    structlog.get_logger("atmwatch.worker").info("committed", partition=3, offset=17, seconds=0.5)
    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "committed",
        "level": "info",
        "logger": "atmwatch.worker",
        "role": "clusterer",
        "partition": 3,
        "offset": 17,
        "seconds": 0.5,
    }


def test_libraries_that_use_the_standard_logger_write_the_same_lines(lines: Lines) -> None:
    logging.getLogger("kafka.coordinator").warning("Revoked %s of %d", "atm.faces-0", 3, extra={"generation": 7})
    logging.getLogger("uvicorn.error").error("Started")
    first, second = lines()
    assert (first["event"], first["level"], first["logger"]) == (
        "Revoked atm.faces-0 of 3",
        "warning",
        "kafka.coordinator",
    )
    assert (second["event"], second["role"]) == ("Started", "clusterer")


def test_libraries_that_tell_of_every_request_are_asked_for_warnings(lines: Lines) -> None:
    for name in ("kafka.conn", "httpx", "uvicorn.access"):
        logging.getLogger(name).info("request")
    logging.getLogger("somebody").info("request")
    assert [line["logger"] for line in lines()] == ["somebody"]


def test_warnings_of_python_are_lines_too(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in lines()] == ["py.warnings"]


def test_the_level_is_the_settings(restored: None, stream: io.StringIO) -> None:
    configure_logging("warning", stream=stream)
    structlog.get_logger("a").info("no")
    logging.getLogger("b").info("no")
    structlog.get_logger("a").warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]
    with pytest.raises(UsageError, match="DEBUG"):
        configure_logging("LOUD")


def test_configuring_again_replaces_and_stderr_is_the_default(
    lines: Lines, stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()
    structlog.get_logger("a").info("once")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "once"
    assert stream.getvalue() == ""
    assert sys.stderr is not None


def ways_to_log(secret: object) -> list[Callable[[], object]]:
    own, other = structlog.get_logger("own"), logging.getLogger("other")
    fields = {f"own_{name}" if name == "event" else name: value for name, value in vars(secret).items()}
    return [
        lambda: own.info("seen", record=secret),
        lambda: own.info("seen %s", secret),
        lambda: own.info(secret),
        lambda: own.info(f"seen {secret}"),
        lambda: own.info(f"seen {secret!r}"),
        lambda: own.info("seen", inside={"deep": [{"list": [secret]}]}),
        lambda: own.info("seen", **{str(secret): 1}),
        lambda: own.info("seen", **fields),
        lambda: own.info(str(fields)),
        lambda: other.info(secret),
        lambda: other.info("seen %s", secret),
        lambda: other.info("seen %(record)s", {"record": secret}),
        lambda: other.info("%s", fields),
        lambda: other.info("seen", extra={"record": secret}),
        lambda: other.info("wrong %d", secret),
        lambda: other.info("too many", secret, secret),
        lambda: failing(own.exception, secret),
        lambda: failing(other.exception, secret),
    ]


def failing(log: Callable[[str], object], secret: object) -> None:
    try:
        message = f"can't take {secret!r} {PAN}"
        raise ValueError(message)
    except ValueError:
        log("failed")


@pytest.mark.parametrize("which", range(3))
def test_no_way_of_logging_a_record_tells_of_a_face_or_a_card(lines: Lines, stream: io.StringIO, which: int) -> None:
    for number, way in enumerate(ways_to_log(secrets()[which])):
        stream.seek(0)
        stream.truncate()
        with alone():
            way()
        assert len(lines()) == 1, number
        assert leaks(stream.getvalue()) == [], number


@pytest.mark.parametrize("which", range(3))
def test_a_records_own_json_tells_nothing_either(lines: Lines, stream: io.StringIO, which: int) -> None:
    record: Any = secrets()[which]
    structlog.get_logger("own").info("sent " + record.to_json())
    logging.getLogger("other").info("sent %s", record.to_json())
    logging.getLogger("other").info("sent %s", record.to_json().encode())
    fields = json.loads(record.to_json())
    structlog.get_logger("own").info("sent", own=fields.pop("event", None), **fields)
    assert leaks(stream.getvalue()) == []
    assert json.loads(record.to_json()).get("vector", "-" * 99)[:60] not in stream.getvalue()


def test_an_exception_is_a_text_with_its_traceback(lines: Lines) -> None:
    failing(structlog.get_logger("own").exception, "x")
    failing(logging.getLogger("other").exception, "x")
    for line in lines():
        assert "Traceback" in line["exception"]
        assert "ValueError: can't take 'x' [card number]" in line["exception"]
        assert "exc_info" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vector", [0.1, 0.2]),
        ("card_token", TOKEN),
        ("Card-Token", TOKEN),
        ("template", "x"),
        ("image", b"x"),
        ("body", "x"),
        ("authorization", "Bearer x"),
        ("password", "x"),
    ],
)
def test_fields_that_hold_contents_are_hidden(name: str, value: object) -> None:
    assert safe({name: value}) == {name: HIDDEN}
    assert safe({"headers": {name: value}})["headers"] == {name: HIDDEN}
    assert HIDDEN in text(f"got {name}={value!r} from there")


def test_values_are_shown_as_json_can_hold_them() -> None:
    moment = datetime(2024, 3, 4, tzinfo=UTC)
    shown = safe(
        {
            "none": None,
            "yes": True,
            "count": 7,
            "long": int(PAN),
            "share": 0.5,
            "nan": float("nan"),
            "bytes": PIXELS,
            "array": np.zeros(128),
            "reason": Reason.NO_FACE,
            "at": moment,
            "amount": Decimal("7.50"),
            "path": Path("/data") / PAN,
            "error": ValueError("broken"),
            "floats": [0.5] * 8,
            "many": list(range(31)),
            "two": {1},
        }
    )
    assert json.loads(json.dumps(shown, allow_nan=False)) == {
        "none": None,
        "yes": True,
        "count": 7,
        "long": "[card number]",
        "share": 0.5,
        "nan": "nan",
        "bytes": f"[{len(PIXELS)} bytes]",
        "array": "[ndarray]",
        "reason": "no_face",
        "at": "2024-03-04 00:00:00+00:00",
        "amount": "7.50",
        "path": "/data/[card number]",
        "error": "ValueError: broken",
        "floats": "[8 values]",
        "many": "[31 values]",
        "two": [1],
    }


def test_lines_are_bounded(lines: Lines, stream: io.StringIO) -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(50):
        inner["more"] = {}
        inner = inner["more"]
    wide = {f"k{i}": "v" for i in range(1000)}
    words = "word " * 100_000
    structlog.get_logger("own").info(words, deep=deep, wide=wide, words=words)
    (line,) = lines()
    assert len(stream.getvalue()) < 10_000
    assert line["event"].startswith("word word")
    assert " [...] " in line["event"]
    assert line["wide"]["..."] == "970 more"


@given(st.text(max_size=30), st.integers(0, 3000), st.text(max_size=30))
def test_a_card_number_is_found_wherever_it_stands(before: str, filling: int, after: str) -> None:
    long = f"{before} {'x ' * filling}{PAN} {'y ' * filling}{after}"
    assert PAN[:9] not in text(long).replace(before, "").replace(after, "")


def test_a_line_that_cannot_be_written_tells_nothing(lines: Lines, stream: io.StringIO, capsys: Any) -> None:
    with alone():
        logging.getLogger("other").info("%d faces", secrets()[0])
    assert [line["event"] for line in lines()] == ["a log line could not be written"]
    stream.close()
    logging.getLogger("other").info("nobody reads this")
    assert capsys.readouterr().err == ""


def test_other_handlers_get_the_record_as_it_came(lines: Lines) -> None:
    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    kept: list[logging.LogRecord] = []
    logging.getLogger().addHandler(Keeping())
    marker = object()
    logging.getLogger("other").info("%s", marker)
    assert kept[0].args == (marker,)
    assert lines()[0]["event"] == "[object]"


def test_a_trace_is_in_every_line_of_its_context(lines: Lines) -> None:
    own, other = structlog.get_logger("own"), logging.getLogger("other")
    with traced(TRACE):
        own.info("in")
        other.info("in")
    own.info("out")
    with traced((("traceparent", b"nonsense"),)):
        own.info("none")
    for line in lines()[:2]:
        assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert line["span_id"] == "b7ad6b7169203331"
    assert all("trace_id" not in line for line in lines()[2:])
