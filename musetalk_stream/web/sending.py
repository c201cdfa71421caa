"""How do bytes get to clients that may be slow, or gone?"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

# Half of what the framework hands to the socket before it waits: time-outs count pieces of so much.
_PIECE_BYTES = 32 << 10


@dataclass
class Sending:
    """Of all connections of a server.

    patience_s   without the client taking any more of an answer, after which its connection ends
    cut_off      connections that ended so
    in_progress  answers that are being sent now, event streams and pages aside
    """

    patience_s: float = 20.0
    cut_off: int = 0
    in_progress: int = 0

    @contextmanager
    def answer(self) -> Iterator[None]:
        self.in_progress += 1
        try:
            yield
        finally:
            self.in_progress -= 1

    async def until_done(self, timeout_s: float) -> None:
        """Returns when all that is being sent has been, or after that time."""
        end_s = asyncio.get_running_loop().time() + timeout_s
        while self.in_progress and asyncio.get_running_loop().time() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


SENDING: web.AppKey[Sending] = web.AppKey("sending", Sending)


async def send(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Raises TimeoutError when the client has not taken any more for `patience_s`: its connection
    has ended then, as nothing that is sent later could reach it."""
    view = memoryview(data)
    for start in range(0, len(view), _PIECE_BYTES):
        with _cut_off(request):
            async with asyncio.timeout(request.app[SENDING].patience_s):
                await response.write(view[start : start + _PIECE_BYTES])


async def finish(request: web.Request, response: web.StreamResponse) -> None:
    """Likewise, for the end of an answer."""
    with _cut_off(request):
        async with asyncio.timeout(request.app[SENDING].patience_s):
            await response.write_eof()


@contextmanager
def _cut_off(request: web.Request) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        request.app[SENDING].cut_off += 1
        if request.transport is not None:
            request.transport.abort()  # to close it would wait for the client
        raise
