"""The OpenAPI document, and the page on which people read it. Both are public, and made once: of a
request is only where the server is found, which stands in their texts as a mark."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import markupsafe
from aiohttp import hdrs, web

from ...config import Config
from ..access import NEEDS, Needs
from ..context import CONFIG
from ..links import full_url, mounted_at
from ..pages import render
from ..parts import is_known
from .document import document
from .parts import Schema

CONTENT_TYPE = "application/openapi+json"
_PREFIX, _ADDRESS = "\ue000", "\ue001"  # for private use: no other text has them
_UPPER = {"session_id": "SESSION", "request_id": "UTTERANCE", "avatar_id": "demo"}
_NAMED = re.compile(r"#/components/schemas/(\w+)")


class Contract:
    """Their texts, as soon as somebody has asked."""

    def __init__(self) -> None:
        self._making: asyncio.Task[tuple[str, str]] | None = None

    async def texts(self, config: Config, needs: Needs) -> tuple[str, str]:
        """Of the document and of the page. They are made to their end even where nobody waits any
        more: else whoever asks and leaves would have them made again and again."""
        if self._making is None:
            making = asyncio.to_thread(_texts, config, needs)
            self._making = asyncio.create_task(making, name="openapi")
        return await asyncio.shield(self._making)


CONTRACT: web.AppKey[Contract] = web.AppKey("contract", Contract)


async def openapi_document(request: web.Request) -> web.Response:
    app = request.app
    text, _ = await app[CONTRACT].texts(app[CONFIG], app[NEEDS])
    return _answer(request, text.replace(_PREFIX, mounted_at(request) or "/"), CONTENT_TYPE)


async def docs_page(request: web.Request) -> web.Response:
    app = request.app
    _, text = await app[CONTRACT].texts(app[CONFIG], app[NEEDS])
    text = text.replace(_PREFIX, mounted_at(request))
    text = text.replace(_ADDRESS, markupsafe.escape(full_url(request, "")))
    return _answer(request, text, "text/html", "utf-8")


def _answer(
    request: web.Request, text: str, content_type: str, charset: str | None = None
) -> web.Response:
    body = text.encode()
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{tag}"'}
    if is_known(request, tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=content_type, charset=charset, headers=headers)


def _texts(config: Config, needs: Needs) -> tuple[str, str]:
    its = document(config, needs, _PREFIX)
    return json.dumps(its, ensure_ascii=False), _page(its)


def _page(its: dict[str, Any]) -> str:
    groups = [
        _Group(tag["name"], tag["description"], _sections(its["paths"], tag["name"]))
        for tag in its["tags"]
    ]
    schemas = [
        _Named(name, schema.get("description", ""), _members(schema), _words(schema))
        for name, schema in its["components"]["schemas"].items()
    ]
    return render(
        "docs.html",
        _PREFIX,
        info=its["info"],
        groups=groups,
        schemas=schemas,
        schemes=its["components"]["securitySchemes"],
    )


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    kind: markupsafe.Markup
    note: markupsafe.Markup
    is_required: bool
    place: str = ""


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    note: str
    members: list[_Member]
    kind: markupsafe.Markup


@dataclass(frozen=True, slots=True)
class _Content:
    media_type: str
    kind: markupsafe.Markup
    members: list[_Member]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    note: markupsafe.Markup
    contents: list[_Content]


@dataclass(frozen=True, slots=True)
class _Section:
    id: str
    method: str
    path: str
    summary: str
    note: markupsafe.Markup
    parameters: list[_Member]
    bodies: list[_Content]
    answers: list[_Answer]
    curl: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    description: str
    sections: list[_Section]


def _sections(paths: dict[str, Any], tag: str) -> list[_Section]:
    return [
        _section(method, path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if tag in operation["tags"]
    ]


def _section(method: str, path: str, operation: dict[str, Any]) -> _Section:
    return _Section(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        note=_marked(operation["description"]),
        parameters=[
            _member(
                each["name"],
                {**each["schema"], "description": each.get("description", "")},
                each.get("required", False),
                each["in"],
            )
            for each in operation["parameters"]
        ],
        bodies=_contents(operation.get("requestBody", {})),
        answers=[
            _Answer(status, _marked(answer["description"]), _told(answer))
            for status, answer in operation["responses"].items()
        ],
        curl=_curl(method.upper(), path, operation),
    )


def _told(answer: dict[str, Any]) -> list[_Content]:
    """What is in an answer; of problems, their codes say it all."""
    return [each for each in _contents(answer) if "problem" not in each.media_type]


def _contents(holder: Mapping[str, Any]) -> list[_Content]:
    return [
        _Content(kind, _words(media["schema"]), _members(media["schema"]))
        for kind, media in holder.get("content", {}).items()
    ]


def _members(schema: Schema) -> list[_Member]:
    required = schema.get("required", ())
    members = schema.get("properties", {})
    return [_member(name, its, name in required) for name, its in members.items()]


def _member(name: str, schema: Schema, is_required: bool, place: str = "") -> _Member:
    note = _marked(schema.get("description", ""))
    return _Member(name, _words(schema), note, is_required, place)


def _words(schema: Schema) -> markupsafe.Markup:
    """The type of a value, in words; names of schemas are links."""
    if "contentSchema" in schema:
        return _words(schema["contentSchema"])
    if reference := schema.get("$ref"):
        match = _NAMED.fullmatch(reference)
        assert match, reference
        return markupsafe.Markup('<a href="#schema-{0}">{0}</a>').format(match[1])
    for joined in ("oneOf", "anyOf", "allOf"):
        if joined in schema:
            return markupsafe.Markup(" or ").join(_words(each) for each in schema[joined])
    if "const" in schema:
        return markupsafe.Markup("<code>{}</code>").format(schema["const"])
    if "enum" in schema:
        named = markupsafe.Markup(", ").join(
            markupsafe.Markup("<code>{}</code>").format(word) for word in schema["enum"]
        )
        return named + _default(schema)
    return _plain(schema) + _default(schema)


def _plain(schema: Schema) -> markupsafe.Markup:
    kinds = schema.get("type", "a file")
    kind, *others = kinds if isinstance(kinds, list) else [kinds]
    if kind == "array":
        said = markupsafe.Markup("list of ") + _words(schema["items"])
    elif kind == "object" and schema.get("properties"):
        said = markupsafe.Markup("object")
    else:
        said = markupsafe.escape(kind)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        said += f", {low:g} to {high:g}" if high < 1e6 else f", {low:g} to {high:.0f}"
    elif low:
        said += f", at least {low:g}"
    if longest := schema.get("maxLength"):
        said += f" of at most {longest} characters"
    return said + "".join(f" or {each}" for each in others)


def _default(schema: Schema) -> str:
    return f"; default {json.dumps(schema['default'])}" if "default" in schema else ""


def _marked(text: str) -> markupsafe.Markup:
    """With `code` as such."""
    escaped = str(markupsafe.escape(text))
    return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _curl(method: str, path: str, operation: dict[str, Any]) -> str:
    """A line to paste: whatever is in capitals is to be replaced."""
    named = re.sub(r"{(\w+)}", lambda match: _UPPER.get(match[1], match[1].upper()), path)
    words = ["curl"]
    if method == "GET" and any(
        "text/event-stream" in answer.get("content", {})
        for answer in operation["responses"].values()
    ):
        words.append("-N")
    if method != "GET":
        words.append(f"-X {method}")
    if operation["security"]:
        words.append('-H "Authorization: Bearer $KEY"')
    if operation.get("x-curl"):
        words.append(operation["x-curl"])
    words.append(f'"{_ADDRESS}{named}"')
    return " ".join(words)
