"""How much may who asks? Requests per second and uploaded bytes per hour, of each API key and of
each address; a token counts as its key at an address.

What is asked for from this machine itself, without a key, is not limited: who can do that has other
ways to keep it busy, and behind a proxy that nobody has named all the world would count as one.
"""

import logging
import math
import sys
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from ..config import LimitsConfig
from ..errors import Forbidden, QuotaExceeded, RateLimited, Unauthorized
from ..rates import RateLimit
from .access import authorize, caller
from .context import CONFIG
from .peers import (
    FORWARDED_FOR,
    client_address,
    client_network,
    comes_from_proxy,
    forwarded,
)

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What comes at once is a page with its forty modules, or several behind one address.
_AT_ONCE_S = 10.0
_HOUR_S = 3600.0
# The files of pages come by the dozen and cost little.
_FILES, _FILE_UNITS = ("/client/", "/static/"), 0.1
# How the server is must always be told.
_HEALTH = ("/healthz", "/readyz")
# Of a body of unknown length: when it is worth while to go on.
_WORTH_WHILE_BYTES = 10**6
# How much of the body has been counted.
_COUNTED: web.RequestKey[int] = web.RequestKey("counted", int)


class Limits:
    """What was asked for lately. None where there is no limit."""

    def __init__(self, config: LimitsConfig) -> None:
        self.of_keys = _per_second(config.rate_per_key)
        self.of_addresses = _per_second(config.rate_per_address)
        bytes_per_hour = config.upload_mb_per_hour * 10**6
        self.of_uploads = (
            RateLimit(bytes_per_hour / _HOUR_S, bytes_per_hour) if bytes_per_hour else None
        )
        self.has_seen_proxy = False


LIMITS: web.AppKey[Limits] = web.AppKey("limits", Limits)


def limit(app: web.Application) -> None:
    """Every request is counted, from here on."""
    app[LIMITS] = Limits(app[CONFIG].limits)
    app.middlewares.append(rates)


@web.middleware
async def rates(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts what is asked for, and what is refused for want of a key, too. Raises RateLimited,
    and what `authorize` does."""
    if request.path in _HEALTH:
        return await handler(request)
    _remark_on_proxy(request)
    limits = request.app[LIMITS]
    try:
        authorize(request)
    except (Unauthorized, Forbidden):
        _count(request, limits.of_addresses, _name_of_address(request))
        raise
    if key_id := _key_id(request):
        _count(request, limits.of_keys, key_id)
    else:
        _count(request, limits.of_addresses, _name_of_address(request))
    try:
        return await handler(request)
    finally:
        _spend_rest(request)


def require_quota(request: web.Request) -> None:
    """What a body says of its size must fit. Raises QuotaExceeded."""
    limit, name = request.app[LIMITS].of_uploads, _uploader(request)
    if limit is not None and name and request.content_length:
        wait_s = limit.wait_s(name, request.content_length, time.monotonic())
        if wait_s:
            raise _quota_exceeded(request, wait_s)


def spend_body(request: web.Request) -> None:
    """What has come of the body since this was last asked, with all that is around its parts.
    Raises QuotaExceeded."""
    spend(request, _uncounted_bytes(request))


def _uncounted_bytes(request: web.Request) -> int:
    """They count from here on."""
    counted: int = request.get(_COUNTED, 0)
    request[_COUNTED] = max(counted, request.content.total_bytes)
    return max(0, request.content.total_bytes - counted)


def _spend_rest(request: web.Request) -> None:
    """Of what is over: bodies that are no uploads, and what nobody has read."""
    limit, name = request.app[LIMITS].of_uploads, _uploader(request)
    if limit is not None and name:
        limit.use(name, _uncounted_bytes(request), time.monotonic())


def spend(request: web.Request, num_bytes: int) -> None:
    """Bytes that have come. Raises QuotaExceeded."""
    limit, name = request.app[LIMITS].of_uploads, _uploader(request)
    if limit is None or not name:
        return
    if wait_s := limit.take(name, num_bytes, now_s := time.monotonic()):
        if num_bytes < _WORTH_WHILE_BYTES < limit.at_once:
            wait_s = limit.wait_s(name, _WORTH_WHILE_BYTES, now_s)
        raise _quota_exceeded(request, wait_s)


def _quota_exceeded(request: web.Request, wait_s: float) -> QuotaExceeded:
    request[_COUNTED] = sys.maxsize  # what is refused costs nothing, or waiting would be in vain
    quota = f"{request.app[CONFIG].limits.upload_mb_per_hour:g} MB"
    if math.isinf(wait_s):
        error = QuotaExceeded(f"{quota} may be uploaded within an hour, and this is more")
        error.retryable = False
        return error
    seconds = math.ceil(wait_s)
    return QuotaExceeded(
        f"{quota} may be uploaded within an hour, and were: try again in {seconds} s", seconds
    )


def _count(request: web.Request, limit: RateLimit | None, name: str) -> None:
    if limit is None or not name:
        return
    units = _FILE_UNITS if request.path.startswith(_FILES) else 1.0
    if wait_s := limit.take(name, units, time.monotonic()):
        seconds = math.ceil(wait_s)
        raise RateLimited(f"these are too many requests at once: wait {seconds} s", seconds)


def _key_id(request: web.Request) -> str:
    """Of who has an API key; empty for who has a token, or neither."""
    asking = caller(request)
    return asking.key_id if asking.session_id is None else ""


def _name_of_address(request: web.Request) -> str:
    """Empty for what is not limited: who asks from this machine, and by no proxy of ours."""
    if client_address(request).is_loopback and forwarded(request, FORWARDED_FOR) is None:
        return ""
    return f"{caller(request).key_id} {client_network(request)}"


def _uploader(request: web.Request) -> str:
    return _key_id(request) or _name_of_address(request)


def _per_second(rate: float) -> RateLimit | None:
    return RateLimit(rate, max(1.0, rate * _AT_ONCE_S)) if rate else None


def _remark_on_proxy(request: web.Request) -> None:
    """Says once that limits can't tell the clients of a proxy apart."""
    limits = request.app[LIMITS]
    if limits.has_seen_proxy or FORWARDED_FOR not in request.headers:
        return
    if not comes_from_proxy(request) and client_address(request).is_private:
        limits.has_seen_proxy = True
        log.warning(
            "%s sends X-Forwarded-For and is not among trusted_proxies: if it is a proxy of yours, "
            "name it there; until then its clients count as one, or are not limited at all if it "
            "runs on this machine",
            client_address(request),
        )
