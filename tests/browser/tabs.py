"""Chromium by its own protocol: two tabs of one window, of which the one behind is really hidden.

Playwright can't be used for this: it makes every page believe that it is visible.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

POLL_S = 0.05


class Tabs:
    """A tab that shows a page, and an empty one to put before it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def open(self, url: str) -> None:
        targets = (await self._send("Target.getTargets"))["targetInfos"]
        self._front = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = await self._send("Target.attachToTarget", targetId=self._front, flatten=True)
        self._session = attached["sessionId"]
        await self._send("Page.navigate", session=self._session, url=url)
        self._other = (await self._send("Target.createTarget", url="about:blank"))["targetId"]
        await self.show()

    async def show(self) -> None:
        await self._send("Target.activateTarget", targetId=self._front)
        await self.until("document.visibilityState === 'visible'")

    async def hide(self) -> None:
        await self._send("Target.activateTarget", targetId=self._other)
        await self.until("document.visibilityState === 'hidden'")

    async def evaluate(self, expression: str) -> Any:
        answer = await self._send(
            "Runtime.evaluate", session=self._session, expression=expression, returnByValue=True
        )
        return answer["result"].get("value")

    async def until(self, condition: str, timeout_s: float = 15) -> None:
        for _ in range(round(timeout_s / POLL_S)):
            if await self.evaluate(condition):
                return
            await asyncio.sleep(POLL_S)
        raise TimeoutError(condition)

    async def listen(self) -> None:
        async for message in self._socket:
            answer = message.json()
            if "id" in answer:
                self._answers.pop(answer["id"]).set_result(answer)

    async def _send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        answered = self._answers[number]
        await self._socket.send_json(command)
        answer = await asyncio.wait_for(answered, 10)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result


@contextlib.asynccontextmanager
async def running_tabs(chromium: Path, flags: Sequence[str], profile: Path) -> AsyncIterator[Tabs]:
    process = await asyncio.create_subprocess_exec(
        *(str(chromium), "--headless=new", "--remote-debugging-port=0"),
        *(f"--user-data-dir={profile}", *flags, "about:blank"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            line = ""
            while "listening on " not in line:
                line = (await process.stderr.readline()).decode()
        address = line.split("listening on ")[1].strip()
        async with aiohttp.ClientSession() as client, client.ws_connect(address) as socket:
            tabs = Tabs(socket)
            listening = asyncio.create_task(tabs.listen(), name="tabs-listen")
            yield tabs
            listening.cancel()
    finally:
        process.terminate()
        await process.communicate()
