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
from .peers import FORWARDED_FOR, without_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REAL_IP = "X-Real-IP"
_ADVICE = "make a key (musetalk-stream keys add), or say --no-auth if everybody may do everything"
# Whatever watches over the server asks by an address of its own.
_HEALTH = ("/healthz", "/readyz")


@web.middleware
async def only_own_hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises ForeignHost."""
    http = request.app[CONFIG].http
    if not (http.no_auth or request.path in _HEALTH or is_closed(request)):
        # Of a proxy that is trusted and of any other: what is said can only lead to a refusal.
        for host in _said(request, hdrs.HOST, hdrs.X_FORWARDED_HOST):
            if not _is_own(host, http):
                raise ForeignHost(f"this server has no API keys and is not {host[:100]}: {_ADVICE}")
        # A stranger may say any host, but a proxy adds from where it is asked.
        for address in _said(request, FORWARDED_FOR, _REAL_IP):
            if not is_loopback_name(without_port(address)):
                raise ForeignHost(
                    f"this server has no API keys and is asked from {address[:100]}: {_ADVICE}"
                )
    return await handler(request)


def _said(request: web.Request, *names: str) -> list[str]:
    """All values of some headers."""
    values = ",".join(value for name in names for value in request.headers.getall(name, []))
    return [value for each in values.split(",") if (value := each.strip())]


def _is_own(host: str, http: HttpConfig) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return (name != "" and name == http.host.lower()) or is_loopback_name(name)
