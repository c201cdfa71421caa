"""What every answer tells a browser: not to guess its type, not to tell others its address, who may
take it, and what a page may load and do."""

from functools import lru_cache

from aiohttp import hdrs, web

from ..config import HttpConfig, listed
from ..exposure import is_loopback_name
from .context import CONFIG
from .links import host_name, origin
from .peers import is_secure

_PLAYER = "/player/session/{session_id}"  # the one page that others may frame
_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # addresses carry tokens
    "Server": "musetalk-stream",  # and not which version of what
}
# What is no page runs nothing. A picture or a film that is opened by itself is shown in a page of
# the browser's own, which has a style.
_NO_PAGE = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'"
)
# Of an answer to what is no request, and so has no path.
WITHOUT_REQUEST = {
    **_EVERY_ANSWER,
    "Content-Security-Policy": _NO_PAGE,
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Chunks and loops are played from memory (blob:), from where styles come, too, in browsers that
# can't make sheets; the icon is data:, a poster may be anywhere.
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self' blob:; "
    "img-src {images} data: blob:; media-src 'self' blob:; connect-src 'self' {socket}; "
    "frame-src 'self'; base-uri 'none'; form-action 'self'"
)
# Pages record what is said to them. All else that asks a person they never need.
_PERMISSIONS = (
    "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()"
)
_HSTS = "max-age=31536000"


def protect(app: web.Application) -> None:
    """Every answer has these headers, from here on."""
    app.on_response_prepare.append(_add_headers)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    headers = response.headers
    headers.update(_EVERY_ANSWER)
    # `cors` knows more of who asks.
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    if response.content_type == "text/html":
        resource = request.match_info.route.resource
        is_player = resource is not None and resource.canonical == _PLAYER
        headers["Content-Security-Policy"] = _policy(request, is_player)
        headers["Permissions-Policy"] = _PERMISSIONS
        if not is_player:  # which apps may open in a window of its own, and talk to
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
    else:
        headers["Content-Security-Policy"] = _NO_PAGE
    # Browsers would take it for all ports of localhost, where other things run.
    name = host_name(request)
    if is_secure(request) and name and not is_loopback_name(name):
        headers[hdrs.STRICT_TRANSPORT_SECURITY] = _HSTS


def _policy(request: web.Request, is_player: bool) -> str:
    # Older Safari takes 'self' for https: alone.
    socket = origin(request).replace("http", "ws", 1)
    policy = _PAGE.format(images="*" if is_player else "'self'", socket=socket)
    ancestors = _ancestors(request.app[CONFIG].http) if is_player else "'none'"
    # `*` would leave out apps, whose pages have schemes of their own.
    return policy if ancestors == "*" else f"{policy}; frame-ancestors {ancestors}"


@lru_cache(maxsize=16)
def _ancestors(http: HttpConfig) -> str:
    """The start page frames the player, too."""
    origins = listed(http.frame_ancestors)
    return "*" if "*" in origins else " ".join(("'self'", *origins))
