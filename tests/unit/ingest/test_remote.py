"""Fetching from outside: bounded in bytes, time and place, whatever the server does."""

from __future__ import annotations

import errno
import io
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ingest import claim_check
from ingest.errors import BadRecord, ErrorAnswer, Unavailable, UsageError
from ingest.http_store import resolve, retry_after
from ingest.limits import ImageLimits
from ingest.patience import Patience
from ingest.reasons import Reason
from ingest.records import AtmEvent
from ingest.remote import Fetcher, FetchPolicy, _installed

PICTURE = b"\xff\xd8\xff" + bytes(range(256)) * 40
LIMIT = 64 * 1024
Answer = Callable[["Handler"], None]

# A certificate of "pictures.test", valid until 2126, with its key: of use to this test alone.
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBoTCCAUegAwIBAgIUZ9kntAbLrzM7v3L4HsTQvmNyPsEwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNcGljdHVyZXMudGVzdDAgFw0yNjExMjIwNjMyNTJaGA8yMTI2
MTAyOTA2MzI1MlowGDEWMBQGA1UEAwwNcGljdHVyZXMudGVzdDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABGvV/4aRSrBPm5ykCzgLhfWA09+ki0EjdvZxRNWium88
RpJ21Fiy/D6vGzygU09i5rPwWtGQRCI7f6ymGcYdrOajbTBrMB0GA1UdDgQWBBT5
E82j4TnSAUjtVvETt6L/9Q2kxDAfBgNVHSMEGDAWgBT5E82j4TnSAUjtVvETt6L/
9Q2kxDAPBgNVHRMBAf8EBTADAQH/MBgGA1UdEQQRMA+CDXBpY3R1cmVzLnRlc3Qw
CgYIKoZIzj0EAwIDSAAwRQIgO4Z6mug55PwB5c1rE3/1J9zhsDCd52+0VXMM3wiJ
PYUCIQCeDuit98OIQM+aC7USuwZDf2mX4exvafBeGphDSHUe3Q==
-----END CERTIFICATE-----
"""
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgi+aCwt0TQwC9SY05
8O06xS7Ju7cbeE8xz99YZ+jc/dmhRANCAARr1f+GkUqwT5ucpAs4C4X1gNPfpItB
I3b2cUTVorpvPEaSdtRYsvw+rxs8oFNPYuaz8FrRkEQiO3+sphnGHazm
-----END PRIVATE KEY-----
"""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.answers[self.path.partition("?")[0]](self)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Answers paths with functions of a handler, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {"/pics/1.jpg": body(PICTURE)}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what these tests are about."""

    @property
    def port(self) -> int:
        return self.server_address[1]

    def uri(self, path: str = "/pics/1.jpg", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def body(content: bytes, status: int = 200, **headers: object) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def raw(*pieces: bytes, pause_s: float = 0.0) -> Answer:
    def answer(handler: Handler) -> None:
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            if handler.server.over.wait(pause_s):
                return

    return answer


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as running:
        yield running


def event(uri: str | None, content: bytes = PICTURE, **fields: Any) -> AtmEvent:
    given = {"event_id": "e", "atm_id": "a", "captured_at": datetime(2024, 5, 1, tzinfo=UTC), "image_uri": uri}
    return AtmEvent(**{**given, "sha256": sha256(content).hexdigest(), **fields})


def policy(*roots: str, **options: Any) -> FetchPolicy:
    return FetchPolicy(roots=roots, **{"limits": ImageLimits(max_bytes=LIMIT), "total_s": 5.0, **options})


def fetcher(server: Server, **options: Any) -> Fetcher:
    return Fetcher(policy(server.uri("/pics/"), **options))


def refused(source: Fetcher, of: AtmEvent) -> Reason:
    with pytest.raises(BadRecord) as caught:
        source.fetch(of)
    assert "/pics/" not in str(caught.value)
    return caught.value.reason


def unavailable(source: Fetcher, of: AtmEvent) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        source.fetch(of)
    assert "/pics/" not in str(caught.value)
    return caught.value


def test_a_picture_in_the_event_needs_no_fetching() -> None:
    nowhere = Fetcher(policy())
    assert nowhere.fetch(event(None, image=PICTURE)) == PICTURE
    assert refused(nowhere, event(None, image=b"x" * (LIMIT + 1))) is Reason.TOO_MANY_BYTES
    assert refused(nowhere, event(None, image=b"other")) is Reason.CHECKSUM_MISMATCH
    assert refused(nowhere, event(None)) is Reason.BAD_RECORD


def test_a_picture_is_fetched_as_its_uri_is_written(server: Server) -> None:
    path = "/pics/a%20b/~x!$&'()*+,;=:@.jpg"
    server.answers[path] = body(PICTURE)
    assert fetcher(server).fetch(event(server.uri(path + "?sig=a%2Fb&t=1"))) == PICTURE
    asked, headers = server.asked[0]
    assert asked == path + "?sig=a%2Fb&t=1"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["Accept-Encoding"] == "identity"


def test_the_checksum_is_needed_and_checked(server: Server) -> None:
    source = fetcher(server)
    assert refused(source, event(server.uri(), b"another")) is Reason.CHECKSUM_MISMATCH
    assert len(server.asked) == 1
    assert refused(source, event(server.uri(), sha256=None)) is Reason.BAD_RECORD
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:{port}/secret",
        "http://127.0.0.1:{port}/pics/../secret",
        "http://localhost:{port}/pics/1.jpg",
        "https://127.0.0.1:{port}/pics/1.jpg",
        "ftp://127.0.0.1:{port}/pics/1.jpg",
        "file:///etc/hostname",
        "1.jpg",
    ],
)
def test_nothing_but_the_roots_is_asked(server: Server, uri: str) -> None:
    assert refused(fetcher(server), event(uri.format(port=server.port))) is Reason.OUTSIDE_ROOT
    assert server.asked == []


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410])
def test_what_is_not_there_is_the_events_fault(server: Server, status: int) -> None:
    server.answers["/pics/1.jpg"] = body(b"", status)
    assert refused(fetcher(server), event(server.uri())) is Reason.UNREADABLE


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_heal_is_asked_for_again(server: Server, status: int) -> None:
    server.answers["/pics/1.jpg"] = body(b"", status, Retry_After=7)
    answered = unavailable(fetcher(server), event(server.uri()))
    assert isinstance(answered, ErrorAnswer)
    assert answered.retry_after == 7
    server.answers["/pics/1.jpg"] = body(b"", status)
    assert unavailable(fetcher(server, retry_s=0.5), event(server.uri())).retry_after == 0.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 2),
        ("30", 30),
        (" 30 ", 30),
        ("0", 2),
        ("86400", 300),
        ("-5", 2),
        ("soon", 2),
        ("9" * 50, 2),
        ("Wed, 01 May 2024 00:01:00 GMT", 60),
        ("Wed, 01 May 2024 00:01:00 -0000", 60),
        ("Wed, 01 May 2023 00:01:00 GMT", 2),
    ],
)
def test_a_servers_pause_is_kept_within_bounds(value: str | None, seconds: float) -> None:
    assert retry_after(value, datetime(2024, 5, 1, tzinfo=UTC), 2) == seconds


def test_an_empty_body_is_no_picture(server: Server) -> None:
    server.answers["/pics/1.jpg"] = body(b"")
    assert refused(fetcher(server), event(server.uri())) is Reason.EMPTY_FILE


def test_a_body_that_says_it_is_huge_is_not_read(server: Server) -> None:
    server.answers["/pics/1.jpg"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x", pause_s=60)
    assert refused(fetcher(server), event(server.uri())) is Reason.TOO_MANY_BYTES


def test_a_body_that_does_not_end_is_cut(server: Server) -> None:
    sent = 0

    def endless(handler: Handler) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not handler.server.over.is_set():
            sent += handler.wfile.write(b"x" * 65536)

    server.answers["/pics/1.jpg"] = endless
    assert refused(fetcher(server), event(server.uri())) is Reason.TOO_MANY_BYTES
    server.over.wait(0.2)
    assert sent < 64 * 1024 * 1024


def test_a_body_just_within_the_limit_is_taken(server: Server) -> None:
    server.answers["/pics/1.jpg"] = body(b"x" * LIMIT)
    assert len(fetcher(server).fetch(event(server.uri(), b"x" * LIMIT))) == LIMIT
    server.answers["/pics/1.jpg"] = body(b"x" * (LIMIT + 1))
    assert refused(fetcher(server), event(server.uri(), b"x" * (LIMIT + 1))) is Reason.TOO_MANY_BYTES


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n", PICTURE),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n"),
        raw(b"not HTTP at all\r\n\r\n"),
        raw(b""),
    ],
    ids=["short", "chunks without end", "another protocol", "nothing"],
)
def test_a_broken_answer_may_heal(server: Server, answer: Answer) -> None:
    server.answers["/pics/1.jpg"] = answer
    unavailable(fetcher(server), event(server.uri()))


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", *[b"x"] * 500, pause_s=0.05),
        raw(b"HTTP/1.1 200 OK\r\n", *[b"X-Drip: 1\r\n"] * 500, pause_s=0.05),
        raw(b"", b"", pause_s=30),
    ],
    ids=["body", "headers", "silence"],
)
def test_a_slow_server_costs_so_much_time_and_one_thread(server: Server, answer: Answer) -> None:
    server.answers["/pics/1.jpg"] = answer
    source = fetcher(server, total_s=0.4, at_a_time=1)
    start = time.monotonic()
    unavailable(source, event(server.uri()))
    assert time.monotonic() - start < 4
    server.answers["/pics/1.jpg"] = body(PICTURE)
    assert fetched_soon(source, event(server.uri())) == PICTURE  # the late thread has ended, though nobody waited


def fetched_soon(source: Fetcher, of: AtmEvent) -> bytes:
    for _ in range(10):
        try:
            return source.fetch(of)
        except Unavailable:
            continue
    raise AssertionError


def test_what_hangs_takes_no_more_threads_than_allowed(server: Server) -> None:
    source = Fetcher(policy("s3://b/"), stores={"s3": Stuck(server.over)})
    source._deadline.seconds = 0.05
    source._deadline._slots = threading.BoundedSemaphore(2)
    before = threading.active_count()
    for _ in range(5):
        unavailable(source, event("s3://b/1.jpg"))
    assert threading.active_count() <= before + 2


class Stuck:
    def __init__(self, over: threading.Event) -> None:
        self.over = over

    def open(self, *_: str) -> BinaryIO:
        self.over.wait(30)
        return io.BytesIO(PICTURE)


def test_nobody_there_may_heal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    source = Fetcher(policy(f"http://127.0.0.1:{port}/"))
    found = unavailable(source, event(f"http://127.0.0.1:{port}/1.jpg"))
    assert found.what == f"the picture store 127.0.0.1:{port}"
    assert not isinstance(found, ErrorAnswer)


def test_one_picture_that_fails_for_ever_is_given_up_and_a_store_that_is_down_is_not(server: Server) -> None:
    now = [0.0]
    source = Fetcher(policy(server.uri("/pics/"), patience=Patience(2, 60.0, 600.0)), clock=lambda: now[0])
    bad = event(server.uri("/pics/bad.jpg"))
    server.answers["/pics/bad.jpg"] = body(b"", 500)
    assert source.fetch(event(server.uri())) == PICTURE
    unavailable(source, bad)
    now[0] = 61.0
    server.answers["/pics/1.jpg"] = body(b"", 503)
    unavailable(source, bad)
    server.answers["/pics/1.jpg"] = body(b"not what it was")
    unavailable(source, bad)
    server.answers["/pics/1.jpg"] = body(PICTURE)
    assert source.fetch(event(server.uri())) == PICTURE
    assert refused(source, bad) is Reason.UNFETCHABLE
    server.answers["/pics/bad.jpg"] = body(PICTURE)
    assert source.fetch(bad) == PICTURE


def test_a_file_of_a_share_that_fails_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.jpg").write_bytes(PICTURE)
    source = Fetcher(policy(tmp_path.as_uri(), patience=Patience(2, 0.0, 600.0)))
    assert source.fetch(event((tmp_path / "1.jpg").as_uri())) == PICTURE
    read = claim_check.fetch

    def fetch(of: AtmEvent, *given: Any) -> bytes:
        if str(of.image_uri).endswith("bad.jpg"):
            raise claim_check.unreadable(OSError(errno.EIO, "Input/output error")) from OSError(errno.EIO, "")
        return read(of, *given)

    monkeypatch.setattr(claim_check, "fetch", fetch)
    bad = event((tmp_path / "bad.jpg").as_uri())
    unavailable(source, bad)
    assert refused(source, bad) is Reason.UNFETCHABLE


def test_redirects_below_the_roots_are_followed(server: Server) -> None:
    server.answers["/pics/old"] = body(b"", 301, Location="1.jpg?a=b")
    assert fetcher(server).fetch(event(server.uri("/pics/old"))) == PICTURE
    assert [path for path, _ in server.asked] == ["/pics/old", "/pics/1.jpg?a=b"]


@pytest.mark.parametrize(
    "location",
    [
        "/secret",
        "../secret",
        "http://169.254.169.254/latest/",
        "http://localhost:{port}/pics/1.jpg",
        "file:///etc/passwd",
        "//evil.example/pics/1.jpg",
        "s3://b/pics/1.jpg",
        "http://127.0.0.1:{port}/pics/%2e%2e/secret",
        "ü",
    ],
)
def test_redirects_elsewhere_are_refused(server: Server, location: str) -> None:
    server.answers["/pics/old"] = body(b"", 302, Location=location.format(port=server.port).encode().decode("latin-1"))
    source = Fetcher(policy(server.uri("/pics/"), "s3://b/"), stores={"s3": MemoryFileSystem()})
    assert refused(source, event(server.uri("/pics/old"))) is Reason.OUTSIDE_ROOT
    assert len(server.asked) == 1


def test_redirects_come_to_an_end(server: Server) -> None:
    server.answers["/pics/loop"] = body(b"", 307, Location="loop")
    assert refused(fetcher(server), event(server.uri("/pics/loop"))) is Reason.UNREADABLE
    assert len(server.asked) == 4
    server.answers["/pics/nowhere"] = body(b"", 302)
    assert refused(fetcher(server), event(server.uri("/pics/nowhere"))) is Reason.UNREADABLE


def test_a_name_that_leads_inside_is_refused_unless_that_is_meant(server: Server) -> None:
    uri = server.uri(host="pictures.test")
    options = policy(server.uri("/", host="pictures.test"))
    inside = Fetcher(options, resolve=lambda *_: ["93.184.215.14", "127.0.0.1"])
    assert refused(inside, event(uri)) is Reason.OUTSIDE_ROOT
    assert server.asked == []
    meant = replace(options, private_hosts=frozenset({"Pictures.test"}))
    assert Fetcher(meant, resolve=lambda *_: ["127.0.0.1"]).fetch(event(uri)) == PICTURE
    assert server.asked[0][1]["Host"] == f"pictures.test:{server.port}"
    metadata = Fetcher(meant, resolve=lambda *_: ["169.254.169.254"])
    assert refused(metadata, event(uri)) is Reason.OUTSIDE_ROOT


def test_the_connection_goes_to_the_address_that_was_checked(server: Server) -> None:
    """A name that leads elsewhere when asked again (DNS rebinding) is not asked again."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    options = policy(server.uri("/", host="pictures.test"), private_hosts=frozenset({"pictures.test"}))
    source = Fetcher(options, resolve=lambda *_: answers.pop(0))
    assert source.fetch(event(server.uri(host="pictures.test"))) == PICTURE
    assert len(answers) == 1
    server.answers["/again"] = body(b"", 302, Location="/pics/1.jpg")
    assert refused(source, event(server.uri("/again", host="pictures.test"))) is Reason.OUTSIDE_ROOT


