"""By which name is this server asked? One without keys is for who is on this machine: a page of
somebody else must not reach it by a name that leads here (DNS rebinding), nor the world by a proxy
that was not told whom to let in."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from ..config import HttpConfig
from ..errors import ForeignHost
from ..exposure import is_loopback_name
from .access import is_closed
from .context import CONFIG

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Whatever watches over the server asks by an address of its own.
_HEALTH = ("/healthz", "/readyz")


@web.middleware
async def only_own_hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises ForeignHost."""
    http = request.app[CONFIG].http
    if not (http.no_auth or request.path in _HEALTH or is_closed(request)):
        # Of a proxy that is trusted and of any other: what is said can only lead to a refusal.
        said = request.headers.getall(hdrs.HOST, []) + request.headers.getall(
            hdrs.X_FORWARDED_HOST, []
        )
        for host in ",".join(said).split(","):
            if host and not _is_own(host.strip(), http):
                raise ForeignHost(
                    f"this server has no API keys and is not {host.strip()[:100]}: make a key "
                    "(musetalk-stream keys add), or say --no-auth if everybody may do everything"
                )
    return await handler(request)


def _is_own(host: str, http: HttpConfig) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return (name != "" and name == http.host.lower()) or is_loopback_name(name)
