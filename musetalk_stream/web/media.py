"""Files that players fetch: chunks and placeholder loops."""

from pathlib import Path

from aiohttp import hdrs, web

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


def file_response(
    request: web.Request, path: Path, headers: dict[str, str], gone: MuseTalkStreamError
) -> web.FileResponse:
    """`gone`: what is said if there is no such file.

    What FileResponse itself would refuse is refused here: its refusals are empty, have the
    headers of the file, and browsers would keep them."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise gone from None
    if hdrs.IF_RANGE not in request.headers:
        try:
            start = request.http_range.start
        except ValueError:
            start = size
        if start is not None and start >= size:
            raise web.HTTPRequestRangeNotSatisfiable(
                headers={hdrs.CONTENT_RANGE: f"bytes */{size}"},
                text=f"the file has {size} bytes",
            )
    return web.FileResponse(path, headers=headers)