def test_other_addresses_of_a_name_are_tried(server: Server) -> None:
    options = policy(server.uri("/", host="pictures.test"), private_hosts=frozenset({"pictures.test"}))
    source = Fetcher(options, resolve=lambda *_: ["127.0.0.77", "::1", "127.0.0.1"])
    assert source.fetch(event(server.uri(host="pictures.test"))) == PICTURE
    unavailable(Fetcher(options, resolve=lambda *_: []), event(server.uri(host="pictures.test")))


def test_a_name_that_is_not_known_may_heal(server: Server) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    unavailable(Fetcher(policy("https://pictures.test/"), resolve=unknown), event("https://pictures.test/1.jpg"))


def test_localhost_is_itself(server: Server) -> None:
    source = Fetcher(policy(server.uri("/", host="localhost")), resolve=lambda *_: ["127.0.0.1"])
    assert source.fetch(event(server.uri(host="localhost"))) == PICTURE
    assert "127.0.0.1" in resolve("127.0.0.1", 80)


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Server]:
    files = {"cert.pem": CERTIFICATE, "key.pem": KEY}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = Server()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as running:
        yield running


def test_tls_proves_the_name_though_the_connection_goes_to_an_address(tls_server: Server, tmp_path: Path) -> None:
    names = frozenset({"pictures.test", "other.test"})
    roots = [f"https://{name}:{tls_server.port}/" for name in sorted(names)]
    options = policy(*roots, private_hosts=names, ca_file=tmp_path / "cert.pem")
    source = Fetcher(options, resolve=lambda *_: ["127.0.0.1"])
    assert source.fetch(event(roots[1] + "pics/1.jpg")) == PICTURE
    unavailable(source, event(roots[0] + "pics/1.jpg"))
    strangers = Fetcher(replace(options, ca_file=None), resolve=lambda *_: ["127.0.0.1"])
    unavailable(strangers, event(roots[1] + "pics/1.jpg"))
    assert len(tls_server.asked) == 1


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_are_none_are_a_wrong_setting(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(UsageError, match=r"ca\.pem"):
        Fetcher(policy("https://a/", ca_file=tmp_path / "ca.pem"))


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    store = MemoryFileSystem()
    store.store.clear()
    store.pipe_file("/pictures/atm/ü 1.jpg", PICTURE)
    store.pipe_file("/pictures/atm/huge.jpg", b"x" * (LIMIT + 1))
    store.pipe_file("/pictures/atm/empty.jpg", b"")
    store.pipe_file("/pictures/other/1.jpg", PICTURE)
    yield store
    store.store.clear()


def test_object_stores(store: MemoryFileSystem) -> None:
    source = Fetcher(policy("s3://pictures/atm"), stores={"s3": store})
    assert source.fetch(event("s3://pictures/atm/%C3%BC%201.jpg")) == PICTURE
    assert refused(source, event("s3://pictures/atm/%C3%BC%201.jpg", b"?")) is Reason.CHECKSUM_MISMATCH
    assert refused(source, event("s3://pictures/atm/huge.jpg")) is Reason.TOO_MANY_BYTES
    assert refused(source, event("s3://pictures/atm/empty.jpg")) is Reason.EMPTY_FILE
    assert refused(source, event("s3://pictures/atm/none.jpg")) is Reason.UNREADABLE
    assert refused(source, event("s3://pictures/other/1.jpg")) is Reason.OUTSIDE_ROOT
    assert refused(source, event("memory://pictures/atm/1.jpg")) is Reason.OUTSIDE_ROOT


def test_stores_are_opened_by_their_scheme(store: MemoryFileSystem) -> None:
    assert Fetcher(policy("memory://pictures/")).fetch(event("memory://pictures/other/1.jpg")) == PICTURE


def test_a_store_whose_library_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match=r"pip install 'atmwatch\[s3\]'"):
        Fetcher(policy("s3://pictures/"))


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def open(self, *_: str) -> BinaryIO:
        raise self.error


