"""Files that players fetch: chunks and placeholder loops."""

from aiohttp import web

from .context import services


async def chunk(request: web.Request) -> web.FileResponse:
    """A chunk by its URL: ranges, validators and HEAD are FileResponse's."""
    found = services(request).store.get(
        request.match_info["request_id"], request.match_info["name"]
    )
    headers = {
        "Content-Type": found.mime,
        "Cache-Control": "private, max-age=3600, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(found.path, headers=headers)


async def placeholder(request: web.Request) -> web.FileResponse:
    avatar = services(request).avatars.get(request.match_info["avatar_id"])
    headers = {"Content-Type": "video/mp4", "Cache-Control": "no-cache"}
    return web.FileResponse(avatar.placeholder, headers=headers)
