"""Event streams by the thousand, as cheap for who asks as can be: HTTP on bare sockets."""

import asyncio
import json
import resource
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

# No more of a server than these benchmarks need: nobody speaks, and all come from one address.
FLAGS = ("--capacity-fps", "1e9", "--rate-per-address", "0", "--rate-per-key", "0")


def raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def create(client: httpx.AsyncClient, count: int) -> list[str]:
    """Ids of so many new sessions."""
    ids = []
    for _ in range(count):
        answer = await client.post("/sessions/create", json={})
        ids.append(str(answer.raise_for_status().json()["session_id"]))
    return ids


class Subscriber(asyncio.Protocol):
    """One event stream. `heard(data, at_s)` is told every message with data, and when it came."""

    def __init__(self, host: str, session_id: str, heard: Callable[[str, float], None]) -> None:
        self._request = (
            f"GET /sessions/{session_id}/events HTTP/1.1\r\nHost: {host}\r\n"
            "Accept: text/event-stream\r\n\r\n"
        ).encode()
        self._heard = heard
        self._rest = b""
        self.transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def data_received(self, data: bytes) -> None:
        at_s = time.monotonic()
        # Chunked coding puts line ends where ours are never: between messages.
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self._heard(line[6:].decode(), at_s)


async def subscribe(url: str, session_id: str, heard: Callable[[str, float], None]) -> Subscriber:
    """Returns once the stream has begun."""
    place, begun = urlsplit(url), asyncio.Event()

    def first_too(data: str, at_s: float) -> None:
        begun.set()
        heard(data, at_s)

    loop = asyncio.get_running_loop()
    _, subscriber = await loop.create_connection(
        lambda: Subscriber(place.netloc, session_id, first_too),
        place.hostname or "",
        place.port or 80,
    )
    async with asyncio.timeout(30):
        await begun.wait()
    return subscriber


def is_ping(data: str) -> bool:
    return bool(json.loads(data)["event"] == "ping")
