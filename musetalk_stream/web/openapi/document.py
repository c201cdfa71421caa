"""The contract as an OpenAPI 3.1 document, made of the tables that the server itself runs on: its
routes and what they need, `tables`, ranges of options, and the tree of errors."""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ... import __version__
from ...access import Need, Right, Scope
from ...config import Config
from ...errors import MuseTalkStreamError
from ..problems import FRAMEWORK_CODES
from .parts import Answer, Body, Operation, Schema, ref
from .tables import TAGS, components, operations

PROBLEM = "application/problem+json"

_VERSION = "3.1.1"
_ABOUT = (
    "Speech audio goes up, a lip-synced avatar comes down: fragmented MP4 chunks over plain HTTP, "
    "events by SSE. Every GET answers HEAD, too, except event streams and the WebSocket. Fields "
    "may be added; none is renamed. Addresses in documents are relative to the server's."
)
_KEY, _TOKEN, _TOKEN_IN_QUERY = "apiKey", "token", "tokenInQuery"
_SCHEMES = {
    _KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `mts_…`: for servers, never for pages or apps. Made by "
        "`musetalk-stream keys add`. A server without keys is open, and asks for none.",
    },
    _TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of one session, which comes with it. It expires.",
    },
    _TOKEN_IN_QUERY: {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "The same, where no header can be set. The addresses in documents and "
        "events have it already.",
    },
}
# What each parameter of a path names, and what is answered if there is no such thing.
_PATH: dict[str, tuple[Schema, tuple[str, ...]]] = {
    "session_id": ({"type": "string"}, ("session_not_found", "session_gone")),
    "request_id": ({"type": "string"}, ("utterance_not_found",)),
    "avatar_id": ({"type": "string"}, ("avatar_not_found",)),
    "job_id": ({"type": "string"}, ("job_not_found",)),
    "recording_id": ({"type": "string"}, ("recording_not_found",)),
    "name": ({"type": "string", "pattern": r"^chunk_\d{4,}\.mp4$"}, ("not_found",)),
    "filename": (
        {"type": "string", "description": "may have slashes in it"},
        ("not_found",),
    ),
}
# Any request may be wrong in these ways, or come at a wrong time; how the server is is always told.
_OF_ALL = ("bad_request", "invalid_parameter", "foreign_host", "expectation_failed",
           "unsupported_encoding", "internal_error")  # fmt: skip
_OF_LIMITS = ("rate_limited", "too_many_connections")
_HEALTH = ("/healthz", "/readyz")
_OF_ACCESS = ("unauthorized", "invalid_credentials", "token_expired", "forbidden")
_OF_SERVICES = ("not_ready", "shutting_down")
_OF_FILES = ("precondition_failed", "range_not_satisfiable")
# Which answer before there is anything else.
_WITHOUT_SERVICES = re.compile(
    r"/(healthz|readyz|metrics|openapi\.json|docs|player/selftest)|/(client|static)/.*"
)
_STATUS_OF_FRAMEWORK = {code: status for status, code in FRAMEWORK_CODES.items() if status != 403}


def document(
    config: Config, needs: Mapping[tuple[str, str], Need], prefix: str = ""
) -> dict[str, Any]:
    """
    needs   what each route needs, by path and method; all of them, and in this order
    prefix  path under which clients find the server
    """
    known = operations(config)
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), need in needs.items():
        operation = known[f"{method} {path}"]
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation, need)
    return {
        "openapi": _VERSION,
        "info": {
            "title": "musetalk-stream",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix or "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": components(config), "securitySchemes": _SCHEMES},
    }


def _operation(method: str, path: str, operation: Operation, need: Need) -> dict[str, Any]:
    result: dict[str, Any] = {
        "tags": [operation.tag],
        "operationId": _id(method, path),
        "summary": operation.summary,
        "description": " ".join(filter(None, (operation.description, _who_may(need)))),
        "parameters": _parameters(path, operation),
        "responses": _responses(path, operation, need),
        "security": _security(need),
    }
    if operation.body:
        result["requestBody"] = _body(operation.body)
    if operation.example:
        result["x-curl"] = operation.example
    return result


def _id(method: str, path: str) -> str:
    """`get_sessions_session_id_events`"""
    return "_".join([method.lower(), *re.findall(r"\w+", path)])


# --- who may


def _security(need: Need) -> list[dict[str, list[str]]]:
    """Any of these is enough; an empty one says that an open server asks for nothing."""
    if need.is_public:
        return []
    with_token: list[dict[str, list[str]]] = [{_TOKEN: []}, {_TOKEN_IN_QUERY: []}]
    return [{_KEY: []}, *(with_token if need.right else []), {}]


