"""Random conversations: one session, who speaks to it in every way there is, and pages that watch.

All that is random is drawn from the seed before it is done, so that a seed is a schedule; only
the machine decides what meets what.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx_sse
import numpy as np
import websockets
from fakes import sound_file, speech_like, wav
from servers import Server
from websockets.asyncio.client import ClientConnection, connect

Json = dict[str, Any]

RATE = 16_000
STALL_TIMEOUT_S = 0.5  # that the server is to be started with
_SESSION_HAS_GONE = 1001  # "going away" (RFC 6455, 7.4.1)
_BYTES_PER_SECOND = 2 * RATE


@dataclass
class Shown:
    """An utterance as a page has it."""

    request_id: str
    seconds: float = 0.0  # announced so far
    is_complete: bool = False
    is_stopped: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Page:
    """A player without a picture: what its event stream said since the page was opened.

    A lost connection goes on after the last event that it saw. If it plays, it does so in real
    time and tells the server, as a player does.
    """

    def __init__(self, server: Server, session_id: str, *, plays: bool) -> None:
        self._server = server
        self._address = f"/sessions/{session_id}"
        self._plays = plays
        self._playing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._shown: dict[str, Shown] = {}
        self._to_play = asyncio.Queue[Shown]()
        self.events: list[tuple[int, Json]] = []  # with the ids under which they are logged
        self.states: list[Json] = []
        self.has_closed = False
        self._opened = asyncio.Event()

    def connect(self) -> None:
        self._reading = asyncio.create_task(self._read(), name="page-reads")
        if self._plays and self._playing is None:
            self._playing = asyncio.create_task(self._play(), name="page-plays")

    async def disconnect(self) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        await self.disconnect()
        if self._playing:
            self._playing.cancel()
            await asyncio.wait([self._playing])
            if not self._playing.cancelled():
                self._playing.result()

    async def until_open(self) -> None:
        """Until it has been told where things stand."""
        async with asyncio.timeout(10):
            await self._opened.wait()

    async def until_closed(self) -> None:
        assert self._reading is not None
        await self._reading

    def of(self, name: str) -> list[Json]:
        return [event for _, event in self.events if event["event"] == name]

    async def _read(self) -> None:
        headers = {"Last-Event-ID": str(self.events[-1][0])} if self.events else {}
        async with httpx_sse.aconnect_sse(
            self._server.client, "GET", f"{self._address}/events", headers=headers
        ) as source:
            if source.response.status_code in (404, 410):
                return
            async for message in source.aiter_sse():
                self._take(message.id, json.loads(message.data))

    def _take(self, event_id: str, event: Json) -> None:
        match event["event"]:
            case "ping":
                return
            case "closed":
                self.has_closed = True
            case "state":
                self.states.append(event)
                self._opened.set()
            case _:
                self.events.append((int(event_id), event))
        self._show(event)

    def _show(self, event: Json) -> None:
        match event["event"]:
            case "chunk":
                shown = self._shown.get(event["request_id"])
                if shown is None:
                    shown = self._shown[event["request_id"]] = Shown(event["request_id"])
                    self._to_play.put_nowait(shown)
                shown.seconds += event["duration"]
                shown.changed.set()
            case "complete" | "interrupted" | "cancelled":
                for request_id in event.get("request_ids", [event.get("request_id")]):
                    if shown := self._shown.get(request_id):
                        shown.is_complete |= event["event"] == "complete"
                        shown.is_stopped |= event["event"] != "complete"
                        shown.changed.set()

    async def _play(self) -> None:
        """One utterance after the other, each in the time that it takes."""
        while True:
            shown = await self._to_play.get()
            if shown.is_stopped:
                continue
            since_s = time.monotonic()
            await self._tell(shown, event="started", ago_ms=0)
            played_s = 0.0
            while not shown.is_stopped and (played_s < shown.seconds or not shown.is_complete):
                rest_s = shown.seconds - played_s
                shown.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(shown.changed.wait(), rest_s if rest_s > 0 else None)
                played_s = time.monotonic() - since_s
            played_ms = round(min(played_s, shown.seconds) * 1000)
            await self._tell(
                shown, event="finished", played_ms=played_ms, interrupted=shown.is_stopped
            )

    async def _tell(self, shown: Shown, **report: object) -> None:
        answer = await self._server.client.post(
            f"{self._address}/playback", json={"request_id": shown.request_id, **report}
        )
        # The session may be gone meanwhile, or the memory of an old utterance.
        assert answer.status_code in (204, 404, 410), answer.text


@dataclass
class Sent:
    """What was sent and what came back. status 0: the sender went away before it got an answer."""

    how: str
    status: int = 0
    code: str = ""
    request_id: str = ""
    sound_s: float | None = None  # of what is to be spoken if it is taken, where that is known


@dataclass
class Schedule:
    """What was done to one session, in order, and what came of it."""

    server: Server
    seed: int
    session_id: str = ""
    did: list[str] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)  # of the session, whenever it was looked at
    utterances: list[Json] = field(default_factory=list)  # as the server lists them before the end
    deleted_early: bool = False
    fps: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._began_s = time.monotonic()
        self._senders: list[asyncio.Task[None]] = []
        self.all_pages: list[Page] = []  # the first one is never reloaded and sees everything
        self._open: list[Page] = []

    def __str__(self) -> str:
        return f"seed {self.seed}, replay with SCHEDULES={self.seed}:\n  " + "\n  ".join(self.did)

    # --- the schedule

    async def run(self) -> None:
        draw = self._random
        options: Json = {
            "fps": draw.choice([10, 15, 25]),
            "chunk_duration": draw.choice([0.2, 0.5, 2]),
            "on_busy": draw.choice(["reject", "queue", "replace"]),
        }
        self.fps = options["fps"]
        self._note(f"create {options}")
        self.session_id = await self.server.create(**options)
        self.all_pages = [self._page(plays=plays) for plays in (False, True, False)]
        self._open = self.all_pages[:]
        for page in self._open:
            await page.until_open()
        steps: dict[Callable[[], Coroutine[Any, Any, None]], int] = {
            self._upload: 4,
            self._stream: 4,
            self._socket: 3,
            self._interrupt: 3,
            self._cancel: 2,
            self._reload: 2,
            self._reconnect: 2,
            self._look: 1,
        }
        try:
            for step in draw.choices(list(steps), list(steps.values()), k=draw.randint(5, 10)):
                await step()
                await asyncio.sleep(draw.choice([0, 0, 0.01, 0.05, 0.15]))
            self.deleted_early = draw.random() < 0.25
            await self._end()
        finally:
            for task in self._senders:
                task.cancel()
            for page in self._open:
                await page.close()

    async def _end(self) -> None:
        if not self.deleted_early:
            await asyncio.gather(*self._senders)
            self._note("wait until it is silent")
            await self.server.until_state(self.session_id, "idle", within_s=20)
            # What is published is there for everyone, but not yet read by everyone.
            answer = await self.server.client.get(f"{self._address}/utterances")
            self.utterances = answer.json()["utterances"]
        self._note("delete")
        answer = await self.server.client.delete(self._address)
        assert answer.status_code == 204, answer.text
        await asyncio.gather(*self._senders)
        async with asyncio.timeout(10):
            for page in self._open:
                await page.until_closed()

    @property
    def _address(self) -> str:
        return f"/sessions/{self.session_id}"

    def _note(self, what: str) -> None:
        self.did.append(f"{time.monotonic() - self._began_s:6.3f} s: {what}")

    def _page(self, *, plays: bool) -> Page:
        page = Page(self.server, self.session_id, plays=plays)
        page.connect()
        return page

    # --- who speaks

    def _begin(
        self, sent: Sent, sending: Coroutine[Any, Any, None], leaves_s: float | None
    ) -> None:
        """Send beside what else goes on; go away in the middle if there is an instant for that."""

        async def send() -> None:
            try:
                async with asyncio.timeout(leaves_s):
                    await sending
            except TimeoutError:
                assert leaves_s is not None, f"{sent} had no answer"
                self._note(f"{sent.how} went away")
            else:
                self._note(f"{sent.how} -> {sent.status} {sent.code} {sent.request_id[:4]}")

        self.sent.append(sent)
        self._senders.append(asyncio.create_task(send(), name="sender"))

    def _leaves_s(self) -> float | None:
        draw = self._random
        return draw.uniform(0, 0.4) if draw.random() < 0.2 else None

    def _query(self) -> dict[str, str]:
        draw = self._random
        query = {}
        if draw.random() < 0.7:
            query["on_busy"] = draw.choice(["reject", "queue", "queue", "replace"])
        if draw.random() < 0.2:
            query["trailing_silence"] = "0.3"
        if draw.random() < 0.2:
            query["trim_leading_silence"] = "true"
        if draw.random() < 0.2:
            query["prebuffer"] = "0"
        return query

    def _pcm(self) -> bytes:
        seconds = self._random.choice([0.05, 0.2, 0.4, 0.8])
        samples = speech_like(seconds, RATE, seed=self._random.randint(1, 5))
        return bytes((samples * 32767).astype("<i2").tobytes())

    def _pieces(self, data: bytes) -> list[tuple[bytes, float]]:
        """A cut of the bytes anywhere, samples included, and the wait after each piece."""
        draw = self._random
        cuts = sorted(draw.sample(range(1, len(data)), k=draw.randint(1, 12)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        pace = draw.choice([0, 0.3, 1, 2.5])  # of real time
        return [(piece, pace * len(piece) / _BYTES_PER_SECOND) for piece in pieces]

    async def _upload(self) -> None:
        """A complete file, now and then one that nobody can speak."""
        draw = self._random
        query, leaves_s = self._query(), self._leaves_s()
        samples = speech_like(draw.choice([0.1, 0.4, 1.0]), RATE)
        file = draw.choice([wav(samples, RATE), sound_file(samples, "mp3", RATE), b"no sound"])
        how = f"upload of {len(file)} bytes, {query}"
        self._note(f"{how}, leaves {leaves_s}")
        self._begin(sent := Sent(how), self._post_file(sent, query, file), leaves_s)

    async def _post_file(self, sent: Sent, query: Json, file: bytes) -> None:
        _answered(sent, await self.server.upload(self.session_id, file, **query))

    async def _stream(self) -> None:
        """PCM, or a file that is still being made, as the body of a request."""
        draw = self._random
        query, leaves_s, data = self._query(), self._leaves_s(), self._pcm()
        kind = f"audio/L16;rate={RATE}"
        if draw.random() < 0.3:
            data, kind = wav(np.frombuffer(data, "<i2") / 32768, RATE), "audio/wav"
        elif draw.random() < 0.1:
            data = data[:-1]  # in the middle of a sample
        pieces = self._pieces(data)
        if stalls := draw.random() < 0.1:
            pieces[-1] = (pieces[-1][0], 2 * STALL_TIMEOUT_S)
        how = f"stream of {len(data)} bytes of {kind}, {query}, {'stalls, ' * stalls}"
        self._note(f"{how}leaves {leaves_s}")
        sent = Sent(how)
        if kind.startswith("audio/L16") and "trim_leading_silence" not in query:
            sent.sound_s = len(data) / _BYTES_PER_SECOND + float(query.get("trailing_silence", 0))
        sending = self._post_body(sent, query, kind, pieces)
        self._begin(sent, sending, leaves_s)

    async def _post_body(
        self, sent: Sent, query: Json, kind: str, pieces: list[tuple[bytes, float]]
    ) -> None:
        async def body() -> AsyncIterator[bytes]:
            for piece, wait_s in pieces:
                yield piece
                await asyncio.sleep(wait_s)

        try:
            answer = await self.server.client.post(
                f"{self._address}/audio", params=query, content=body(),
                headers={"Content-Type": kind},
            )  # fmt: skip
        except httpx.WriteError:  # refused, and hung up on before all of it was sent
            return
        _answered(sent, answer)

    async def _socket(self) -> None:
        """One or two utterances over a WebSocket; some end it, some cancel, some just go."""
        draw = self._random
        query, leaves_s = self._query(), self._leaves_s()
        turns = [
            (self._pieces(self._pcm()), draw.choice(["end", "end", "end", "cancel", ""]))
            for _ in range(draw.randint(1, 2))
        ]
        how = f"socket with {[word or 'nothing' for _, word in turns]}, {query}"
        self._note(f"{how}, leaves {leaves_s}")
        self._begin(sent := Sent(how), self._talk_on_socket(sent, query, turns), leaves_s)

    async def _talk_on_socket(
        self, sent: Sent, query: Json, turns: list[tuple[list[tuple[bytes, float]], str]]
    ) -> None:
        url = httpx.URL(self.server.url.replace("http", "ws", 1) + f"{self._address}/audio/ws")
        url = url.copy_merge_params({"rate": str(RATE), **query})
        try:
            async with connect(str(url)) as socket:
                for pieces, word in turns:
                    for piece, wait_s in pieces:
                        await socket.send(piece)
                        await asyncio.sleep(wait_s)
                    if not word:
                        return
                    await socket.send(json.dumps({"event": word}))
                    await _until_over(socket, sent)
        except websockets.InvalidStatus as refused:
            sent.status = refused.response.status_code
        except websockets.ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code != _SESSION_HAS_GONE:
                raise

    # --- who stops it, and who watches

    async def _interrupt(self) -> None:
        wait_s = self._random.choice([0, 0.2])
        answer = await self.server.client.post(
            f"{self._address}/interrupt", params={"wait": wait_s}
        )
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert said["interrupted"] == bool(said["request_ids"])
        self._note(f"interrupt -> {said}")

    async def _cancel(self) -> None:
        """One of those that were announced, or one that never was."""
        index = self._random.random()
        known = [event["request_id"] for event in self.all_pages[0].of("queued")]
        request_id = known[int(index * len(known))] if known and index < 0.9 else "nobody"
        answer = await self.server.client.delete(f"{self._address}/utterances/{request_id}")
        assert answer.status_code == (404 if request_id == "nobody" else 204), answer.text
        self._note(f"cancel {request_id[:4]} -> {answer.status_code}")

    async def _reload(self) -> None:
        """A page that begins anew, with nothing in mind."""
        which = self._random.choice([1, 2])
        self._note(f"reload page {which}")
        await self._open[which].close()
        self._open[which] = self._page(plays=which == 1)
        self.all_pages.append(self._open[which])

    async def _reconnect(self) -> None:
        """A page whose connection was lost for a while."""
        which, away_s = self._random.choice([1, 2]), self._random.choice([0, 0.1])
        self._note(f"page {which} reconnects")
        await self._open[which].disconnect()
        await asyncio.sleep(away_s)
        self._open[which].connect()

    async def _look(self) -> None:
        self.statuses.append(await self.server.state(self.session_id))


def _answered(sent: Sent, answer: httpx.Response) -> None:
    said = answer.json()
    sent.status, sent.code = answer.status_code, said.get("code", "")
    sent.request_id = said.get("request_id", "")


async def _until_over(socket: ClientConnection, sent: Sent) -> None:
    """Until the socket says how the utterance was taken."""
    while True:
        said = json.loads(await socket.recv())
        match said["event"]:
            case "ended":
                sent.status, sent.request_id = 202, said["request_id"]
                return
            case "cancelled":
                return
            case "error":
                sent.status, sent.code = said["status"], said["code"]
                return
