"""How tests talk to a server: a small client for the contract, and the server as a process."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import httpx_sse
from aiohttp import web

from musetalk_stream.renderers import Renderer
from musetalk_stream.web.context import Readiness

Json = dict[str, Any]

_READY = re.compile(r"is ready: (http://\S+?)/?$")
_ENDINGS = ("complete", "error", "cancelled", "closed")


class Server:
    """A running server, its chunk folder, and the requests that most tests make."""

    def __init__(self, url: str, chunks_dir: Path) -> None:
        self.url = url
        self.chunks_dir = chunks_dir
        self.client = httpx.AsyncClient(base_url=url, timeout=20)

    async def hang_up(self) -> None:
        """Close all connections; new ones are opened as needed."""
        await self.client.aclose()
        self.client = httpx.AsyncClient(base_url=self.url, timeout=20)

    async def create(self, **options: object) -> str:
        """A new session's id."""
        answer = await self.client.post("/sessions/create", json=options)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["session_id"])

    async def upload(self, session_id: str, sound: bytes, **query: object) -> httpx.Response:
        return await self.client.post(
            f"/sessions/{session_id}/stream",
            params={name: str(value) for name, value in query.items()},
            files={"audio_file": ("speech.wav", sound, "audio/wav")},
        )

    @asynccontextmanager
    async def events(
        self, session_id: str, *, last_event_id: int | None = None
    ) -> AsyncIterator["Events"]:
        headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        address = f"/sessions/{session_id}/events"
        async with httpx_sse.aconnect_sse(self.client, "GET", address, headers=headers) as source:
            yield Events(source)

    async def speak(self, session_id: str, sound: bytes, **query: object) -> list[Json]:
        """Upload and follow to the end: the events that a player needs of this utterance (a new
        subscriber is also told of the one before, while that can still be seen)."""
        async with self.events(session_id) as events:
            await events.next()
            answer = await self.upload(session_id, sound, **query)
            assert answer.status_code == 202, answer.text
            request_id = answer.json()["request_id"]
            while (heard := await events.until_end())[-1].get("request_id") != request_id:
                pass
            return [event for event in needed(heard) if event["request_id"] == request_id]

    async def until(self, is_so: Callable[[], Awaitable[bool]], within_s: float = 10) -> None:
        """Ask until something is so; there is nobody to tell us."""
        async with asyncio.timeout(within_s):
            while not await is_so():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def until_ready(self) -> None:
        async def is_so() -> bool:
            return (await self.client.get("/readyz")).status_code == 200

        await self.until(is_so)

    async def chunks(self, events: list[Json]) -> list[bytes]:
        urls = [event["url"] for event in events if event["event"] == "chunk"]
        return [(await self.client.get(url)).raise_for_status().content for url in urls]

    async def state(self, session_id: str) -> str:
        return str((await self.client.get(f"/sessions/{session_id}")).json()["state"])

    async def until_state(self, session_id: str, state: str, within_s: float = 10) -> None:
        async def is_so() -> bool:
            return await self.state(session_id) == state

        await self.until(is_so, within_s)

    def files(self) -> list[str]:
        """Everything in the chunk folder, relative to it."""
        return sorted(str(path.relative_to(self.chunks_dir)) for path in self.chunks_dir.rglob("*"))


def needed(events: list[Json]) -> list[Json]:
    """Those of an utterance that a player can't do without."""
    return [event for event in events if event["event"] in ("started", "chunk", *_ENDINGS)]


class Events:
    """An event stream, read one event at a time; pings are passed over."""

    def __init__(self, source: httpx_sse.EventSource) -> None:
        self.response = source.response
        self._messages = source.aiter_sse()
        self.retry_ms: int | None = None
        self.ids: list[str] = []

    async def next(self, within_s: float = 20) -> Json:
        async with asyncio.timeout(within_s):
            while True:
                message = await anext(self._messages)
                self.retry_ms = self.retry_ms or message.retry
                event: Json = json.loads(message.data)
                if event["event"] != "ping":
                    self.ids.append(message.id)
                    return event

    async def until(self, name: str) -> list[Json]:
        """All events up to the first of that name."""
        seen = [await self.next()]
        while seen[-1]["event"] != name:
            seen.append(await self.next())
        return seen

    async def until_end(self) -> list[Json]:
        seen = [await self.next()]
        while seen[-1]["event"] not in _ENDINGS:
            seen.append(await self.next())
        return seen

    async def rest(self) -> list[Json]:
        """Everything until the server ends the stream."""
        seen = []
        try:
            while True:
                seen.append(await self.next())
        except StopAsyncIteration:
            return seen


