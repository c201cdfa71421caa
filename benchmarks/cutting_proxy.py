"""A way to a server on which connections break and bytes come late, at random."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PIECE_BYTES = 16384


class CuttingProxy:
    """TCP to a port of this machine.

    cuts  how many connections it has broken so far
    """

    def __init__(self, port: int, chance: random.Random) -> None:
        self._port = port
        self._chance = chance
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CuttingProxy"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        # A third of them break, after a time that most requests do not need, or in their middle.
        lasts_s = self._chance.expovariate(1 / 2.0) if self._chance.random() < 0.33 else None
        pipes = [
            asyncio.ensure_future(self._pipe(reader, far_writer)),
            asyncio.ensure_future(self._pipe(far_reader, writer)),
        ]
        try:
            ended, _ = await asyncio.wait(
                pipes, timeout=lasts_s, return_when=asyncio.FIRST_COMPLETED
            )
            self.cuts += not ended
            for each in (writer, far_writer):
                each.close() if ended else each.transport.abort()
        except asyncio.CancelledError:  # all of it ends
            pass
        finally:
            for pipe in pipes:
                pipe.cancel()
            writer.close()
            far_writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either side ends it."""
        while data := await self._read(reader):
            if self._chance.random() < 0.1:
                await asyncio.sleep(self._chance.uniform(0, 0.1))
            writer.write(data)
            with contextlib.suppress(ConnectionError):  # the next piece is none
                await writer.drain()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(_PIECE_BYTES)
        except ConnectionError:
            return b""
