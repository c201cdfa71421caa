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
from enum import Enum, auto
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


class Setting(Enum):
    """How an engine is set up."""

    USUAL = auto()  # pages may play sound unasked, as a WebView is configured to
    WANTS_GESTURE = auto()  # before there is sound
    LITTLE_ROOM = auto()  # for media


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

    async def until(self, function: str, *arguments: object, within_s: float = 30) -> Any:
        """What a function returns as soon as that is true of it."""
        found = await self.evaluate(
            f"(args, ms) => ({_UNTIL})({function}, args, ms)", arguments, within_s * 1000
        )
        assert found, f"not so within {within_s} s: {function} of {arguments}"
        return found


class Engine(ABC):
    """A running browser."""

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


class Program:
    """A running program, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._dropping: asyncio.Task[None] | None = None

    async def says(self, pattern: str, within_s: float = 30) -> str:
        """The first group of `pattern` in the first line that has it. What it says from then on is
        read and dropped, so that it never waits for us."""
        assert self._process.stdout is not None
        seen = []
        async with asyncio.timeout(within_s):
            while line := (await self._process.stdout.readline()).decode(errors="replace"):
                seen.append(line)
                if found := re.search(pattern, line):
                    self._dropping = asyncio.create_task(self.drop(), name="drop")
                    return found[1]
        raise AssertionError(f"the program ended, saying {''.join(seen)!r}")

    async def drop(self) -> None:
        """Read to the end, which comes when nobody is left who could write."""
        assert self._process.stdout is not None
        while await self._process.stdout.read(65536):
            pass

    async def end(self) -> None:
        """End it, and everything that it has started."""
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):  # then it is made to
            await asyncio.wait_for(self._process.wait(), STOP_WITHIN_S)
        self._signal(signal.SIGKILL)
        await self._process.wait()
        await asyncio.wait_for(self._dropping or self.drop(), STOP_WITHIN_S)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # all of the group are gone
            os.killpg(self._process.pid, number)


@asynccontextmanager
async def running(
    *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """A program that lives inside the block; what it writes to stderr is among what it says."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,  # a process group, which ends as one
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.end()
