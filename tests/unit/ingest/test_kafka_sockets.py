"""A socket is closed whenever its connection does not come about, and is the caller's when it does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError
from kafka.net.inet import KafkaNetSocket, create_connection

from ingest.kafka_bus.sockets import DIRECT, DirectSocket, OwnSocket


class _Waiting:
    """What a network loop gives to wait for: nothing comes until it is driven on."""

    def __await__(self) -> Iterator[None]:
        yield


NET = SimpleNamespace(wait_write=lambda *_, **__: _Waiting())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Every socket that is opened."""
    found: list[socket.socket] = []

    def open_(_: DirectSocket, *kind: int) -> OwnSocket:
        made = OwnSocket(*kind)
        found.append(made)
        return made

    monkeypatch.setattr(DirectSocket, "socket", open_)
    return found


def end(coroutine: Any) -> socket.socket:
    """Drive the coroutine to its end."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def test_the_scheme_names_it() -> None:
    assert type(KafkaNetSocket(DIRECT)) is DirectSocket


def test_a_connected_socket_is_the_callers(opened: list[socket.socket]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        made = end(create_connection(NET, *server.getsockname(), options, proxy_url=DIRECT))
        with closing(made):
            assert opened == [made]
            assert made.getpeername() == server.getsockname()
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not made.getblocking()


def test_a_refused_one_is_closed(opened: list[socket.socket]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = server.getsockname()
    with pytest.raises(KafkaConnectionError):
        end(create_connection(NET, *address, proxy_url=DIRECT))
    assert [sock.fileno() for sock in opened] == [-1]


def test_one_that_nobody_waits_for_any_more_is_closed(
    opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DirectSocket, "connect_ex", lambda *_: errno.EINPROGRESS)
    waiting = create_connection(NET, "127.0.0.1", 9, proxy_url=DIRECT)
    waiting.send(None)
    assert opened[0].fileno() != -1
    waiting.close()
    assert opened[0].fileno() == -1


def test_one_that_is_left_behind_is_closed_without_a_word() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        left = end(create_connection(NET, *server.getsockname(), proxy_url=DIRECT))
        peer, _ = server.accept()
        with closing(peer):
            del left  # warnings are errors, so that a word would be one
            assert peer.recv(1) == b""
