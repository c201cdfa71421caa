"""The scripts and styles of pages, and the client library, from their folders."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from ..errors import NotFound
from .links import mounted_at
from .parts import send_file


def files_of(folder: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of a route whose `filename` is the rest of the path."""
    root = folder.resolve()

    async def file(request: web.Request) -> web.StreamResponse:
        # Asked for anew with the page (304 if unchanged): after an update, a page must not run
        # half of the old player.
        headers = {"Cache-Control": "no-cache"}
        gone = NotFound(f"there is nothing at {mounted_at(request)}{request.rel_url.path[:200]}")
        filename = request.match_info["filename"]
        if filename.endswith("/"):
            raise gone  # else a module's imports would lead elsewhere
        try:
            path = (root / filename).resolve(strict=True)
        except (OSError, ValueError):  # no such file; too long for a name; a null byte
            raise gone from None
        if not (path.is_relative_to(root) and path.is_file()):
            raise gone
        return await send_file(request, path, headers, gone)

    return file
