"""What is counted and logged of every request, and by which id it is known."""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from ..request_context import about_session, asked, taken_request_id

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = "X-Request-Id"
TRACEPARENT = "traceparent"
# Of a problem that is answered.
CODE: web.ResponseKey[str] = web.ResponseKey("code", str)

_LONGEST_TRACEPARENT = 128  # W3C Trace Context has 55 in its first version
_REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
# A client may say any word; others would be a label each.
_METHODS = hdrs.METH_ALL


class Traffic:
    """What went over HTTP since the start. Labels are of routes and codes, so there are as many as
    there are of these.

    requests        by method, route and class of the status; "gone" where the client left before
    problems        by code
    received_bytes  of bodies and of WebSockets' messages; sent_bytes: of answers; both
                    when a request is over
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.problems: Counter[str] = Counter()
        self.received_bytes = 0
        self.sent_bytes = 0


TRAFFIC: web.AppKey[Traffic] = web.AppKey("traffic", Traffic)


def observe_requests(app: web.Application) -> None:
    """To be called before other middlewares are added: what they refuse is counted, too."""
    app[TRAFFIC] = Traffic()
    app.middlewares.append(_observed)
    app.on_response_prepare.append(_name)


@web.middleware
async def _observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    traffic, began_s, outcome = request.app[TRAFFIC], time.monotonic(), "gone"
    response: web.StreamResponse | None = None
    trace = request.headers.get(TRACEPARENT, "")[:_LONGEST_TRACEPARENT]
    with asked(_id_of(request), route_of(request), trace):
        about_session(request.match_info.get("session_id", ""))
        try:
            response = await handler(request)
            outcome = f"{response.status // 100}xx"
            if code := response.get(CODE):
                traffic.problems[code] += 1
            return response
        except web.HTTPException as exc:
            outcome = f"{exc.status // 100}xx"
            raise
        finally:
            method = request.method if request.method in _METHODS else "other"
            traffic.requests[method, route_of(request), outcome] += 1
            traffic.received_bytes += request.content.total_bytes
            sent_bytes = _sent_bytes(request, response)
            traffic.sent_bytes += sent_bytes
            if log.isEnabledFor(logging.DEBUG):
                _tell(request, method, outcome, sent_bytes, time.monotonic() - began_s)


def _sent_bytes(request: web.Request, response: web.StreamResponse | None) -> int:
    """What has been sent, or is about to be: a small answer goes out after all middlewares."""
    if response is not None and not response.prepared:
        return response.content_length or 0
    return request.writer.output_size


def _tell(request: web.Request, method: str, outcome: str, sent_bytes: int, took_s: float) -> None:
    """One line per request. Its address is told as a route: the path of a session, and a query,
    have in them what opens it."""
    told = {
        "method": method,
        "outcome": outcome,
        "duration_ms": round(took_s * 1000, 1),
        "sent_bytes": sent_bytes,
    }
    log.debug(
        "%s %s: %s after %.1f ms", method, route_of(request), outcome, took_s * 1000, extra=told
    )


def route_of(request: web.Request) -> str:
    """Which route answers, without what a client has put into the path."""
    resource = request.match_info.route.resource
    return "no route" if resource is None else resource.canonical


def _id_of(request: web.Request) -> str:
    if _REQUEST_ID not in request:
        request[_REQUEST_ID] = taken_request_id(request.headers.get(REQUEST_ID))
    return request[_REQUEST_ID]


async def _name(request: web.Request, response: web.StreamResponse) -> None:
    """Who reports a fault can say which request it was."""
    response.headers[REQUEST_ID] = _id_of(request)
