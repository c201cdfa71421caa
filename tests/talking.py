"""Raw sound as agents send it, in tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from urllib.parse import urlsplit

import httpx
from fakes import Samples, tone
from servers import Json, Server

RATE = 16_000
L16 = f"audio/L16;rate={RATE}"


def pcm(seconds: float, *, rate: int = RATE, channels: int = 1, order: str = "<") -> bytes:
    return as_pcm(tone(seconds, rate=rate), channels=channels, order=order)


def as_pcm(samples: Samples, *, channels: int = 1, order: str = "<") -> bytes:
    interleaved = (samples * 32767).astype(f"{order}i2").repeat(channels)
    return bytes(interleaved.tobytes())


async def cut(data: bytes, size: int, wait_s: float = 0) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(wait_s)


class Held:
    """A body whose beginning is sent at once, and the rest when it is let go."""

    def __init__(self, beginning: bytes, rest: bytes = b"") -> None:
        self._beginning, self._rest = beginning, rest
        self._is_let_go = asyncio.Event()

    def let_go(self) -> None:
        self._is_let_go.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in cut(self._beginning, 4000, 0.005):  # as it comes over a network
            yield piece
        await self._is_let_go.wait()
        yield self._rest


async def send(
    server: Server,
    session_id: str,
    content: bytes | AsyncIterator[bytes] | Held,
    kind: str = L16,
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> httpx.Response:
    """`POST /audio`."""
    return await server.client.post(
        f"/sessions/{session_id}/audio",
        content=content,
        params=query,
        headers={"Content-Type": kind, **(headers or {})},
    )


async def utterances(server: Server, session_id: str) -> list[Json]:
    answer = await server.client.get(f"/sessions/{session_id}/utterances")
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["utterances"]
    return found


async def until_arriving(server: Server, session_id: str) -> str:
    """Until some sound of an utterance is there; its id."""
    return await _until(server, session_id, lambda its: its["timings_ms"]["decoded"] is not None)


async def until_status(server: Server, session_id: str, status: str) -> str:
    """Until the latest utterance has come to this; its id."""
    return await _until(server, session_id, lambda its: its["status"] == status)


async def _until(server: Server, session_id: str, is_so: Callable[[Json], bool]) -> str:
    found: list[Json] = []

    async def is_there() -> bool:
        found[:] = await utterances(server, session_id)
        return bool(found) and is_so(found[-1])

    await server.until(is_there)
    return str(found[-1]["request_id"])


class Raw:
    """A client that may leave in the middle of a request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def post(cls, server: Server, path: str, kind: str, body: bytes) -> "Raw":
        """The beginning of a chunked upload."""
        address = urlsplit(server.url)
        raw = cls(*await asyncio.open_connection(address.hostname, address.port))
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        raw.writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        async for piece in cut(body, 4000, 0.005):
            await raw.send(piece)
        return raw

    async def send(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    def leave(self) -> None:
        self.writer.close()
