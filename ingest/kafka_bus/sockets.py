"""Sockets that are closed when nobody needs them any more.

kafka-python leaves a socket whose connect failed to the garbage collector, in an outage one for each attempt; and so
it does with one that had something left to send when its client was closed.  Its registry of ``proxy_url`` schemes is
where another way to connect goes.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from kafka.net.inet import KafkaNetSocket

DIRECT = "direct://"
"""The ``proxy_url`` by which a client connects as without one, and leaves nothing behind."""


class OwnSocket(socket.socket):
    """A socket that is closed with its last reference, and says nothing of it."""

    def __del__(self) -> None:
        self.close()


class DirectSocket(KafkaNetSocket):  # type: ignore[misc]
    """Connects without a proxy.  Owned by the network thread of one client."""

    SCHEMES = ("direct",)

    def socket(self, family: int, sock_type: int, proto: int) -> OwnSocket:
        return OwnSocket(family, sock_type, proto)

    async def connect(
        self, net: Any, addrinfo: Any, socket_options: Iterable[Any] = (), timeout_at: float | None = None
    ) -> OwnSocket:
        """A connected, non-blocking socket.  Closes it on any error, and when nobody waits for it any more."""
        family, kind, protocol, _, address = addrinfo
        opened = self.socket(family, kind, protocol)
        try:
            opened.setblocking(False)
            for option in socket_options:
                opened.setsockopt(*option)
            await self.sock_connect(net, opened, address, timeout_at=timeout_at)
        except BaseException:
            opened.close()
            raise
        return opened
