"""The scripts and styles of pages, and the client library, from their folders."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from ..errors import NotFound
from .links import mounted_at
from .media import file_response


def files_of(folder: Path) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
    """The handler of a route whose `filename` is the rest of the path."""
    root = folder.resolve()

    async def file(request: web.Request) -> web.FileResponse:
        # Asked for anew with the page (304 if unchanged): after an update, a page must not run
        # half of the old player.
        headers = {"Cache-Control": "no-cache"}
        gone = NotFound(f"there is nothing at {mounted_at(request)}{request.rel_url.path[:200]}")
        try:
            path = (root / request.match_info["filename"]).resolve(strict=True)
        except (OSError, ValueError):  # no such file; too long for a name; a null byte
            raise gone from None
        if not (path.is_relative_to(root) and path.is_file()):
            raise gone
        return file_response(request, path, headers, gone)

    return file
