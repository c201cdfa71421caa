"""The way between an engine and the server, on which faults happen: the same for every engine."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import (
    ClientConnectionResetError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    web,
)
from multidict import CIMultiDict

# These belong to one connection, not to what goes over it (RFC 9110, 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "te", "transfer-encoding", "upgrade"}
PIECE_BYTES = 8192
POLICY = "Content-Security-Policy"


@dataclass
class Fault:
    """What becomes of requests whose path and query `pattern` matches.

    times      how many of them; None: all
    delay_s    how long they wait
    gate       what they wait for, too
    status     what they get for an answer, or
    is_cut     they get none, the connection just ends
    """

    pattern: str
    times: int | None = None
    delay_s: float = 0
    gate: asyncio.Event | None = None
    status: int | None = None
    is_cut: bool = False

    def takes(self, path: str) -> bool:
        """Whether this request is concerned, which then counts as one of them."""
        if self.times == 0 or re.search(self.pattern, path) is None:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Wire:
    """An HTTP proxy that breaks what it is told to, and puts scripts before those of pages.

    bytes_per_s   of each answer; None: as fast as it goes
    asked         how often each path was asked for, without its query
    """

    def __init__(self, upstream: ClientSession) -> None:
        self._upstream = upstream
        self._requests: dict[int, web.BaseRequest] = {}
        self._scripts: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.bytes_per_s: float | None = None
        self.is_open = True
        self.asked: Counter[str] = Counter()
        self.url = ""

    def inject(self, path: str, script: str) -> None:
        """Have a page begin with a script."""
        self._scripts[path] = script

    def mend(self) -> None:
        """No faults any more."""
        self.faults.clear()
        self.bytes_per_s = None
        self.is_open = True

    def cut(self, pattern: str = "") -> int:
        """Break the connections of all requests that are being answered; how many they were."""
        found = [each for each in self._requests.values() if re.search(pattern, each.path_qs)]
        for request in found:
            _break(request)
        return len(found)

    async def pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, from the engine to the server and back."""
        self.asked[request.path] += 1
        if not self.is_open:
            return _break(request)
        for fault in [fault for fault in self.faults if fault.takes(request.path_qs)]:
            await asyncio.sleep(fault.delay_s)
            if fault.gate is not None:
                await fault.gate.wait()
            if fault.is_cut:
                return _break(request)
            if fault.status is not None:
                return web.Response(status=fault.status, text="a fault on the wire")
        return await self._forward(request)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        script = self._scripts.get(request.path)
        dropped = HOP_BY_HOP | ({"accept-encoding", "if-none-match"} if script else set())
        async with self._upstream.request(
            request.method,
            request.path_qs,
            headers=_without(dropped, request.headers),
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            if script:
                return await _beginning_with(script, answer)
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(_without(HOP_BY_HOP, answer.headers))
            await self._stream(request, response, answer)
            return response

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, answer: ClientResponse
    ) -> None:
        self._requests[id(request)] = request
        try:
            await response.prepare(request)
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                if self.bytes_per_s is not None:
                    await asyncio.sleep(len(piece) / self.bytes_per_s)
                await response.write(piece)
        except ClientConnectionResetError:
            pass  # the engine wants no more, or was cut off
        except ClientPayloadError:
            _break(request)  # as the server did
        finally:
            del self._requests[id(request)]


async def _beginning_with(script: str, page: ClientResponse) -> web.Response:
    """A page under its own policy, which lets the script pass, too."""
    text = (await page.text()).replace("<head>", f"<head><script nonce=wire>{script}</script>")
    policy = page.headers[POLICY].replace("script-src ", "script-src 'nonce-wire' ")
    headers = {POLICY: policy}
    return web.Response(status=page.status, text=text, content_type="text/html", headers=headers)


def _without(names: set[str], headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in names
    )


def _break(request: web.BaseRequest) -> web.Response:
    """End its connection, without a word; the answer that this returns reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@asynccontextmanager
async def wire_to(server_url: str) -> AsyncIterator[Wire]:
    """A wire that lives inside the block."""
    async with ClientSession(
        server_url, auto_decompress=False, timeout=ClientTimeout(total=None)
    ) as upstream:
        wire = Wire(upstream)
        server = web.Server(wire.pass_on, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=1, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            wire.url = f"http://{host}:{port}"
            yield wire
        finally:
            wire.cut()
            await runner.cleanup()
