"""Files that players fetch: chunks, placeholder loops and posters."""

import asyncio
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web

from ..avatar import Avatar
from ..blend import i420_planes
from ..encode import jpeg
from ..errors import ChunkNotFound
from .context import services
from .parts import is_known, send_file

# Of what never changes, for who may see it.
IMMUTABLE = "private, max-age=3600, immutable"
_GONE = "this file is not there any more"
_POSTERS: WeakKeyDictionary[Avatar, bytes] = WeakKeyDictionary()


async def chunk(request: web.Request) -> web.StreamResponse:
    """Agents follow events, too; who fetches chunks is a viewer."""
    request_id = request.match_info["request_id"]
    found = services(request).store.get(request_id, request.match_info["name"])
    if request.method == hdrs.METH_GET:
        services(request).registry.fetched(request_id)
    headers = {
        "Content-Type": found.mime,
        "Cache-Control": IMMUTABLE,
        "X-Content-Type-Options": "nosniff",
    }
    return await send_file(request, found.path, headers, ChunkNotFound(_GONE))


async def placeholder(request: web.Request) -> web.StreamResponse:
    avatar = services(request).avatars.get(request.match_info["avatar_id"])
    headers = {"Content-Type": "video/mp4", "Cache-Control": "no-cache"}
    return await send_file(request, avatar.placeholder, headers, ChunkNotFound(_GONE))


async def poster(request: web.Request) -> web.Response:
    """The first picture of an avatar's cycle, for the time before its loop is there."""
    avatar = services(request).avatars.get(request.match_info["avatar_id"])
    tag = avatar.manifest.source_sha256
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{tag}"'}
    if is_known(request, tag):
        return web.Response(status=304, headers=headers)
    if avatar not in _POSTERS:
        picture = i420_planes(avatar.frames[avatar.picture(0)])
        _POSTERS[avatar] = await asyncio.to_thread(jpeg, picture)
    return web.Response(body=_POSTERS[avatar], content_type="image/jpeg", headers=headers)
