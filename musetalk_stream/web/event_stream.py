"""Events of a session or a job, as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from aiohttp import web

from ..errors import TooManyConnections
from ..events import LoggedEvent
from ..sse import PING, PING_S, RETRY, Event, encode_event, parse_event_id
from .access import seconds_left, token_of_addresses
from .context import session
from .links import in_document, mounted_at
from .sending import send

# Of one session: whoever has its token must not take all connections of the server.
MOST_SUBSCRIBERS = 1000
_TRY_AGAIN_S = 5
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx and others would hold events back
}
# A phone that vanished never says so: the kernel gives up on unacknowledged bytes, and `send` on a
# full socket.


async def event_stream(request: web.Request) -> web.StreamResponse:
    its = session(request)
    if its.subscribers >= MOST_SUBSCRIBERS:
        raise TooManyConnections(
            f"{its.subscribers} event streams of this session are open, as many as may be: close "
            "some, or give viewers sessions of their own",
            retry_after_s=_TRY_AGAIN_S,
        )
    asked = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    patience_s = partial(_patience_s, request)
    return await stream_events(request, its.subscribe(parse_event_id(asked), patience_s))


def _patience_s(request: web.Request) -> float:
    """Until a quiet stream is kept awake, or looks whether it may go on."""
    return min(PING_S, seconds_left(request))


async def one_by_one(
    request: web.Request, source: AsyncGenerator[tuple[int | None, Event], None]
) -> AsyncGenerator[list[LoggedEvent], None]:
    """The events of a source that knows of no patience, as `stream_events` takes them."""
    async with aclosing(source) as events:
        waiting = asyncio.ensure_future(anext(events))
        try:
            while True:
                await asyncio.wait([waiting], timeout=_patience_s(request))
                if not waiting.done():
                    yield []
                    continue
                try:
                    entry = LoggedEvent(*waiting.result())
                except StopAsyncIteration:
                    return
                yield [entry]
                waiting = asyncio.ensure_future(anext(events))
        finally:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await waiting


async def stream_events(
    request: web.Request, source: AsyncGenerator[list[LoggedEvent], None]
) -> web.StreamResponse:
    """Events, to their end or until the subscriber leaves. Those that come together are sent
    together; where none has come for a while, a heartbeat is."""
    prefix = mounted_at(request)
    async with aclosing(source) as batches:
        response = web.StreamResponse(headers=_HEADERS)
        try:
            await response.prepare(request)
            await send(request, response, RETRY)
            async for entries in batches:
                if not seconds_left(request):
                    break  # who may still read it comes back with another token
                token = token_of_addresses(request)
                messages = [_wire(entry, prefix, token) for entry in entries]
                await send(request, response, b"".join(messages) or PING)
        except (ConnectionError, TimeoutError):
            pass  # the subscriber has left; that is its right, and what it watched goes on
    return response


def _wire(entry: LoggedEvent, prefix: str, token: str) -> bytes:
    if prefix or token:
        return encode_event(in_document(entry.event, prefix, token), entry.id)
    return entry.wire()
