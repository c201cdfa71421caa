"""Hours of use in minutes: random clients, cut connections, a server that is killed; nothing lost.

Every chunk must come once and in order to everybody who follows; every utterance that was accepted
must have an end; and when all have left, the server must be as it was after the first half.
"""

import argparse
import asyncio
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from .aims import Aims
from .cutting_proxy import CuttingProxy
from .soak_clients import Seen, Visitor

# What pools and fragments may still add to a process that has seen half of it: they are as full as
# they get when the most has been going on at once. They are not full before so many.
_MOST_GROWTH_MB, _WARM = 24, 50
_FLAGS = (
    "--capacity-fps=100000", "--rate-per-address=0", "--max-sessions=1000", "--max-lead-s=60",
    "--chunk-retention-s=120",
)  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """Of a server that nobody uses. Files are those of chunks and open sessions."""

    resident_mb: float
    descriptors: int
    threads: int
    children: int
    files: int


class Server:
    """A process that can be killed, and started again on the same folders and port."""

    def __init__(self, folder: Path, *, idle_s: float) -> None:
        """idle_s: after which a session that nobody uses expires"""
        self._folder = folder
        self._flags = [*_FLAGS, f"--session-idle-s={idle_s:g}"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        folders = [f"--{name}-dir={self._folder / name}" for name in ("chunks", "state")]
        command = [sys.executable, "-m", "musetalk_stream", "serve", f"--port={self.port}"]
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [*command, *folders, *self._flags], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        if "is ready" not in self._process.stdout.readline():
            raise SystemExit(f"the server did not start:\n{self.log[-3000:]}")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def figures(self) -> Figures:
        process = Path(f"/proc/{self.pid}")
        resident, shared = map(int, (process / "statm").read_text().split()[1:3])
        pages = (resident - shared) * os.sysconf("SC_PAGE_SIZE")
        children = [each.read_text().split() for each in process.glob("task/*/children")]
        folders = (self._folder / "chunks", self._folder / "state" / "sessions")
        files = sum(path.is_file() for folder in folders for path in folder.rglob("*"))
        return Figures(
            resident_mb=pages / 1e6,
            descriptors=len(list((process / "fd").iterdir())),
            threads=len(list((process / "task").iterdir())),
            children=len([each for some in children for each in some]),
            files=files,
        )


async def crowd(
    url: str, seen: Seen, chance: random.Random, utterances: int, sessions: int
) -> None:
    """So many visitors at once; they share the utterances."""
    each = -(-utterances // sessions)
    visitors = [Visitor(url, seen, random.Random(chance.getrandbits(64))) for _ in range(sessions)]
    async with asyncio.TaskGroup() as group:
        for visitor in visitors:
            group.create_task(visitor.live(each))


async def until_empty(server: Server) -> None:
    """Sessions that were left are over, and connections that broke are known to have."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        for _ in range(600):
            if (await client.get("/sessions/stats")).json()["total_sessions"] == 0:
                break
            await asyncio.sleep(0.1)
        else:
            raise SystemExit("sessions that nobody uses do not expire")
    await asyncio.sleep(2)


async def kill_now_and_then(server: Server, seen: Seen, kills: int, utterances: int) -> None:
    """Each time that a share of the utterances has been accepted, in the midst of the others."""
    first = seen.spoken
    for index in range(1, kills + 1):
        while seen.spoken - first < index * utterances // (kills + 1):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


async def soak(args: argparse.Namespace, aims: Aims) -> None:
    chance, seen = random.Random(args.seed), Seen()
    began_s = time.monotonic()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Server(folder, idle_s=args.idle_s)
        await asyncio.to_thread(server.start)
        stack.callback(server.stop)
        port, proxy = server.port, None
        if args.cuts:
            proxy = CuttingProxy(server.port, random.Random(chance.getrandbits(64)))
            port = (await stack.enter_async_context(proxy.running())).port
        url = f"http://127.0.0.1:{port}"
        warm_up = max(args.sessions, args.utterances // 2)
        stack.callback(lambda: [print(f"  PROBLEM {each}") for each in seen.problems[:20]])
        await crowd(url, seen, chance, warm_up, args.sessions)
        await until_empty(server)
        first = server.figures()
        rest = max(args.sessions, args.utterances - warm_up)
        killing = asyncio.create_task(kill_now_and_then(server, seen, args.kills, rest))
        await crowd(url, seen, chance, rest, args.sessions)
        await killing
        await until_empty(server)
        last, log = server.figures(), server.log
    lasted_s = time.monotonic() - began_s
    cuts = f"{proxy.cuts} connections cut, " if proxy else ""
    print(f"{seen.spoken} utterances, {args.sessions} sessions, {lasted_s:.0f} s, seed {args.seed}")
    print(f"  {seen.chunks} chunks, {cuts}{args.kills} kills, {seen.reconnects} reconnects")
    print(f"  {seen.resets} resets, {seen.restarted} told as lost by a restart")
    print(f"  ends: {dict(seen.ends)}")
    print(f"  after {warm_up}: {first}\n  after all: {last}")
    aims.at_most("chunks or utterances lost, doubled, torn or out of order", len(seen.problems), 0)
    errors = re.findall(r"Traceback|^.*(?: ERROR | CRITICAL ).*$", log, re.MULTILINE)
    for line in errors[:10]:
        print(f"  LOG {line}")
    aims.at_most("errors in the log", len(errors), 0)
    aims.at_most("files left", last.files, 0)
    aims.at_most("more descriptors", last.descriptors - first.descriptors, 4)
    aims.at_most("more threads", last.threads - first.threads, 4)
    aims.at_most("more children", last.children - first.children, 0)
    if warm_up >= _WARM and not args.kills:
        grown_mb = last.resident_mb - first.resident_mb
        aims.at_most("more memory", grown_mb, _MOST_GROWTH_MB, " MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--cuts", action="store_true", help="connections break at random")
    parser.add_argument("--kills", type=int, default=0, help="kill -9 of the server, so many times")
    parser.add_argument("--idle-s", type=float, default=30, help="of sessions that are left")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    aims = Aims()
    asyncio.run(soak(args, aims))
    aims.judge()


if __name__ == "__main__":
    main()
