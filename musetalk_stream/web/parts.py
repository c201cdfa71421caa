"""Files as answers, one or several end to end: validators and ranges (RFC 9110 §13, §14)."""

import asyncio
import mimetypes
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aiohttp import ETag, hdrs, web
from aiohttp.helpers import ETAG_ANY

from ..errors import MuseTalkStreamError
from .sending import SENDING, finish, send

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a file."""

    path: Path
    start: int
    size: int


async def send_file(
    request: web.Request, path: Path, headers: dict[str, str], gone: MuseTalkStreamError
) -> web.StreamResponse:
    """`gone`: what is said if there is no such file."""
    try:
        found = await asyncio.to_thread(path.stat)
    except FileNotFoundError:
        raise gone from None
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {hdrs.CONTENT_TYPE: kind, **headers}
    tag = f"{found.st_mtime_ns:x}-{found.st_size:x}"
    whole = [Part(path, 0, found.st_size)]
    return await send_parts(request, whole, headers, gone, tag=tag, changed_s=int(found.st_mtime))


async def send_parts(
    request: web.Request,
    parts: Sequence[Part],
    headers: dict[str, str],
    gone: MuseTalkStreamError,
    *,
    tag: str,
    changed_s: int | None = None,
) -> web.StreamResponse:
    """As much of the parts, laid end to end, as is asked for.

    tag        names these bytes and no others
    changed_s  when they were made, seconds since 1970
    """
    response = web.StreamResponse(headers={**headers, hdrs.ACCEPT_RANGES: "bytes"})
    response.etag, response.last_modified = tag, changed_s
    if is_known(request, tag, changed_s):
        del response.headers[hdrs.CONTENT_TYPE]
        response.set_status(304)
        return response
    size = sum(part.size for part in parts)
    wanted = _wanted(request, size, response)
    if wanted is not None:
        response.set_status(206)
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    wanted = range(size) if wanted is None else wanted
    response.content_length = len(wanted)
    if request.method == hdrs.METH_HEAD:
        return response
    blocks = _all_blocks(_within(parts, wanted), gone)
    with request.app[SENDING].answer():
        async with aclosing(blocks):
            first = await anext(blocks, b"")  # while what is gone can still be told
            await response.prepare(request)
            try:
                await send(request, response, first)
                async for block in blocks:
                    await send(request, response, block)
                await finish(request, response)
            except MuseTalkStreamError:
                drop(request)
            except TimeoutError:
                pass  # the client has left without a word
    return response


def is_known(request: web.Request, tag: str, changed_s: int | None = None) -> bool:
    """Whether who asks has it already (304). Raises HTTPPreconditionFailed where something else is
    wanted (RFC 9110 §13.2.2)."""
    if hdrs.IF_MATCH in request.headers:
        is_wanted = _is_named(request, hdrs.IF_MATCH, tag, request.if_match, is_strong=True)
    else:
        is_wanted = not _is_after(changed_s, request.if_unmodified_since)
    if not is_wanted:
        raise web.HTTPPreconditionFailed(text="this is another version: fetch it anew")
    if hdrs.IF_NONE_MATCH in request.headers:
        return _is_named(request, hdrs.IF_NONE_MATCH, tag, request.if_none_match)
    since = request.if_modified_since
    return changed_s is not None and since is not None and not _is_after(changed_s, since)


def _is_named(
    request: web.Request,
    header: str,
    tag: str,
    named: Sequence[ETag] | None,
    *,
    is_strong: bool = False,
) -> bool:
    if request.headers[header].strip() == ETAG_ANY:
        return True
    return any(each.value == tag and not (is_strong and each.is_weak) for each in named or ())


def _is_after(changed_s: int | None, instant: datetime | None) -> bool:
    return changed_s is not None and instant is not None and changed_s > instant.timestamp()


def _wanted(request: web.Request, size: int, response: web.StreamResponse) -> range | None:
    """Which of so many bytes are asked for; None: all, as if nothing had been said of ranges.
    Raises HTTPRequestRangeNotSatisfiable."""
    unit, _, said = request.headers.get(hdrs.RANGE, "").partition("=")
    if request.method != hdrs.METH_GET or unit.strip().lower() != "bytes" or "," in said:
        return None
    # Of another version than what is here, all is wanted: a weak tag or a date that is not exactly
    # that one never names it (§13.1.5).
    unless = request.headers.get(hdrs.IF_RANGE)
    names = (response.headers[hdrs.ETAG], response.headers.get(hdrs.LAST_MODIFIED))
    if unless is not None and unless not in names:
        return None
    first, has_dash, last = (text.strip() for text in said.partition("-"))
    numbers = [text for text in (first, last) if text]
    if has_dash and numbers and all(text.isascii() and text.isdigit() for text in numbers):
        # Beyond the end is beyond the end, however many digits say so.
        start = _number(first, size) if first else size - _number(last, size)
        stop = _number(last, size) + 1 if first and last else size
        if start < min(stop, size):
            return range(start, min(stop, size))
    raise web.HTTPRequestRangeNotSatisfiable(
        headers={hdrs.CONTENT_RANGE: f"bytes */{size}"}, text=f"the file has {size} bytes"
    )


def _number(digits: str, most: int) -> int:
    return min(int(digits[-20:]), most) if len(digits.lstrip("0")) <= 20 else most


def _within(parts: Sequence[Part], wanted: range) -> list[Part]:
    """What of the parts, laid end to end, lies in a range."""
    found, place = [], 0
    for part in parts:
        first, last = max(place, wanted.start), min(place + part.size, wanted.stop)
        if first < last:
            found.append(Part(part.path, part.start + first - place, last - first))
        place += part.size
    return found


async def _all_blocks(
    parts: Sequence[Part], gone: MuseTalkStreamError
) -> AsyncGenerator[bytes, None]:
    for part in parts:
        async with aclosing(blocks_of(part, gone)) as blocks:
            async for block in blocks:
                yield block


async def blocks_of(part: Part, gone: MuseTalkStreamError) -> AsyncGenerator[bytes, None]:
    """`gone` is raised where its file has gone meanwhile."""
    for offset in range(0, part.size, _BLOCK_BYTES):
        size = min(_BLOCK_BYTES, part.size - offset)
        try:
            yield await asyncio.to_thread(_read, part.path, part.start + offset, size)
        except FileNotFoundError:
            raise gone from None


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def drop(request: web.Request) -> None:
    """What comes is not what was announced: the connection ends before its end does."""
    if request.transport is not None:
        request.transport.close()
