"""A player page as tests see it, sounds to speak, and a network that can be cut."""

import asyncio
import io
import time
import wave
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from playwright.async_api import Page

from benchmarks.browser import holds

RATE = 16_000


def tone(seconds: float, *, lead_s: float = 0.0, hz: float = 441.0) -> bytes:
    """A wav file: `lead_s` of silence, then a tone, `seconds` in all."""
    t = np.arange(round(seconds * RATE)) / RATE
    samples = np.where(t < lead_s, 0.0, 0.5 * np.sin(2 * np.pi * hz * t))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


class PlayerPage:
    """One player in one tab. What it says of itself is `window.musetalkPlayer`."""

    def __init__(self, page: Page, api: httpx.AsyncClient, session: dict[str, Any]) -> None:
        self.page = page
        self.session = session
        self.session_id: str = session["session_id"]
        self.page_errors: list[str] = []
        self.api = api
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))

    async def speak(self, sound: bytes, **query: str) -> str:
        """Upload a sound as soon as the session takes one; the request id."""
        deadline = time.monotonic() + 10
        while True:
            files = {"audio_file": ("speech.wav", sound, "audio/wav")}
            answer = await self.api.post(self.session["stream_url"], params=query, files=files)
            if answer.status_code != 409 or time.monotonic() > deadline:
                break
            # The server counts by the clock, the player by what it has shown.
            await asyncio.sleep(0.1)
        assert answer.status_code == 202, answer.text
        request_id: str = answer.json()["request_id"]
        return request_id

    async def queue(self, sound: bytes) -> str:
        """Upload a sound that waits for its turn; the request id."""
        return await self.speak(sound, on_busy="queue")

    async def interrupt(self) -> dict[str, Any]:
        """The server's answer, which waits for what the player says was heard."""
        answer = await self.api.post(self.session["interrupt_url"], params={"wait": 5})
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    async def cancel(self, request_id: str) -> None:
        answer = await self.api.delete(f"{self.session['utterances_url']}/{request_id}")
        assert answer.status_code == 204, answer.text

    async def utterance(self, request_id: str) -> dict[str, Any]:
        """What the server says of it."""
        answer = await self.api.get(f"{self.session['utterances_url']}/{request_id}")
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    async def until_reported(self, request_id: str, seconds: float) -> None:
        """Until the server says that so much of it was heard."""
        played_ms = None
        async with asyncio.timeout(10):
            while played_ms != pytest.approx(seconds * 1000, abs=60):
                played_ms = (await self.utterance(request_id))["played_ms"]
                await asyncio.sleep(0.05)

    async def delete(self) -> None:
        """Delete the session, as an app does when its chat is closed."""
        answer = await self.api.delete(f"/sessions/{self.session_id}")
        assert answer.status_code == 204

    async def read(self, name: str) -> Any:
        return await self.page.evaluate("(name) => window.musetalkPlayer[name]", name)

    async def until(self, state: str, timeout_s: float = 15) -> None:
        await holds(
            self.page,
            "(state) => window.musetalkPlayer?.state === state",
            arg=state,
            timeout_ms=timeout_s * 1000,
            polling_ms=50,
        )

    async def until_spoken(self, count: int = 1, timeout_s: float = 20) -> None:
        """Until `count` utterances are over and the loop is back."""
        await holds(
            self.page,
            """(count) => window.musetalkPlayer?.counters.utterances >= count
                && window.musetalkPlayer.state === "idle" """,
            arg=count,
            timeout_ms=timeout_s * 1000,
            polling_ms=50,
        )

    async def until_playing(self, seconds: float) -> None:
        """Until speech has been played up to `seconds`."""
        await holds(
            self.page,
            """(seconds) => window.musetalkPlayer?.state === "speaking"
                && window.musetalkPlayer.current_time >= seconds""",
            arg=seconds,
            polling_ms=20,
        )

    async def until_heard(self, request_id: str, seconds: float = 0.01) -> None:
        """Until that utterance has been played up to `seconds`."""
        await holds(
            self.page,
            """([id, seconds]) => window.musetalkPlayer?.state === "speaking"
                && musetalkPlayer.request_id === id && musetalkPlayer.position >= seconds""",
            arg=[request_id, seconds],
            polling_ms=20,
        )

    async def frames(self, request_id: str, fps: float = 25) -> list[int]:
        """The numbers of the speech frames that were painted, as they were painted."""
        return [
            round(frame["media_time"] * fps)
            for frame in await self.read("frames")
            if frame["video"] == "talk" and frame["request_id"] == request_id
        ]

    async def appended(self, request_id: str) -> list[dict[str, Any]]:
        return [entry for entry in await self.read("appends") if entry["request_id"] == request_id]


async def assert_played_once_in_order(
    player: PlayerPage, request_id: str, *, seconds: float, fps: float = 25
) -> None:
    """Every chunk went in once, in order, without a hole, and its frames were painted in order.

    A busy machine without a GPU paints only some of the pictures, the first and the last among
    them or not; how smooth it is when nothing else runs is for the benchmarks.
    """
    appended = await player.appended(request_id)
    assert [entry["index"] for entry in appended] == list(range(len(appended)))
    assert [len(entry["buffered"]) for entry in appended] == [1] * len(appended)
    start, end = appended[-1]["buffered"][0]
    assert start == 0
    assert abs(end - appended[-1]["offset"] - seconds) <= 1 / fps

    frames = await player.frames(request_id, fps)
    assert frames
    assert frames == sorted(set(frames)), "a frame was repeated or out of order"
    await player.until_reported(request_id, seconds)

    counters = await player.read("counters")
    assert counters["jumps"] == counters["skipped"] == counters["recoveries"] == 0


class Proxy:
    """Passes TCP connections through to a server until they are cut."""

    def __init__(self, server_url: str) -> None:
        parts = urlsplit(server_url)
        self._target = (parts.hostname, parts.port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_open = True
        self.url = ""

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cut()
        self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection there is; new ones are passed on while `is_open`."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, upstream_writer}
        for source, sink in ((reader, upstream_writer), (upstream_reader, writer)):
            task = asyncio.create_task(_copy(source, sink), name="proxy-copy")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass  # cut, which is what this is for
    finally:
        sink.close()
