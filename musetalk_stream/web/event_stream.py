"""Events of a session or a job, as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ..sse import PING, PING_S, RETRY, Event, encode_event, parse_event_id
from .access import seconds_left, token_of_addresses
from .context import session
from .links import in_document, mounted_at
from .sending import send

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx and others would hold events back
}
# A phone that vanished never says so: the kernel gives up on unacknowledged bytes, and `send` on a
# full socket.


async def event_stream(request: web.Request) -> web.StreamResponse:
    its = session(request)
    asked = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    return await stream_events(request, its.subscribe(parse_event_id(asked)))


async def stream_events(
    request: web.Request, source: AsyncGenerator[tuple[int | None, Event], None]
) -> web.StreamResponse:
    """Events with their ids (None: without one), to their end or until the subscriber leaves."""
    prefix = mounted_at(request)
    async with aclosing(source) as events:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        await send(request, response, RETRY)
        waiting = asyncio.ensure_future(anext(events))
        try:
            while True:
                await asyncio.wait([waiting], timeout=min(PING_S, seconds_left(request)))
                if not seconds_left(request):
                    break  # who may still read it comes back with another token
                if not waiting.done():
                    await send(request, response, PING)
                    continue
                try:
                    event_id, event = waiting.result()
                except StopAsyncIteration:
                    break
                linked = in_document(event, prefix, token_of_addresses(request))
                await send(request, response, encode_event(linked, event_id))
                waiting = asyncio.ensure_future(anext(events))
        except (ConnectionError, TimeoutError):
            pass  # the subscriber has left; that is its right, and what it watched goes on
        finally:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await waiting
    return response
