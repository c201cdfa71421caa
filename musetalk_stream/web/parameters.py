"""What a client says besides files: in the query, in a JSON body, in the fields of a form, in a
media type."""

import json
import re
from collections.abc import Mapping
from email.message import Message
from typing import Any

from aiohttp import hdrs, web

from ..avatar import is_avatar_id
from ..errors import InvalidParameter
from ..jobs import Wanted
from ..listening import PcmFormat
from ..options import PCM_CHANNELS, PCM_RATE, flag
from ..prepare.request import LONGEST_TEXT, FaceHint, Loop, in_one_line, read_hint
from .uploads import small_body


async def parameters(request: web.Request) -> Mapping[str, Any]:
    """The query and, over it, the members of a JSON body."""
    if not request.can_read_body:
        return request.query
    data = await small_body(request)
    try:
        body = json.loads(data.decode(request.charset or "utf-8"))
    except (ValueError, LookupError, RecursionError):
        raise InvalidParameter("body", "must be a JSON object, or empty") from None
    if not isinstance(body, dict):
        raise InvalidParameter("body", "must be a JSON object, or empty")
    return {**request.query, **body}


def text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= LONGEST_TEXT):
        raise InvalidParameter(name, f"must be a string of at most {LONGEST_TEXT} characters")
    return value


# Headerless 16-bit samples. RFC 2586 and 3551 say that those of audio/L16 are big-endian; what is
# sent by this name is nearly always little-endian, so that is the default of both, and `endianness`
# says otherwise.
PCM_TYPES = ("audio/L16", "audio/pcm")
ENDIANNESS = ("little-endian", "big-endian")


def pcm_of_content_type(request: web.Request) -> PcmFormat | None:
    """As `Content-Type: audio/L16;rate=24000;channels=1` says; None if it says something else.
    Raises InvalidParameter."""
    if request.content_type not in {name.lower() for name in PCM_TYPES}:
        return None
    header = Message()
    header[hdrs.CONTENT_TYPE] = request.headers[hdrs.CONTENT_TYPE]
    return pcm_format({name.lower(): value for name, value in header.get_params([])})


def pcm_format(raw: Mapping[str, Any]) -> PcmFormat:
    """Raises InvalidParameter."""
    if PCM_RATE.name not in raw:
        raise InvalidParameter(PCM_RATE.name, f"is missing; it {PCM_RATE.range} (Hz)")
    endianness = raw.get("endianness", ENDIANNESS[0])
    if endianness not in ENDIANNESS:
        raise InvalidParameter("endianness", f"must be one of {', '.join(ENDIANNESS)}")
    return PcmFormat(
        rate=int(PCM_RATE.read(raw[PCM_RATE.name])),
        channels=int(PCM_CHANNELS.read(raw.get(PCM_CHANNELS.name, PCM_CHANNELS.default))),
        big_endian=endianness == ENDIANNESS[1],
    )


def wanted(fields: Mapping[str, str], file_name: str) -> Wanted:
    """What is to be made of an upload. Raises InvalidParameter."""
    avatar_id = fields.get("avatar_id") or None
    if avatar_id is not None and not is_avatar_id(avatar_id):
        raise InvalidParameter(
            "avatar_id", "must be 1 to 64 of A-Z a-z 0-9 - _, beginning with a letter or a digit"
        )
    return Wanted(
        file_name=_shown_name(file_name),
        avatar_id=avatar_id,
        name=in_one_line(text(fields, "name") or "") or None,
        loop=_loop(fields.get("loop") or Loop.AUTO),
        hint=read_hint(fields),
        approve=flag(fields, "approve"),
    )


def hint(raw: Mapping[str, Any]) -> FaceHint:
    """As the fields of a form say it, or as JSON does: `"1,2,3,4"` or `[1, 2, 3, 4]`. Raises
    InvalidParameter."""
    said = {name: raw.get(name) for name in ("face_box", "face_point", "landmarks")}
    return read_hint({name: _as_text(name, value) for name, value in said.items()})


def _as_text(name: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if name == "landmarks":
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _loop(name: str) -> Loop:
    try:
        return Loop(name)
    except ValueError:
        raise InvalidParameter("loop", f"must be one of {', '.join(Loop)}") from None


def _shown_name(file_name: str) -> str:
    """Of a file, as people know it: without folders."""
    return in_one_line(re.split(r"[\\/]", file_name)[-1])[-LONGEST_TEXT:] or "upload"
