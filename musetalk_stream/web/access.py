"""Who sends a request, and may they?"""

from aiohttp import web

from ..access import ANYBODY, Caller

_CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


def caller(request: web.Request) -> Caller:
    asking: Caller = request.get(_CALLER, ANYBODY)
    return asking
