"""How many pictures a second the gateway takes: a process of its own, asked over connections that stay open.

The client speaks HTTP/1.1 in a few lines: a library would be what is measured.  ``cpu_ms_per_image`` tells its share.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic, process_time

import numpy as np
from pydantic import BaseModel, ConfigDict

from deploy.bench_pictures import smaller
from deploy.bench_roles import START_LIMIT_S, TENTHS, RoleProcess, free_port, usage
from deploy.bench_stream import Say, Stream, visits_of
from ingest.cloudevents import SPECVERSION, kind_of
from ingest.errors import AtmwatchError
from ingest.records import AtmEvent

GATEWAY = "gateway"
ACCEPTED = 202
LOST = 0
"""Stands for the status of a request that got no answer."""
PICTURE_BYTES = 30_000
"""Of a picture, at most: those of a 640×480 camera have about so many."""
WARM_UP = 200
"""Requests before those that are timed."""
PATIENCE_S = 30.0
BOUNDARY = "atmwatch-bench-7f1e"
JPEG = "image/jpeg"

Form = Callable[[AtmEvent, bytes], tuple[str, bytes]]


class GatewayBench(BaseModel):
    """``images`` pictures of ``image_bytes`` each, sent over ``connections`` with an API key.

    ``images_per_second`` counts what was answered by 202, which the gateway says once the broker has acknowledged.
    ``request_ms`` is from sending a request to its answer, ``errors`` every other answer by its status, 0 for none.
    ``cpu_ms_per_image`` is processor time of the gateway and of the client that asks it, ``rss_mb`` the gateway's
    resident memory after each tenth of the requests.
    """

    model_config = ConfigDict(frozen=True)

    images: int
    image_bytes: int
    connections: int
    images_per_second: float
    request_ms: dict[str, float]
    errors: dict[int, int]
    cpu_ms_per_image: dict[str, float]
    rss_mb: list[float]


def measure_gateway(
    stream: Stream, pictures: list[AtmEvent], images: int, connections: int, say: Say
) -> dict[str, GatewayBench]:
    """Send ``images`` pictures in each of the two forms that carry one; the reports by the name of the form."""
    key = secrets.token_urlsafe(32)
    keys = stream.folder / "keys"
    keys.write_text(f"bench:{sha256(key.encode()).hexdigest()}\n", "ascii")
    port = free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "KEYS_FILE": str(keys), "RATE_PER_S": "1e6", "BURST": "1000000"}
    say("Starting the gateway")
    with stream.run(GATEWAY, **{f"ATMWATCH_GATEWAY__{name}": value for name, value in settings.items()}) as gateway:
        gateway.wait_ready(START_LIMIT_S)
        client = Client(port, key, smaller(pictures[0].image or b"", PICTURE_BYTES), connections)
        reports = {}
        for name, form in FORMS.items():
            client.send(visits_of(pictures, WARM_UP), form, f"{name}-warm-up")
            say(f"{images:,} requests, {name}")
            reports[name] = _measured(gateway, client, pictures, name, images)
    return reports


def _measured(gateway: RoleProcess, client: Client, pictures: list[AtmEvent], name: str, images: int) -> GatewayBench:
    course: list[float] = []
    step = max(1, images // TENTHS)

    def look(done: int) -> None:
        if done % step == 0:
            course.append(round(usage(gateway.process.pid)[1], 1))

    before, own, start = usage(gateway.process.pid)[0], process_time(), monotonic()
    outcome = client.send(visits_of(pictures, images), FORMS[name], name, look)
    seconds, own = monotonic() - start, process_time() - own
    spent = usage(gateway.process.pid)[0] - before
    if not outcome.delays_ms:
        message = f"the gateway accepted nothing: {dict(outcome.errors)}"
        raise AtmwatchError(message)
    return GatewayBench(
        images=images,
        image_bytes=len(client.picture),
        connections=client.connections,
        images_per_second=round(len(outcome.delays_ms) / seconds, 1),
        request_ms={f"p{p}": round(float(np.percentile(outcome.delays_ms, p)), 1) for p in (50, 99)},
        errors=dict(outcome.errors),
        cpu_ms_per_image={GATEWAY: round(1000 * spent / images, 3), "client": round(1000 * own / images, 3)},
        rss_mb=course,
    )


@dataclass(slots=True)
class Outcome:
    """How long each accepted request took, and how many others ended with which status."""

    delays_ms: list[float] = field(default_factory=list)
    errors: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Client:
    """Sends ``picture`` with event after event to the gateway on a port of loopback, one request a connection."""

    port: int
    key: str
    picture: bytes
    connections: int

    def send(
        self, events: Iterator[AtmEvent], form: Form, name: str, answered: Callable[[int], None] = lambda _: None
    ) -> Outcome:
        """Send them all, their ids made those of ``name``; ``answered`` hears how many were."""
        return asyncio.run(self._send(events, form, name, answered))

    async def _send(
        self, events: Iterator[AtmEvent], form: Form, name: str, answered: Callable[[int], None]
    ) -> Outcome:
        outcome, count = Outcome(), 0

        async def connection() -> None:
            nonlocal count
            link = None
            for event in events:  # which all connections share
                named = event.model_copy(update={"event_id": f"{name}-{event.event_id}"})
                request = self._request(*form(named, self.picture))
                start = monotonic()
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        link = link or await asyncio.open_connection("127.0.0.1", self.port)
                        status = await _exchange(*link, request)
                except (OSError, EOFError, TimeoutError):
                    status = LOST
                if status == ACCEPTED:
                    outcome.delays_ms.append(1000 * (monotonic() - start))
                else:
                    outcome.errors[status] += 1
                if status == LOST and link is not None:
                    link[1].close()
                    link = None
                count += 1
                answered(count)
            if link is not None:
                link[1].close()

        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(connection())
        return outcome

    def _request(self, headers: str, body: bytes) -> bytes:
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """The status of the answer, whose body is read as well, so that the connection can go on."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    _, _, length = head.partition("\r\ncontent-length:")
    await reader.readexactly(int(length.partition("\r\n")[0] or 0))
    return int(head.split(" ", 2)[1])


def _binary(event: AtmEvent, picture: bytes) -> tuple[str, bytes]:
    """CloudEvents' HTTP binding, binary mode."""
    headers = {
        "Content-Type": JPEG,
        "ce-specversion": SPECVERSION,
        "ce-type": kind_of(AtmEvent).ce_type,
        "ce-id": event.event_id,
        "ce-source": f"/atms/{event.atm_id}",
        "ce-time": event.captured_at.isoformat(),
    }
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()), picture


def _multipart(event: AtmEvent, picture: bytes) -> tuple[str, bytes]:
    """multipart/form-data (RFC 7578): what a camera's own program sends most easily."""
    said = event.model_dump_json(include={"event_id", "atm_id", "captured_at"}).encode()
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="event"\r\nContent-Type: application/json\r\n\r\n',
        f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
        f"Content-Type: {JPEG}\r\n\r\n",
        f"\r\n--{BOUNDARY}--\r\n",
    )
    first, second, last = (part.encode("ascii") for part in head)
    return f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n", first + said + second + picture + last


FORMS: dict[str, Form] = {"binary": _binary, "multipart": _multipart}
