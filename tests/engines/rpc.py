"""JSON commands over a WebSocket, as WebDriver BiDi and Chromium's DevTools have them."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

Json = dict[str, Any]

ANSWER_WITHIN_S = 60  # no command waits longer than a test may
MAX_MESSAGE_BYTES = 32 * 2**20  # a screenshot, in base64


class CommandFailed(Exception):
    """The engine refused a command, or the script that it ran raised."""


class Rpc:
    """Numbered commands and their answers; events are passed over."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._last_id = 0
        self._reading = asyncio.create_task(self._read(), name="rpc-read")

    @classmethod
    async def connect(cls, url: str) -> "Rpc":
        return cls(await connect(url, max_size=MAX_MESSAGE_BYTES, ping_interval=None))

    async def close(self) -> None:
        await self._connection.close()
        await self._reading

    async def __call__(self, method: str, **params: Any) -> Json:
        return await self.call(method, params)

    async def call(self, method: str, params: Json, **envelope: str) -> Json:
        """The command's result; `envelope`: what goes beside `params`."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params, **envelope}
        answer = self._waiting[self._last_id] = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps(message))
        async with asyncio.timeout(ANSWER_WITHIN_S):
            said = await answer
        if "error" in said:
            raise CommandFailed(f"{method}: {said.get('message') or said['error']}")
        result: Json = said["result"]
        return result

    async def _read(self) -> None:
        with suppress(ConnectionClosedError):  # the engine has crashed; those who wait are told
            async for text in self._connection:
                message = json.loads(text)
                answer = self._waiting.pop(message.get("id"), None)
                if answer is not None and not answer.done():
                    answer.set_result(message)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(CommandFailed("the engine has gone"))
        self._waiting.clear()
