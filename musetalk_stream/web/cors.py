"""Cross-origin requests: an app may embed the stream in a page of its own origin."""

from collections.abc import Awaitable, Callable
from functools import wraps
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from ..config import HttpConfig
from ..errors import ForeignOrigin
from .context import CONFIG

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_EXPOSED = (
    "Content-Length, Content-Range, ETag, Idempotency-Replayed, Location, Retry-After, "
    "WWW-Authenticate, X-Request-Id"
)
_PREFLIGHT_HEADERS = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST, PUT, DELETE",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, Idempotency-Key, "
    "Last-Event-ID, Range, traceparent, X-Request-Id",
    hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
}


def allow_origins(app: web.Application, origins: str) -> None:
    """`origins`: comma-separated, `*` for all, empty for none."""
    allowed = _listed(origins)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        origin = "*" if "*" in allowed else request.headers.get(hdrs.ORIGIN)
        if allowed and origin != "*":
            response.headers.add(
                hdrs.VARY, hdrs.ORIGIN
            )  # also where it is refused: caches must know
        if allowed and response.content_type.startswith(("image/", "video/")):
            # Tags ask for these without saying whose page they are in.
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if origin not in allowed:
            return
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
        # Pages that isolate themselves (COEP) only take what says that it may be taken.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    app.on_response_prepare.append(add_headers)
    app.middlewares.append(_preflight)


def not_for_strangers(handler: Handler) -> Handler:
    """Any website that somebody visits can send requests to a server on their machine. What is no
    app's business, to change avatars or to learn what there is, is for our own pages, for origins
    that are listed by name, and for who is no browser."""

    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not _is_known(origin, request.host, request.app[CONFIG].http):
            raise ForeignOrigin(
                f"pages of {origin[:100]} may not ask for this, unless cors_origins lists that "
                "origin (* does not count)"
            )
        return await handler(request)

    return guarded


def from_allowed_origins(handler: Handler) -> Handler:
    """Browsers ask nobody before they open a WebSocket, so it is for us to look at the origin: our
    own pages may, and those that `cors_origins` allows."""

    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        origin, http = request.headers.get(hdrs.ORIGIN), request.app[CONFIG].http
        is_open = origin is None or "*" in _listed(http.cors_origins)
        if not is_open and not _is_known(str(origin), request.host, http):
            raise ForeignOrigin(
                f"pages of {str(origin)[:100]} may not connect here, unless cors_origins lists "
                "that origin"
            )
        return await handler(request)

    return guarded


def _is_known(origin: str, host: str, config: HttpConfig) -> bool:
    if origin in _listed(config.cors_origins) - {"*"}:
        return True
    try:
        asking, public = urlsplit(origin), urlsplit(config.public_url)
    except ValueError:
        return False
    return asking.netloc.lower() in {host.lower(), public.netloc.lower()} - {""}


def _listed(origins: str) -> set[str]:
    return {origin.strip() for origin in origins.split(",") if origin.strip()}


@web.middleware
async def _preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
    if request.method == hdrs.METH_OPTIONS and asked is not None:
        return web.Response(status=204, headers=_PREFLIGHT_HEADERS)
    return await handler(request)
