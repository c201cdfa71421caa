"""Captions of an utterance: given, and asked for as WebVTT."""

import json

from aiohttp import hdrs, web

from ..captions import CONTENT_TYPE, MAX_BYTES, Cue, cues_of_json, cues_of_webvtt, to_webvtt
from ..errors import CaptionsTooLarge, InvalidCaptions
from .context import session
from .uploads import small_body

_KINDS = "JSON as application/json, or WebVTT as text/vtt"


async def get_captions(request: web.Request) -> web.Response:
    """None given is an empty file."""
    turn = session(request).turn(request.match_info["request_id"])
    return web.Response(
        text=to_webvtt(turn.cues),
        content_type=CONTENT_TYPE,
        charset="utf-8",
        headers={hdrs.CACHE_CONTROL: "no-cache"},
    )


async def put_captions(request: web.Request) -> web.Response:
    """All of them, as `{"cues": […]}` or as WebVTT; they replace what was there."""
    its, request_id = session(request), request.match_info["request_id"]
    its.turn(request_id)
    if request.content_type == CONTENT_TYPE:
        cues = cues_of_webvtt(await _body(request))
    elif request.content_type == "application/json":
        raw = _json(await _body(request))
        cues = cues_of_json(raw.get("cues") if isinstance(raw, dict) else None)
    else:
        raise InvalidCaptions(f"captions must be {_KINDS}, not {request.content_type[:60]}")
    its.caption(request_id, cues)
    return web.Response(status=204)


def cues_of_field(data: bytes) -> tuple[Cue, ...]:
    """The field of an upload: a JSON list, or WebVTT. Raises InvalidCaptions, CaptionsTooLarge."""
    text = _text(data)
    if text.lstrip("\ufeff \t\r\n").startswith(("[", "{")):
        return cues_of_json(_json(text))
    return cues_of_webvtt(text) if text.strip() else ()


async def _body(request: web.Request) -> str:
    try:
        return _text(await small_body(request))
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _too_large()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidCaptions("captions must be UTF-8") from None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidCaptions("captions must be " + _KINDS) from None


def _too_large() -> CaptionsTooLarge:
    return CaptionsTooLarge(f"captions must be at most {MAX_BYTES} bytes")
