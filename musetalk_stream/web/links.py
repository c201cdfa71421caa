"""Where clients find this server: behind a proxy, under another scheme and host, and maybe below a
path of theirs (`X-Forwarded-Prefix`), as proxies say that are trusted.

Handlers write addresses as this server sees them, `/sessions/…`. What goes out begins with the
prefix: answers here, events in `event_stream`, pages in `pages`. Lists of HLS have relative ones.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from yarl import URL

from ..errors import BadRequest, InvalidParameter
from .access import token_of_addresses, with_token
from .context import CONFIG
from .peers import forwarded

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Of a document: members that stay, as clients append them to an address that has the prefix.
APPENDED: web.ResponseKey[tuple[str, ...]] = web.ResponseKey("appended", tuple)

_PREFIX_HEADER = "X-Forwarded-Prefix"
_MAX_PREFIX = 256
# RFC 3986 §2.3 (unreserved), §3.3 (segments); those of dots alone would lead elsewhere.
_PATH = re.compile(r"(?:/(?!\.+(?:/|$))[A-Za-z0-9._~-]+)*")
_HOST = re.compile(
    r"(?:(?P<name>[A-Za-z0-9._-]{1,253})|\[(?P<address>[0-9A-Fa-f:.]{2,45})\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@web.middleware
async def links(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every address in an answer the prefix. Raises BadRequest where it, or the host, can't
    be one."""
    prefix = _require_prefix(request)
    _require_host(request)
    response = await handler(request)
    if not isinstance(response, web.Response):
        return response  # a file, or one that has begun
    if response.content_type == "application/json":
        response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        token = token_of_addresses(request)
        if prefix or token:
            _rewrite(response, prefix, token)
    if prefix and (location := response.headers.get(hdrs.LOCATION)):
        response.headers[hdrs.LOCATION] = with_prefix(location, prefix)
    return response


def mounted_at(request: web.Request) -> str:
    """The path under which clients find this server: empty, or `/avatar`."""
    return _read_prefix(request) or ""


def full_url(request: web.Request, path: str) -> str:
    """The address by which clients find what is at `path` here. `public_url` is where, if it is
    configured: with a path, it is all of it."""
    public = request.app[CONFIG].http.public_url.rstrip("/")
    if public and URL(public).path != "/":
        return public + path
    return (public or origin(request)) + mounted_at(request) + path


def with_prefix(address: str, prefix: str) -> str:
    """Of our own addresses, which are paths; others stay as they are."""
    return prefix + address if _is_ours(address) else address


def _is_ours(address: str) -> bool:
    return address.startswith("/") and not address.startswith("//")


def in_document(document: Any, prefix: str, token: str = "") -> Any:
    """JSON whose addresses begin with the prefix, and have the token in their query. They are in
    members named `url` or `…_url`."""
    if not (prefix or token):
        return document
    if isinstance(document, list | tuple):
        return [in_document(each, prefix, token) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        name: _linked(value, prefix, token)
        if isinstance(value, str) and (name == "url" or name.endswith("_url"))
        else in_document(value, prefix, token)
        for name, value in document.items()
    }


def _linked(address: str, prefix: str, token: str) -> str:
    ours = with_prefix(address, prefix) if prefix else address
    return with_token(ours, token) if _is_ours(address) else ours


def _rewrite(response: web.Response, prefix: str, token: str) -> None:
    document = json.loads(response.text or "null")
    prefixed = in_document(document, prefix, token)
    for name in response.get(APPENDED, ()):
        prefixed[name] = document[name]
    response.text = json.dumps(prefixed)


def _read_prefix(request: web.Request) -> str | None:
    """None if what the proxy says can't be one."""
    prefix = (forwarded(request, _PREFIX_HEADER) or "").removesuffix("/")
    return prefix if len(prefix) <= _MAX_PREFIX and _PATH.fullmatch(prefix) else None


def _require_prefix(request: web.Request) -> str:
    """Raises InvalidParameter: a wrong prefix is a mistake of whoever set up the proxy, and links
    that lead nowhere would hide it."""
    prefix = _read_prefix(request)
    if prefix is None:
        raise InvalidParameter(
            _PREFIX_HEADER,
            f"must be a path such as /avatar, once, of at most {_MAX_PREFIX} letters, digits and "
            "- . _ ~ between single slashes; see how the proxies in front are configured",
        )
    return prefix


def _require_host(request: web.Request) -> None:
    """Raises BadRequest: apps open the address that is made of it. HTTP/1.0 needs none."""
    if hdrs.HOST in request.headers and not host_name(request):
        raise BadRequest("Host: must be a name or an address, and a port where it is another")


def host_name(request: web.Request) -> str:
    """By which the server is asked, without a port; empty if what is said can be none."""
    return _name_of(request.host)


def _name_of(host: str) -> str:
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return ""
    return match["name"] or match["address"]


def origin(request: web.Request) -> str:
    """Scheme and host, as clients see them; empty if the host can be none. What else can't be one
    is left aside: some proxies call the scheme wss."""
    scheme = _first(forwarded(request, "X-Forwarded-Proto"))
    told = _first(forwarded(request, "X-Forwarded-Host"))
    host = next(filter(_name_of, (told, request.host)), "")
    scheme = scheme if scheme in ("http", "https") else request.scheme
    return f"{scheme}://{host}" if host else ""


def _first(told: str | None) -> str:
    """Of several proxies in a row, each of which adds its own, what the outermost saw."""
    return (told or "").partition(",")[0].strip()
