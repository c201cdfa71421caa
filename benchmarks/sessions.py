"""Many sessions speaking at once: is every chunk ready before real time needs it?

Each client follows its events, fetches every chunk as soon as it is announced, and plays from the
moment its first chunk has arrived whole. A chunk is late if it arrives after all before it have
been played.
"""

import argparse
import asyncio
import os
import time
from dataclasses import dataclass, field

import httpx

from .server import RATE, babble, create, events, median_ms, running_server, speak, wav


@dataclass
class Viewer:
    first_chunk_s: float = 0.0
    slack_s: list[float] = field(default_factory=list)  # arrival ahead of need, chunk 1 on
    seconds: float = 0.0


async def watch(client: httpx.AsyncClient, fps: float, seconds: float, seed: int) -> Viewer:
    viewer = Viewer()
    session_id = await create(client, fps=fps)
    sound = wav(babble(seconds, seed)[::3], RATE // 3)
    uploaded, playing_since = 0.0, 0.0
    async for announced in events(client, session_id):
        match announced.event["event"]:
            case "state":
                uploaded, _ = await speak(client, session_id, sound)
            case "chunk":
                (await client.get(announced.event["url"])).raise_for_status()
                now = time.perf_counter()
                if announced.event["index"] == 0:
                    playing_since, viewer.first_chunk_s = now, now - uploaded
                else:
                    viewer.slack_s.append(playing_since + viewer.seconds - now)
                viewer.seconds += announced.event["duration"]
            case "complete":
                break
            case "error":
                raise SystemExit(f"session {seed}: {announced.event['message']}")
    return viewer


async def measure(count: int, fps: float, seconds: float) -> None:
    with running_server() as server:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=30) as client:
            await watch(client, fps, 2, 0)  # the first use of anything is slower
            began, cpu_s = time.perf_counter(), server.cpu_s()
            viewers = await asyncio.gather(*(watch(client, fps, seconds, k) for k in range(count)))
            wall_s, cpu_s = time.perf_counter() - began, server.cpu_s() - cpu_s
    media_s = sum(viewer.seconds for viewer in viewers)
    print(f"{count} sessions at once, {fps:g} fps, {seconds:g} s each; {os.cpu_count()} cores")
    late = report(viewers)
    print(
        f"server CPU: {cpu_s / media_s * 1e3:.1f} ms per second of output, "
        f"{cpu_s / wall_s:.2f} cores"
    )
    if late:
        raise SystemExit(1)


def report(viewers: list[Viewer]) -> int:
    """Prints what viewers saw; the number of late chunks."""
    slack = sorted(slack for viewer in viewers for slack in viewer.slack_s)
    late = sum(slack_s < 0 for slack_s in slack)
    print(f"late chunks: {late} of {len(slack)}; least slack {slack[0] * 1e3:.0f} ms")
    firsts = [viewer.first_chunk_s for viewer in viewers]
    print(f"upload to first chunk fetched: {median_ms(firsts)}")
    return late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--fps", type=float, default=25)
    parser.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    asyncio.run(measure(args.sessions, args.fps, args.seconds))


if __name__ == "__main__":
    main()
