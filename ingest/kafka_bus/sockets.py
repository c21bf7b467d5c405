"""Sockets that are closed when a connection does not come about.

kafka-python leaves a socket whose connect failed, or whose client was closed meanwhile, to the garbage collector; in
an outage that is one for each attempt.  Its registry of ``proxy_url`` schemes is where another way to connect goes.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from kafka.net.inet import KafkaNetSocket

DIRECT = "direct://"
"""The ``proxy_url`` by which a client connects as without one, and leaves nothing behind."""


class DirectSocket(KafkaNetSocket):  # type: ignore[misc]
    """Connects without a proxy.  Owned by the network thread of one client."""

    SCHEMES = ("direct",)

    async def connect(
        self, net: Any, addrinfo: Any, socket_options: Iterable[Any] = (), timeout_at: float | None = None
    ) -> socket.socket:
        """A connected, non-blocking socket.  Closes it on any error, and when nobody waits for it any more."""
        family, kind, protocol, _, address = addrinfo
        opened: socket.socket = self.socket(family, kind, protocol)
        try:
            opened.setblocking(False)
            for option in socket_options:
                opened.setsockopt(*option)
            await self.sock_connect(net, opened, address, timeout_at=timeout_at)
        except BaseException:
            opened.close()
            raise
        return opened
