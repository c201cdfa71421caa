"""May the body of this request come? Clients that ask so first (`Expect`) hear it before they send
one; what is compressed nobody unpacks, as a kilobyte may be a gigabyte."""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from ..errors import UnsupportedEncoding
from .context import session

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def expectations(request: web.Request) -> None:
    """The framework asks this before any middleware; `bodies` answers, once they have let the
    request through."""


@web.middleware
async def bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises HTTPExpectationFailed, UnsupportedEncoding, and what there is to say of a session for
    which there need be no body."""
    if request.match_info.http_exception is not None:
        return await handler(request)
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding.lower() != "identity" and request.body_exists:
        raise UnsupportedEncoding(f"Content-Encoding: {encoding[:40]}: send it as it is")
    if expected := request.headers.get(hdrs.EXPECT):
        await _answer(request, expected)
    return await handler(request)


async def _answer(request: web.Request, expected: str) -> None:
    if expected.lower() != "100-continue":
        raise web.HTTPExpectationFailed(
            text=f"Expect: {expected[:40]} can't be met; possible: 100-continue"
        )
    if "session_id" in request.match_info:
        session(request)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer itself has not begun