def _who_may(need: Need) -> str:
    if need.is_public:
        return ""
    said = (
        f"Needs an API key with the scope {_or(scope for scope in Scope if scope in need.scopes)}"
    )
    if need.right:
        said += f", or a token with the right {Right(need.right).value}"
    return said + "."


def _or(names: Iterable[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


# --- what goes in


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    of_path = [
        _parameter("path", name, _PATH[name][0], is_required=True)
        for name in re.findall(r"{(\w+)}", path)
    ]
    of_query = [
        _parameter("query", name, schema, is_required=name in operation.required)
        for name, schema in operation.query.items()
    ]
    headers = dict(operation.headers)
    if operation.is_file:
        headers["Range"] = {"type": "string", "description": "one range of bytes"}
    of_headers = [_parameter("header", name, schema) for name, schema in headers.items()]
    return [*of_path, *of_query, *of_headers]


def _parameter(
    place: str, name: str, schema: Schema, *, is_required: bool = False
) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "schema": schema}
    if is_required:
        parameter["required"] = True
    if description := schema.get("description"):
        parameter["description"] = description
        parameter["schema"] = {k: v for k, v in schema.items() if k != "description"}
    return parameter


def _body(body: Body) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {"schema": schema} for kind, schema in body.content.items()}
    if body.encoding:
        for media in content.values():
            media["encoding"] = dict(body.encoding)
    result: dict[str, Any] = {"content": content, "required": body.is_required}
    if body.description:
        result["description"] = body.description
    return result


# --- what comes out


def _responses(path: str, operation: Operation, need: Need) -> dict[str, Any]:
    answers = dict(operation.answers)
    if operation.is_file:
        answers[206] = Answer("A part of it", answers[200].content, {"Content-Range": "which"})
        answers[304] = Answer("You have it already")
    responses = {status: _response(answer) for status, answer in answers.items()}
    by_status: dict[int, list[str]] = {}
    for code in _codes(path, operation, need):
        by_status.setdefault(_status(code), []).append(code)
    for status, codes in by_status.items():
        responses[status] = _with_problems(responses.get(status), codes)
    return {str(status): responses[status] for status in sorted(responses)}


def _codes(path: str, operation: Operation, need: Need) -> list[str]:
    """All that it may refuse with."""
    codes = [*_OF_ALL, *operation.errors]
    for name in re.findall(r"{(\w+)}", path):
        codes += _PATH[name][1]
    if path.startswith("/chunks/"):
        codes.remove("utterance_not_found")
    if not need.is_public:
        codes += _OF_ACCESS
    if not _WITHOUT_SERVICES.fullmatch(path):
        codes += _OF_SERVICES
    if path not in _HEALTH:
        codes += _OF_LIMITS
    if operation.is_file:
        codes += _OF_FILES
    return sorted(set(codes), key=lambda code: (_status(code), code))


def _response(answer: Answer) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.description}
    if answer.content:
        response["content"] = {kind: {"schema": s} for kind, s in answer.content.items()}
    if answer.headers:
        response["headers"] = {
            name: {"description": says, "schema": {"type": "string"}}
            for name, says in answer.headers.items()
        }
    return response


def _with_problems(response: dict[str, Any] | None, codes: list[str]) -> dict[str, Any]:
    """An answer that may be a problem document of one of these codes, besides what else it is."""
    told = ", ".join(f"`{code}`" for code in codes)
    problem = {
        "allOf": [ref("Problem")],
        "properties": {"code": {"enum": codes}},
    }
    content = {PROBLEM: {"schema": problem}, "text/html": {"schema": {"type": "string"}}}
    if response is None:
        return {"description": told, "content": content}
    return {
        **response,
        "description": f"{response['description']}; or {told}",
        "content": {**content, **response.get("content", {})},
    }


@functools.cache
def _kinds() -> dict[str, type[MuseTalkStreamError]]:
    """Every kind of error by its code; the first in the tree where several share one."""
    found: dict[str, type[MuseTalkStreamError]] = {}
    waiting: list[type[MuseTalkStreamError]] = [MuseTalkStreamError]
    while waiting:
        kind = waiting.pop(0)
        found.setdefault(kind.code, kind)
        waiting += kind.__subclasses__()
    return found


def _status(code: str) -> int:
    """KeyError for a code that nobody answers with."""
    kind = _kinds().get(code)
    return kind.status if kind else _STATUS_OF_FRAMEWORK[code]