@pytest.mark.parametrize("error", [PermissionError("pictures"), FileNotFoundError("pictures"), IsADirectoryError("x")])
def test_what_a_store_refuses_is_the_events_fault(error: OSError) -> None:
    source = Fetcher(policy("s3://pictures/"), stores={"s3": Failing(error)})
    assert refused(source, event("s3://pictures/1.jpg")) is Reason.UNREADABLE


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(errno.EBUSY, "slow down")])
def test_a_store_in_trouble_may_heal(error: OSError) -> None:
    source = Fetcher(policy("s3://pictures/", retry_s=3), stores={"s3": Failing(error)})
    assert unavailable(source, event("s3://pictures/1.jpg")).retry_after == 3


def test_errors_of_libraries_below_are_known_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _installed(("json:JSONDecodeError", "no_such_library:Error"))[0].__name__ == "JSONDecodeError"
    monkeypatch.setattr("ingest.remote._CLIENT_ERRORS", ("json:JSONDecodeError",))
    from json import JSONDecodeError

    source = Fetcher(policy("s3://pictures/"), stores={"s3": Failing(JSONDecodeError("", "", 0))})
    unavailable(source, event("s3://pictures/1.jpg"))


def test_a_defect_is_not_hidden() -> None:
    source = Fetcher(policy("s3://pictures/"), stores={"s3": Failing(ZeroDivisionError())})
    with pytest.raises(ZeroDivisionError):
        source.fetch(event("s3://pictures/1.jpg"))


