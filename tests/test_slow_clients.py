"""Clients that stop reading: their connections end, and cost bounded memory until then."""

import asyncio
import logging
import socket
import struct
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from fakes import NumberRenderer, tone, wav
from servers import Begin, Server

from musetalk_stream.web.sending import SENDING, Sending

_LARGE_BYTES = 32 << 20


class Deaf:
    """Asks for something and does not read what comes; its window is small."""

    def __init__(self, server: Server, path: str) -> None:
        address = urlsplit(server.url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.socket.connect((address.hostname, address.port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())

    def read_all(self) -> int:
        """Bytes that had been sent when the connection ended."""
        self.socket.settimeout(10)
        num_bytes = 0
        try:
            while data := self.socket.recv(1 << 16):
                num_bytes += len(data)
        except ConnectionResetError:
            pass
        finally:
            self.socket.close()
        return num_bytes


async def until_cut_off(server: Server, sending: Sending, count: int) -> None:
    async def is_so() -> bool:
        return sending.cut_off == count and not sending.in_progress

    await server.until(is_so, within_s=20)


async def started(begin: Begin, **settings: object) -> tuple[Server, web.Application]:
    starting = await begin(NumberRenderer(), **settings)
    await starting.readiness.settled()
    app = starting.runner.app
    app[SENDING].patience_s = 0.5
    return starting.server, app


async def test_who_stops_reading_a_file_is_cut_off(begin: Begin) -> None:
    server, app = await started(begin)
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(0.3)))
    url = next(event["url"] for event in heard if event["event"] == "chunk")
    # Larger than all buffers between us and a client.
    (server.chunks_dir / url.removeprefix("/chunks/")).write_bytes(bytes(_LARGE_BYTES))
    deaf = Deaf(server, url)
    await until_cut_off(server, app[SENDING], 1)
    assert 0 < await asyncio.to_thread(deaf.read_all) < _LARGE_BYTES
    assert len((await server.client.get(url)).content) == _LARGE_BYTES, "others get all of it"
    assert app[SENDING].cut_off == 1


async def test_who_stops_reading_events_is_cut_off(begin: Begin) -> None:
    server, app = await started(begin)
    session_id = await server.create()
    deaf = Deaf(server, f"/sessions/{session_id}/events")
    request_id = (await server.upload(session_id, wav(tone(0.3)))).json()["request_id"]
    cues = [{"start": i, "end": i + 1, "text": "x" * 1000} for i in range(55)]
    address = f"/sessions/{session_id}/utterances/{request_id}/captions"
    async with asyncio.timeout(30):
        while not app[SENDING].cut_off:
            answer = await server.client.put(address, json={"cues": cues})
            assert answer.status_code < 300, answer.text
    await asyncio.to_thread(deaf.read_all)

    async def nobody_follows() -> bool:
        document = (await server.client.get(f"/sessions/{session_id}")).json()
        return bool(document["subscribers"] == 0)

    await server.until(nobody_follows)


async def test_who_leaves_within_an_answer_is_no_error(
    begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    server, app = await started(begin)
    app[SENDING].patience_s = 20
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(0.3)))
    url = next(event["url"] for event in heard if event["event"] == "chunk")
    (server.chunks_dir / url.removeprefix("/chunks/")).write_bytes(bytes(_LARGE_BYTES))
    deaf = Deaf(server, url)

    async def is_being_sent() -> bool:
        return app[SENDING].in_progress == 1

    await server.until(is_being_sent)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deaf.socket.close()  # with a reset

    async def is_over() -> bool:
        return not app[SENDING].in_progress

    await server.until(is_over)
    assert (await server.client.get("/healthz")).status_code == 200
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_who_reads_slowly_gets_everything(begin: Begin) -> None:
    server, app = await started(begin)
    session_id = await server.create()
    request_id = (await server.speak(session_id, wav(tone(1.5))))[0]["request_id"]
    address = f"/sessions/{session_id}/utterances/{request_id}.mp4"
    whole = (await server.client.get(address)).content
    read = b""
    async with server.client.stream("GET", address) as answer:
        async for data in answer.aiter_bytes(1 << 14):
            read += data
            await asyncio.sleep(0.01)
    assert read == whole
    assert app[SENDING].cut_off == 0
