"""Behind a proxy, with TLS and HTTP/2: how much later are the first event and the first chunk?

Both ways lead to the same server, by turns. What is counted begins with the upload, on connections
that are there, and the chunk is there when all of it has been fetched."""

import argparse
import asyncio
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from .aims import Aims
from .server import babble, create, events, median_ms, running_server, speak, wav

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the proxies are

from proxies import PROXIES, running

AT_MOST_LATER_MS = 20


@dataclass
class Way:
    """How a client comes to the server, and what it measures there."""

    name: str
    client: httpx.AsyncClient
    to_event_s: list[float] = field(default_factory=list)
    to_chunk_s: list[float] = field(default_factory=list)


async def one(way: Way, sound: bytes) -> None:
    session_id = await create(way.client)
    upload: asyncio.Task[tuple[float, float]] | None = None
    began_s = event_s = 0.0
    async for announced in events(way.client, session_id):
        if upload is None:  # that was the state, so the way is there
            began_s = time.perf_counter()
            upload = asyncio.create_task(speak(way.client, session_id, sound))
            continue
        event_s = event_s or announced.at_s
        if announced.event["event"] == "chunk":
            address = way.client.base_url.join(announced.event["url"])
            (await way.client.get(address)).raise_for_status()
            way.to_event_s.append(event_s - began_s)
            way.to_chunk_s.append(time.perf_counter() - began_s)
            break
    if upload:
        await upload
    await way.client.delete(f"/sessions/{session_id}")


async def measure(proxy_name: str, count: int, seconds: float) -> list[Way]:
    sound = wav(babble(seconds))
    async with AsyncExitStack() as stack:
        server = stack.enter_context(running_server("--capacity-fps", "1000"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxy = stack.enter_context(
            running(PROXIES[proxy_name], folder / "proxy", urlsplit(server.url).port or 0)
        )
        trust = ssl.create_default_context(cafile=folder / "proxy/tls/cert.pem")
        direct = httpx.AsyncClient(base_url=server.url, timeout=30)
        behind = httpx.AsyncClient(base_url=proxy, http2=True, verify=trust, timeout=30)
        ways = [Way("direct", direct), Way(f"{proxy_name}, TLS, HTTP/2", behind)]
        for way in ways:
            await stack.enter_async_context(way.client)
        for turn in range(count + 1):
            for way in ways if turn % 2 else reversed(ways):
                await one(way, sound)
    for way in ways:  # the first round warms up
        del way.to_event_s[0], way.to_chunk_s[0]
    return ways


def middle_ms(values_s: list[float]) -> float:
    return sorted(values_s)[len(values_s) // 2] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxy", choices=PROXIES, default="nginx")
    parser.add_argument("--uploads", type=int, default=25, help="each way")
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    direct, behind = ways = asyncio.run(measure(args.proxy, args.uploads, args.seconds))
    print(f"{args.seconds:g} s of wav, {args.uploads} uploads each way, by turns")
    for way in ways:
        print(f"{way.name}: upload to first event: {median_ms(way.to_event_s)}")
        print(f"{way.name}: upload to first chunk, fetched: {median_ms(way.to_chunk_s)}")
    aims = Aims()
    for what, fast, slow in (
        ("first event", direct.to_event_s, behind.to_event_s),
        ("first chunk", direct.to_chunk_s, behind.to_chunk_s),
    ):
        later_ms = middle_ms(slow) - middle_ms(fast)
        print(f"{what}: {later_ms:+.1f} ms behind {args.proxy}")
        aims.at_most(f"{what} later behind {args.proxy}", later_ms, AT_MOST_LATER_MS, " ms")
    aims.judge()


if __name__ == "__main__":
    main()
