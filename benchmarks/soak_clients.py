"""Clients of a server that do what clients do, at random, and look closely at what they get."""

import asyncio
import contextlib
import json
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from musetalk_stream.fmp4 import boxes

from .server import tone, wav

Json = dict[str, Any]

_ENDS = ("complete", "error", "cancelled")
_PATIENCE_S = 90.0
_LATER = (httpx.TransportError, TimeoutError)


@dataclass
class Seen:
    """What all clients have seen together."""

    spoken: int = 0
    chunks: int = 0
    reconnects: int = 0
    resets: int = 0
    restarted: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


async def ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    """Again and again while connections break or the server is started."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            with contextlib.suppress(*_LATER):
                answer = await client.request(method, path, **more)
                if answer.status_code != 503:
                    return answer
            await asyncio.sleep(0.2)


class Viewer:
    """Follows a session's events, over breaks, and fetches every chunk at once."""

    def __init__(self, url: str, session_id: str, seen: Seen) -> None:
        self._session_id = session_id
        self._seen = seen
        self._client = httpx.AsyncClient(base_url=url, timeout=20)
        self._last_id: str | None = None
        self._next_index: dict[str, int] = {}
        self._ended: dict[str, str] = {}
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.pause_s = 0.0  # between two events that it reads
        self.resets = 0
        self.ends: dict[str, str] = {}
        self.is_closed = False

    def open(self) -> None:
        self._task = asyncio.create_task(self._follow())
        self._task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._problem(f"its viewer could not go on: {task.exception()!r}")

    async def leave(self) -> None:
        """Without a word."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._task = None

    async def close(self) -> None:
        await self.leave()
        await self._client.aclose()

    async def until_end(self, request_id: str) -> str:
        """How an utterance ended."""
        resets = self.resets
        async with asyncio.timeout(_PATIENCE_S):
            while request_id not in self.ends:
                moved = self._moved
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(moved.wait(), 2)
                if self.resets != resets and request_id not in self.ends:
                    await self._look(request_id)
        return self.ends[request_id]

    async def _look(self, request_id: str) -> None:
        """What was told while nobody listened, and is no more since the server was started."""
        path = f"/sessions/{self._session_id}/utterances/{request_id}"
        answer = await ask(self._client, "GET", path)
        status = answer.json().get("status", f"unknown: {answer.text[:100]}")
        if status in ("complete", "failed", "interrupted", "cancelled"):
            self.ends[request_id] = status
        elif answer.status_code == 404:
            self._problem(f"{request_id} was accepted and is not known any more")
            self.ends[request_id] = "unknown"

    async def _follow(self) -> None:
        while not self.is_closed:
            with contextlib.suppress(*_LATER):
                await self._read()
            self._seen.reconnects += 1
            await asyncio.sleep(0.1)

    async def _read(self) -> None:
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        path = f"/sessions/{self._session_id}/events"
        async with self._client.stream("GET", path, headers=headers) as stream:
            if stream.status_code == 503:  # it is being started
                return
            if stream.status_code != 200:
                self._problem(f"a session that nobody ended answers {stream.status_code}")
                self.is_closed = True
                return
            event_id = None
            async for line in stream.aiter_lines():
                if line.startswith("id:"):
                    event_id = line[3:].strip()
                elif line.startswith("data:"):
                    await self._heard(json.loads(line[5:]))
                    self._last_id, event_id = event_id or self._last_id, None
                    await asyncio.sleep(self.pause_s)

    async def _heard(self, event: Json) -> None:
        name, request_id = event["event"], event.get("request_id")
        if name == "reset":
            self.resets += 1
            self._seen.resets += 1
            self._last_id = None
            self._next_index.clear()
            self._ended.clear()
        elif name == "chunk":
            await self._fetch(event)
        elif name in _ENDS:
            self._end(event)
        elif name == "interrupted":
            for each in event["request_ids"]:
                self.ends[each] = name
        elif name == "closed":
            self.is_closed = not event.get("resumable")
        if request_id is not None or name in ("reset", "interrupted"):
            self._moved.set()
            self._moved = asyncio.Event()

    async def _fetch(self, event: Json) -> None:
        request_id, index = event["request_id"], event["index"]
        expected = self._next_index.get(request_id, 0)
        if index != expected:
            self._problem(f"chunk {index} of {request_id} where {expected} was expected")
        answer = await ask(self._client, "GET", event["url"])
        if answer.status_code != 200:
            self._problem(f"{event['url']}: {answer.status_code}")
        else:
            kinds = [box.type for box in boxes(answer.content)]
            if kinds[:2] != [b"ftyp", b"moov"] or kinds[-1] != b"mdat":
                self._problem(f"{event['url']} is torn: {kinds}")
        # Once it is there: who reads it again after a break has had it only if we say so.
        self._next_index[request_id] = index + 1
        self._seen.chunks += 1

    def _end(self, event: Json) -> None:
        name, request_id = event["event"], event["request_id"]
        before = self._ended.get(request_id)
        if before and (before, name) != ("complete", "cancelled"):
            self._problem(f"{request_id}: {name} after {before}")
        self._ended[request_id] = name
        if name == "complete" and event["total_chunks"] != self._next_index.get(request_id, 0):
            self._problem(f"{request_id}: complete after {self._next_index.get(request_id)} chunks")
        if name == "error":
            self._seen.restarted += event["code"] == "server_restarted"
            if event["code"] not in ("server_restarted", "upload_aborted", "upload_stalled"):
                self._problem(f"{request_id}: {event['code']}: {event['message']}")
        self.ends[request_id] = name

    def _problem(self, text: str) -> None:
        self._seen.problems.append(f"session {self._session_id[:8]}: {text}")


class Visitor:
    """Somebody with a session, who does one thing after another."""

    def __init__(self, url: str, seen: Seen, chance: random.Random) -> None:
        self._url = url
        self._seen = seen
        self._chance = chance
        self._client = httpx.AsyncClient(base_url=url, timeout=20)
        self._session_id = ""
        self._viewer: Viewer | None = None

    async def live(self, num_utterances: int) -> None:
        """Until so many have been said; then it leaves in good order."""
        left = num_utterances
        await self._begin()
        try:
            while left > 0:
                behaviours = [
                    (self._speak, 5), (self._queue, 2), (self._interrupt, 2), (self._cancel, 2),
                    (self._reconnect, 2), (self._read_slowly, 1), (self._break_off, 1),
                    (self._move_on, 1), (self._vanish, 1),
                ]  # fmt: skip
                (chosen,) = self._chance.choices(*zip(*behaviours, strict=True))
                left -= await chosen()
            await self._end()
        finally:
            if self._viewer is not None:
                await self._viewer.close()
            await self._client.aclose()

    async def _begin(self) -> None:
        options = {
            "fps": self._chance.choice([5, 8, 12.5]),
            "on_busy": "queue",
            "chunk_duration": 0.5,
        }
        answer = await ask(self._client, "POST", "/sessions/create", json=options)
        answer.raise_for_status()
        self._session_id = answer.json()["session_id"]
        self._viewer = Viewer(self._url, self._session_id, self._seen)
        self._viewer.open()

    async def _end(self) -> None:
        await self._its().close()
        self._viewer = None
        await ask(self._client, "DELETE", f"/sessions/{self._session_id}")

    def _its(self) -> Viewer:
        assert self._viewer is not None
        return self._viewer

    async def _send(self, least_s: float = 0.2) -> str:
        """An upload, said once however often it is sent."""
        sound = wav(tone(self._chance.uniform(least_s, least_s + 0.8)))
        headers = {"Idempotency-Key": uuid.UUID(int=self._chance.getrandbits(128)).hex}
        path = f"/sessions/{self._session_id}/stream"
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                files = {"audio_file": ("a.wav", sound, "audio/wav")}
                answer = await ask(self._client, "POST", path, headers=headers, files=files)
                if answer.status_code == 202:
                    self._seen.spoken += 1
                    return str(answer.json()["request_id"])
                if not answer.json().get("retryable"):
                    raise AssertionError(f"upload: {answer.status_code} {answer.text}")
                await asyncio.sleep(0.1)

    async def _await_end(self, request_id: str) -> None:
        try:
            self._seen.ends[await self._its().until_end(request_id)] += 1
        except TimeoutError:
            problem = f"session {self._session_id[:8]}: nothing more is told of {request_id}"
            self._seen.problems.append(problem)

    async def _speak(self) -> int:
        await self._await_end(await self._send())
        return 1

    async def _queue(self) -> int:
        request_ids = [await self._send() for _ in range(3)]
        for request_id in request_ids:
            await self._await_end(request_id)
        return 3

    async def _interrupt(self) -> int:
        request_ids = [await self._send(1.0), await self._send()]
        await asyncio.sleep(self._chance.uniform(0, 0.3))
        path = f"/sessions/{self._session_id}/interrupt"
        await ask(self._client, "POST", path, json={"wait": 0})
        for request_id in request_ids:
            await self._await_end(request_id)
        return 2

    async def _cancel(self) -> int:
        request_id = await self._send(1.0)
        await asyncio.sleep(self._chance.uniform(0, 0.2))
        await ask(self._client, "DELETE", f"/sessions/{self._session_id}/utterances/{request_id}")
        await self._await_end(request_id)
        return 1

    async def _reconnect(self) -> int:
        request_id = await self._send(1.0)
        await asyncio.sleep(self._chance.uniform(0, 0.3))
        await self._its().leave()
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        self._its().open()
        await self._await_end(request_id)
        return 1

    async def _read_slowly(self) -> int:
        self._its().pause_s = 0.05
        await self._await_end(await self._send())
        self._its().pause_s = 0.0
        return 1

    async def _break_off(self) -> int:
        """An upload that never comes to its end."""
        body = wav(tone(1.0))

        async def half() -> Any:
            yield body[: len(body) // 2]
            raise ConnectionError

        path = f"/sessions/{self._session_id}/audio"
        with contextlib.suppress(ConnectionError, *_LATER):
            headers = {"Content-Type": "audio/wav"}
            await self._client.post(path, content=half(), headers=headers)
        return 1

    async def _move_on(self) -> int:
        """In mid-speech."""
        await self._send(1.0)
        await self._end()
        await self._begin()
        return 1

    async def _vanish(self) -> int:
        """The session is left to expire."""
        await self._send()
        await self._its().close()
        await self._begin()
        return 1
