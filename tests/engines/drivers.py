"""One small way to drive every engine: windows that load pages, run functions and take clicks."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

WIDTH, HEIGHT = 480, 480  # of a window's picture, in pixels
STOP_WITHIN_S = 5

# Looks as often as a screen is drawn; where timers are throttled, as often as they allow.
_UNTIL = """async (isSo, args, ms) => {
  const end = Date.now() + ms;
  for (;;) {
    const found = await isSo(...args);
    if (found || Date.now() >= end) return found || null;
    await new Promise((resolve) => setTimeout(resolve, 16));
  }
}"""


class NotInstalled(Exception):
    """This engine isn't on this machine; the message says which package brings it."""


class Tab(ABC):
    """One page in a window of its own, in front."""

    @abstractmethod
    async def goto(self, url: str) -> None:
        """Load a page; returns when its document is there."""

    @abstractmethod
    async def click(self, x: int, y: int) -> None:
        """As a finger does, which counts as a gesture of the viewer."""

    @abstractmethod
    async def screenshot(self) -> bytes:
        """What the viewer sees, PNG."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _call(self, function: str, argument: str) -> str:
        """What an async function of the page makes of a text; it never counts as a gesture."""

    async def evaluate(self, function: str, *arguments: object) -> Any:
        """What a function, async or not, returns in the page. Arguments and result are JSON."""
        text = await self._call(
            f"async (text) => JSON.stringify((await ({function})(...JSON.parse(text))) ?? null)",
            json.dumps(arguments),
        )
        return json.loads(text)

    async def until(self, function: str, *arguments: object, within_s: float = 15) -> Any:
        """What a function returns as soon as that is true of it."""
        found = await self.evaluate(
            f"(args, ms) => ({_UNTIL})({function}, args, ms)", arguments, within_s * 1000
        )
        assert found, f"not so within {within_s} s: {function} of {arguments}"
        return found


class Engine(ABC):
    """A running browser. It plays sound unasked, unless a tab is opened that `asks`."""

    name: str

    @abstractmethod
    async def open(self) -> Tab:
        """A new window."""

    @abstractmethod
    async def close(self) -> None:
        """End the browser, and everything it has started."""


def find_program(package: str, *names: str) -> str:
    """The path of the first of these programs that is here. Raises NotInstalled."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise NotInstalled(f"{names[0]} isn't installed (apt-get install {package})")


@asynccontextmanager
async def running(
    *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process whose stdout is to be read and whose stderr joins it; inside the block it lives,
    afterwards nothing of it does, nor of what it has started."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,  # a process group, which ends as one
    )
    try:
        yield process
    finally:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):  # then it is made to
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all of the group are gone
        os.killpg(process.pid, number)


async def said_by(process: asyncio.subprocess.Process, pattern: str, within_s: float = 30) -> str:
    """The first group of `pattern` in the first line of output that has it. What the process says
    from then on is read and dropped, so that it never waits for us."""
    assert process.stdout is not None
    seen = []
    async with asyncio.timeout(within_s):
        while line := (await process.stdout.readline()).decode(errors="replace"):
            seen.append(line)
            if found := re.search(pattern, line):
                drop = asyncio.create_task(_drop(process.stdout), name=f"drop-{process.pid}")
                _dropping.add(drop)
                drop.add_done_callback(_dropping.discard)
                return found[1]
    raise AssertionError(f"the process ended, saying {''.join(seen)!r}")


_dropping: set[asyncio.Task[None]] = set()  # each ends with its process


async def _drop(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
