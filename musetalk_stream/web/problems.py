"""Errors as clients see them: problem documents (RFC 9457), or a page where one was asked for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import Busy, MuseTalkStreamError, StorageFull, Unauthorized
from .links import mounted_at
from .pages import problem_page
from .telemetry import CODE, route_of

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Codes of what the framework itself refuses.
FRAMEWORK_CODES = {
    400: "bad_request",
    403: "not_found",
    404: "not_found",
    405: "method_not_allowed",
    412: "precondition_failed",
    413: "upload_too_large",
    416: "range_not_satisfiable",
    417: "expectation_failed",
    426: "upgrade_required",
}


def without_bad_bytes(record: logging.LogRecord) -> bool:
    """A log filter: what is not HTTP is the client's mistake, not an error of ours to trace; and
    clients leave when they like, also in the middle of an answer."""
    exc = record.exc_info[1] if record.exc_info else None
    if isinstance(exc, ConnectionError):
        return False
    if isinstance(exc, HttpProcessingError | web.RequestPayloadError):
        if not log.isEnabledFor(logging.DEBUG):  # anybody could fill the log; they are counted
            return False
        record.exc_info = None
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        record.msg = f"{record.msg}: not HTTP ({type(exc).__name__})"
    return True


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a document with a stable code; the log gets what we did not foresee."""
    answer = await _answered(request, handler)
    if answer.status >= 400 and hdrs.EXPECT in request.headers:
        answer.force_close()  # whether the body comes all the same is not known
    return answer


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except MuseTalkStreamError as exc:
        return problem(request, exc)
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        code = FRAMEWORK_CODES.get(exc.status, "bad_request")
        answer = _answer(request, exc.status, exc.reason, _detail(request, exc), code, False, None)
        for name in ("Allow", "Content-Range", "Upgrade"):
            if name in exc.headers:
                answer.headers[name] = exc.headers[name]
        return answer
    except (ConnectionError, asyncio.CancelledError):
        raise  # the client has gone: there is nobody to answer
    except Exception:
        if request.writer.output_size:
            raise  # an answer has begun, and no other can be put into it: the connection ends
        log.exception("%s %s", request.method, route_of(request))
        detail = "the server made a mistake; its log says which"
        return _answer(request, 500, "Internal error", detail, "internal_error", False, None)


def problem(request: web.Request, exc: MuseTalkStreamError) -> web.Response:
    is_ours = exc.status >= 500 and exc.status != 501  # which asks for what there never was
    if is_ours and not isinstance(exc, Busy | StorageFull):  # whose reason is logged once
        log.error("%s %s: %s", request.method, route_of(request), exc)
    retry_after_s = exc.retry_after_s if isinstance(exc, Busy) and exc.retryable else None
    answer = _answer(
        request, exc.status, exc.title, exc.detail, exc.code, exc.retryable, retry_after_s
    )
    if isinstance(exc, Unauthorized):
        answer.headers[hdrs.WWW_AUTHENTICATE] = exc.challenge
    return answer


def _detail(request: web.Request, exc: web.HTTPException) -> str:
    if exc.status == 405:
        allowed = ", ".join(sorted(exc.headers["Allow"].split(",")))
        return f"{request.method} is not possible here; possible: {allowed}"
    if exc.status == 404:
        return f"there is nothing at {mounted_at(request)}{request.rel_url.path[:200]}"
    return exc.text or exc.reason


def _answer(
    request: web.Request,
    status: int,
    title: str,
    detail: str,
    code: str,
    retryable: bool,
    retry_after_s: int | None,
) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    if "text/html" in request.headers.get("Accept", ""):
        page = problem_page(request, status, title, detail, code, headers)
        page[CODE] = code
        return page
    document = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
    }
    answer = web.json_response(
        document, status=status, headers=headers, content_type="application/problem+json"
    )
    answer[CODE] = code
    return answer