def test_files_are_read_below_configured_folders_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "pics" / "ü.jpg", tmp_path / "secret.jpg"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_bytes(PICTURE)
    (tmp_path / "pics" / "link.jpg").symlink_to(outside)
    source = Fetcher(policy(claim_check.file_uri(inside.parent)))
    assert source.fetch(event(claim_check.file_uri(inside), sha256=None)) == PICTURE
    assert source.fetch(event(claim_check.file_uri(inside).replace("file:", "FILE:"))) == PICTURE
    assert refused(source, event(claim_check.file_uri(inside), b"?")) is Reason.CHECKSUM_MISMATCH
    for path in (outside, tmp_path / "pics" / ".." / "secret.jpg", tmp_path / "pics" / "link.jpg"):
        assert refused(source, event(f"file://{path}")) is Reason.OUTSIDE_ROOT
    assert refused(source, event(claim_check.file_uri(tmp_path / "pics" / "none.jpg"))) is Reason.UNREADABLE
    assert refused(source, event("https://a/1.jpg")) is Reason.OUTSIDE_ROOT

    def stale(*_: object) -> int:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "open", stale)
    assert unavailable(source, event(claim_check.file_uri(inside))).what == "the picture share"


@pytest.mark.parametrize("root", ["file://elsewhere/pics", "file:pics", "FILE:"])
def test_a_root_that_is_no_folder_is_a_wrong_setting(root: str) -> None:
    with pytest.raises(UsageError, match="file URI"):
        Fetcher(policy(root))
