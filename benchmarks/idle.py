"""Thousands of sessions with open event streams, and nobody speaks: memory, and heartbeats."""

import argparse
import asyncio
import time
from collections import defaultdict
from itertools import pairwise

import httpx

from .aims import Aims
from .many import FLAGS, create, is_ping, raise_file_limit, subscribe
from .server import Server, running_server

PING_S = 15.0
MOST_KB = 40
LATE_S = 1.0
_WARM_UP = 20  # what is made once must not be counted as a session's


async def measure(server: Server, count: int, seconds: float, aims: Aims) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        for session_id in await create(client, _WARM_UP):
            await subscribe(server.url, session_id, lambda data, at_s: None)
        before_bytes = server.resident_bytes()
        began_s = time.monotonic()
        pings: dict[str, list[float]] = defaultdict(list)
        open_streams = []
        for session_id in await create(client, count):

            def heard(data: str, at_s: float, of: str = session_id) -> None:
                if is_ping(data):
                    pings[of].append(at_s)

            open_streams.append(await subscribe(server.url, session_id, heard))
        opened_s = time.monotonic() - began_s
        cpu_s = server.cpu_s()
        await asyncio.sleep(seconds)
        cpu_s = server.cpu_s() - cpu_s
        each_kb = (server.resident_bytes() - before_bytes) / count / 1000
    late_s = sorted(
        max(0.0, after - before - PING_S)
        for instants in pings.values()
        for before, after in pairwise(instants)
    )
    lost = sum(stream.is_lost for stream in open_streams)
    print(f"{count} sessions with open event streams, opened in {opened_s:.1f} s")
    print(f"  memory: {each_kb:.1f} kB each (they: {server.resident_bytes() / 1e6:.0f} MB in all)")
    print(f"  CPU while idle: {cpu_s / seconds * 100:.1f} % of a core")
    if late_s:
        middle, worst = late_s[len(late_s) // 2], late_s[-1]
        print(f"  {len(late_s)} heartbeats late by: median {middle:.3f} s, most {worst:.3f} s")
        aims.at_most("latest heartbeat", worst, LATE_S, " s")
    silent = count - len(pings)
    aims.at_most("streams that were lost", lost, 0)
    aims.at_most("streams without a heartbeat", silent, 0)
    aims.at_most("memory of each", each_kb, MOST_KB, " kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=50, help="for which they are watched")
    args = parser.parse_args()
    raise_file_limit()
    aims, room = Aims(), str(args.sessions + _WARM_UP)
    with running_server("--max-sessions", room, *FLAGS) as server:
        asyncio.run(measure(server, args.sessions, args.seconds, aims))
    aims.judge()


if __name__ == "__main__":
    main()
