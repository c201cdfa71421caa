"""Files that players fetch: chunks, placeholder loops and posters."""

import asyncio
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web

from ..avatar import Avatar
from ..blend import i420_planes
from ..encode import jpeg
from ..errors import ChunkNotFound, Forbidden
from ..store import Chunk, no_such_chunk
from .access import caller
from .context import services
from .parts import is_known, send_file

# Of what never changes, for who may see it.
IMMUTABLE = "private, max-age=3600, immutable"
_GONE = "this file is not there any more"
_POSTERS: WeakKeyDictionary[Avatar, bytes] = WeakKeyDictionary()


async def chunk(request: web.Request) -> web.StreamResponse:
    """Agents follow events, too; who fetches chunks is a viewer."""
    request_id = request.match_info["request_id"]
    found = _seen(request, request_id, request.match_info["name"])
    if request.method == hdrs.METH_GET:
        services(request).registry.fetched(request_id, found.path.name)
    headers = {
        "Content-Type": found.mime,
        "Cache-Control": IMMUTABLE,
        "X-Content-Type-Options": "nosniff",
    }
    return await send_file(request, found.path, headers, ChunkNotFound(_GONE))


def _seen(request: web.Request, request_id: str, name: str) -> Chunk:
    """Raises ChunkNotFound, also for chunks of sessions that are not for who asks."""
    found, its = services(request).store.get(request_id, name), caller(request)
    said_by = services(request).registry.session_of(request_id)
    if not (its.is_operator or (said_by and its.sees(said_by.owner, said_by.id))):
        raise no_such_chunk()
    return found


async def placeholder(request: web.Request) -> web.StreamResponse:
    avatar = _avatar(request)
    headers = {"Content-Type": "video/mp4", "Cache-Control": "no-cache"}
    return await send_file(request, avatar.placeholder, headers, ChunkNotFound(_GONE))


def _avatar(request: web.Request) -> Avatar:
    """The one that the path names. Raises AvatarNotFound; and Forbidden, whether or not there is
    such an avatar, if a token is for a session that shows another."""
    its, avatar_id = caller(request), request.match_info["avatar_id"]
    avatars = services(request).avatars
    if its.session_id is not None:
        shown = services(request).registry.get(its.session_id, its).avatar
        if avatars.resolve(avatar_id) != shown.id:
            raise Forbidden("this token is for a session that shows another avatar")
    return avatars.get(avatar_id)


async def poster(request: web.Request) -> web.Response:
    """The first picture of an avatar's cycle, for the time before its loop is there."""
    avatar = _avatar(request)
    tag = avatar.manifest.source_sha256
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{tag}"'}
    if is_known(request, tag):
        return web.Response(status=304, headers=headers)
    if avatar not in _POSTERS:
        picture = i420_planes(avatar.frames[avatar.picture(0)])
        _POSTERS[avatar] = await asyncio.to_thread(jpeg, picture)
    return web.Response(body=_POSTERS[avatar], content_type="image/jpeg", headers=headers)
