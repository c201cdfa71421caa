"""Speech that is sent while it is made: how soon it is heard of, and is every chunk there in time?

Sound goes up in pieces, at real time (20 ms each) or as a TTS sends it (bursts at three times real
time, with pauses), as the body of a request and over a WebSocket. A client follows the events,
fetches every chunk, and plays as the player does: from the first chunk on, later by the prebuffer
that `started` names. A chunk is late if it arrives after all before it have been played.
"""

import argparse
import asyncio
import itertools
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
from websockets.asyncio.client import connect

from .aims import Aims
from .server import RATE as EAR_RATE
from .server import babble, create, events, median_ms, running_server

RATE = EAR_RATE // 2
FPS = 25
# Sound after which the clock of the first chunk starts: a few words' worth.
HEAD_S = 0.3

Feed = Callable[[bytes], AsyncIterator[bytes]]


@dataclass
class Sending:
    """head_sent_s: when HEAD_S had been sent; sent_s: when all had."""

    head_sent_s: float = 0.0
    sent_s: float = 0.0


@dataclass
class Heard:
    first_chunk_s: float = 0.0  # after HEAD_S had been sent
    slack_s: list[float] = field(default_factory=list)  # arrival ahead of need, chunk 1 on
    duration_s: float = 0.0
    waited_s: float = 0.0


# --- how sound is sent


async def at_real_time(pcm: bytes) -> AsyncIterator[bytes]:
    """20 ms every 20 ms, by an absolute clock, as a microphone or a telephone does."""
    began, step = time.perf_counter(), 2 * RATE // 50
    for k, start in enumerate(range(0, len(pcm), step)):
        await asyncio.sleep(began + k * 0.02 - time.perf_counter())
        yield pcm[start : start + step]


async def in_bursts(pcm: bytes) -> AsyncIterator[bytes]:
    """Sentences of two seconds at three times real time in 100 ms pieces, half a second between."""
    step = 2 * RATE // 10
    for k, start in enumerate(range(0, len(pcm), step)):
        if k:
            await asyncio.sleep(0.5 if k % 20 == 0 else 0.1 / 3)
        yield pcm[start : start + step]


async def noted(pieces: AsyncIterator[bytes], sending: Sending) -> AsyncIterator[bytes]:
    sent = 0
    async for piece in pieces:
        yield piece
        sent += len(piece)
        if not sending.head_sent_s and sent >= HEAD_S * 2 * RATE:
            sending.head_sent_s = time.perf_counter()
    sending.sent_s = time.perf_counter()


async def by_request(
    client: httpx.AsyncClient, session_id: str, sound: AsyncIterator[bytes]
) -> None:
    answer = await client.post(
        f"/sessions/{session_id}/audio",
        content=sound,
        headers={"Content-Type": f"audio/L16;rate={RATE}"},
    )
    answer.raise_for_status()


async def by_socket(
    client: httpx.AsyncClient, session_id: str, sound: AsyncIterator[bytes]
) -> None:
    address = str(client.base_url).replace("http", "ws", 1).rstrip("/")
    async with connect(f"{address}/sessions/{session_id}/audio/ws?rate={RATE}") as socket:
        async for piece in sound:
            await socket.send(piece)
        await socket.send(json.dumps({"event": "end"}))
        async for message in socket:
            said = json.loads(message)
            if said["event"] == "error":
                raise SystemExit(f"{said['code']}: {said['message']}")
            if said["event"] == "ended":
                return


WAYS = {"POST /audio": by_request, "WebSocket": by_socket}
FEEDS: dict[str, Feed] = {"real time, 20 ms": at_real_time, "bursts, 3x": in_bursts}


# --- how it is heard


async def listen(client: httpx.AsyncClient, way: str, feed: str, pcm: bytes) -> Heard:
    session_id = await create(client, fps=FPS)
    sending, heard = Sending(), Heard()
    speaking: asyncio.Task[None] | None = None
    playing_since = prebuffer_s = first_s = 0.0
    async for announced in events(client, session_id):
        event = announced.event
        match event["event"]:
            case "state":
                sound = noted(FEEDS[feed](pcm), sending)
                speaking = asyncio.create_task(WAYS[way](client, session_id, sound))
            case "started":
                prebuffer_s = event["prebuffer"]
            case "chunk":
                (await client.get(event["url"])).raise_for_status()
                now = time.perf_counter()
                if event["index"] == 0:
                    first_s, playing_since = announced.at_s, now + prebuffer_s
                else:
                    heard.slack_s.append(playing_since + event["start"] - now)
                heard.duration_s += event["duration"]
            case "complete":
                heard.waited_s = event["waited"]
                break
            case "error":
                raise SystemExit(event["message"])
    assert speaking is not None
    await speaking
    heard.first_chunk_s = first_s - sending.head_sent_s
    await client.delete(f"/sessions/{session_id}")
    return heard


async def measure(count: int, seconds: float) -> Aims:
    """Prints what was heard."""
    samples = babble(seconds)[:: EAR_RATE // RATE]
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    expected_s = math.ceil(len(samples) * FPS / RATE) / FPS
    aims = Aims()
    with running_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await listen(client, *next(itertools.product(WAYS, FEEDS)), pcm[: 4 * RATE])
            print(f"{seconds:g} s of PCM at {RATE} Hz, {count} utterances each, {FPS} fps")
            for way, feed in itertools.product(WAYS, FEEDS):
                heard = [await listen(client, way, feed, pcm) for _ in range(count)]
                slack = sorted(slack_s for each in heard for slack_s in each.slack_s)
                late = sum(slack_s < 0 for slack_s in slack)
                off_s = max(round(abs(each.duration_s - expected_s), 6) for each in heard)
                waited_s = max(each.waited_s for each in heard)
                print(f"{way}, {feed}:")
                print(
                    f"  {HEAD_S * 1e3:g} ms sent to first chunk event: "
                    f"{median_ms([each.first_chunk_s for each in heard])}"
                )
                print(
                    f"  late chunks: {late} of {len(slack)}; least slack {slack[0] * 1e3:.0f} ms; "
                    f"silence filled in: {waited_s * 1e3:g} ms; off by {off_s * 1e3:.3g} ms"
                )
                first_ms = 1e3 * float(np.median([each.first_chunk_s for each in heard]))
                aims.at_most(f"{way}, {feed}: first chunk", first_ms, 400, " ms")
                aims.at_most(f"{way}, {feed}: late chunks", late, 0)
                aims.at_most(f"{way}, {feed}: silence filled in", waited_s * 1e3, 0, " ms")
                aims.at_most(f"{way}, {feed}: duration off by", off_s * 1e3, 0, " ms")
    return aims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    asyncio.run(measure(args.utterances, args.seconds)).judge()


if __name__ == "__main__":
    main()
