"""Files that players fetch: chunks, placeholder loops and posters."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from aiohttp import ETag, hdrs, web
from aiohttp.helpers import ETAG_ANY

from ..blend import i420_planes
from ..encode import jpeg
from ..errors import ChunkNotFound, MuseTalkStreamError
from .context import services

_GONE = "this file is not there any more"


async def chunk(request: web.Request) -> web.FileResponse:
    """A chunk by its URL: ranges, validators and HEAD are FileResponse's.

    Agents follow events, too; who fetches chunks is a viewer."""
    request_id = request.match_info["request_id"]
    found = services(request).store.get(request_id, request.match_info["name"])
    if request.method == hdrs.METH_GET:
        services(request).registry.fetched(request_id)
    headers = {
        "Content-Type": found.mime,
        "Cache-Control": "private, max-age=3600, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return file_response(request, found.path, headers, ChunkNotFound(_GONE))


async def placeholder(request: web.Request) -> web.FileResponse:
    avatar = services(request).avatars.get(request.match_info["avatar_id"])
    headers = {"Content-Type": "video/mp4", "Cache-Control": "no-cache"}
    return file_response(request, avatar.placeholder, headers, ChunkNotFound(_GONE))


async def poster(request: web.Request) -> web.Response:
    """The first picture of an avatar's cycle, for the time before its loop is there."""
    avatar = services(request).avatars.get(request.match_info["avatar_id"])
    tag = ETag(avatar.manifest.source_sha256)
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{tag.value}"'}
    if is_named(tag, request.if_none_match):
        return web.Response(status=304, headers=headers)
    picture = i420_planes(avatar.frames[avatar.picture(0)])
    body = await asyncio.to_thread(jpeg, picture)
    return web.Response(body=body, content_type="image/jpeg", headers=headers)


def is_named(tag: ETag, tags: Sequence[ETag] | None) -> bool:
    """Whether a header such as `If-None-Match` lists it, or any."""
    return any(each.value in (tag.value, ETAG_ANY) for each in tags or ())


def file_response(
    request: web.Request, path: Path, headers: dict[str, str], gone: MuseTalkStreamError
) -> web.FileResponse:
    """`gone`: what is said if there is no such file.

    What FileResponse itself would refuse is refused here: its refusals are empty, have the
    headers of the file, and browsers would keep them."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise gone from None
    # Like FileResponse, which knows no tags in it: a file that changed since is sent whole.
    unless_after = request.if_range
    if unless_after is None or found.st_mtime <= unless_after.timestamp():
        requested_range(request, found.st_size)
    return web.FileResponse(path, headers=headers)


def requested_range(request: web.Request, size: int) -> range | None:
    """Which of so many bytes are asked for; None: all. Raises HTTPRequestRangeNotSatisfiable."""
    try:
        start, stop = request.http_range.start, request.http_range.stop
    except ValueError:
        start, stop = size, None
    if start is None:
        return None
    if start >= size:
        raise web.HTTPRequestRangeNotSatisfiable(
            headers={hdrs.CONTENT_RANGE: f"bytes */{size}"},
            text=f"the file has {size} bytes",
        )
    first = max(0, size + start) if start < 0 else start
    return range(first, size if stop is None else min(stop, size))