class ProcessServer:
    """`python -m musetalk_stream serve`, started as a user does."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, folder: Path) -> None:
        self.process = process
        self.url = url
        self.chunks_dir = folder / "chunks"
        self._log = folder / "log"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Server]:
        server = Server(self.url, self.chunks_dir)
        async with server.client:
            yield server

    @property
    def log(self) -> str:
        return self._log.read_text()

    def num_descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def num_threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit status and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=20)
        return status, time.monotonic() - began


@contextmanager
def launch(folder: Path, avatar_store: Path, *flags: str) -> Iterator["subprocess.Popen[str]"]:
    """A server process that lives inside the block and may not be ready yet, with its log and
    chunks in `folder`."""
    command = [
        *(sys.executable, "-m", "musetalk_stream", "serve", "--port", "0"),
        *("--avatars-dir", str(avatar_store), "--chunks-dir", str(folder / "chunks")),
        *("--state-dir", str(folder / "state")),
        *flags,
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MUSETALK_STREAM_")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def start_process(folder: Path, avatar_store: Path, *flags: str) -> Iterator[ProcessServer]:
    """A server process that is ready, and lives inside the block."""
    with launch(folder, avatar_store, *flags) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = _READY.search(line.strip())
        assert ready, f"no ready line but {line!r}; log: {(folder / 'log').read_text()}"
        yield ProcessServer(process, ready[1], folder)


def free_port() -> int:
    """For a server that is asked before it says where it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def told(port: int, process: "subprocess.Popen[str]") -> Iterator[str]:
    """What `/readyz` says the server is doing, each thing once, until it is ready or ends."""
    last = None
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        while process.poll() is None:
            try:
                answer = client.get("/readyz")
            except httpx.TransportError:  # it does not listen yet, or any more
                time.sleep(0.01)
                continue
            if answer.status_code == 200:
                return
            if (detail := answer.json()["detail"]) != last:
                last = detail
                yield detail


@dataclass(frozen=True)
class Result:
    """What a command has come to."""

    returncode: int
    stdout: str
    stderr: str


class Command(Protocol):
    def __call__(self, *arguments: str, **variables: str) -> Result: ...


@dataclass(frozen=True)
class Starting:
    """A server in this process that may not be ready yet."""

    server: Server
    readiness: Readiness
    runner: web.AppRunner

    async def until_detail(self, text: str) -> None:
        """Until `/readyz` is red with these words."""

        async def is_so() -> bool:
            answer = await self.server.client.get("/readyz")
            return answer.status_code == 503 and answer.json()["detail"] == text

        await self.server.until(is_so)


class Begin(Protocol):
    def __call__(self, renderer: Renderer, /, **settings: object) -> Awaitable[Starting]:
        """Start a server in this process without waiting for it; `settings` as for `Serve`."""
        ...


class Serve(Protocol):
    def __call__(
        self, renderer: Renderer | None = None, /, **settings: object
    ) -> Awaitable[Server]:
        """Start a server in this process; `settings` as on the command line."""
        ...


async def assert_part(
    client: httpx.AsyncClient, url: str, wanted: str, start: int, stop: int | None
) -> None:
    """The range `wanted` is answered with the bytes from `start` to `stop` of all that is there."""
    whole = (await client.get(url)).content
    answer = await client.get(url, headers={"Range": wanted})
    assert answer.status_code == 206
    assert answer.content == whole[start:stop]
    first = start % len(whole)
    last = first + len(answer.content) - 1
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
