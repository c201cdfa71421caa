"""The pages: start page, player, its self-test, avatars, and the plain page for a problem."""

import functools
import re
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from .. import __version__
from ..avatar import Manifest
from ..config import bundled
from ..options import SESSION_OPTIONS, TRAILING_SILENCE, number
from ..shelf import AvatarShelf
from .access import is_closed
from .context import CONFIG, services, session
from .links import in_document, mounted_at

TEMPLATES = bundled("templates")
CLIENT = bundled("client", in_checkout="clients/web/src")  # the player, and what apps import

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
)


def avatar_document(manifest: Manifest) -> dict[str, Any]:
    """An avatar as clients see it."""
    return {
        "id": manifest.id,
        "name": manifest.name,
        "width": manifest.width,
        "height": manifest.height,
        "fps": number(manifest.fps),
        "num_frames": manifest.num_frames,
        "idle_frames": manifest.cycle_frames,
        "cycle": manifest.cycle.value,
        "cycle_length": manifest.cycle_length,
        "video_url": f"/avatars/{manifest.id}/video",
        "poster_url": f"/avatars/{manifest.id}/poster",
        "provenance": manifest.provenance,
        "licence": manifest.licence,
    }


def avatar_documents(avatars: AvatarShelf) -> list[dict[str, Any]]:
    return [avatar_document(avatar.manifest) for avatar in avatars.all()]


async def start_page(request: web.Request) -> web.Response:
    limits = request.app[CONFIG].upload
    options = [
        {
            "name": option.name,
            "label": option.label,
            "help": option.help,
            "default": option.default,
            "min": option.minimum,
            "max": option.maximum,
            "step": option.step,
        }
        for option in (*SESSION_OPTIONS, TRAILING_SILENCE)
    ]
    is_for_all = not is_closed(request)  # else who has a key asks for them
    config = {
        "is_closed": not is_for_all,
        "avatars": avatar_documents(services(request).avatars) if is_for_all else None,
        "default_avatar": request.app[CONFIG].session.avatar,
        "options": options,
        "version": __version__,
        "limits": {
            "max_upload_bytes": limits.max_upload_bytes,
            "max_audio_s": limits.max_audio_s,
        },
    }
    return render_page(request, "index.html", config=config)


async def avatars_page(request: web.Request) -> web.Response:
    """Where avatars are made of photos and videos, and looked at; the rest is asked for as JSON."""
    limits = request.app[CONFIG].prepare
    config = {
        "is_closed": is_closed(request),
        "version": __version__,
        "limits": {
            "max_avatar_bytes": limits.max_avatar_bytes,
            "max_avatar_s": limits.max_avatar_s,
        },
    }
    page = render_page(request, "avatars.html", config=config)
    page.headers["Vary"] = "Accept"  # without it, the same address answers with JSON
    return page


async def player_page(request: web.Request) -> web.Response:
    """The player of one session; an unknown one answers with a page that says so."""
    its = session(request)
    document = {"session_id": its.id, "avatar": avatar_document(its.avatar.manifest)}
    return render_page(
        request, "player.html", config={"session": document}, modules=_player_modules()
    )


async def selftest_page(request: web.Request) -> web.Response:
    """What the browser that asks can do, and whether an avatar plays there."""
    return render_page(request, "selftest.html", config={"is_closed": is_closed(request)})


@functools.cache
def _player_modules() -> list[str]:
    """What the script of the player page imports, directly or not: it is fetched at once instead
    of import by import. Modules that are imported later, on demand, are not among it."""
    found: dict[Path, None] = {}
    script = (TEMPLATES / "static/player-page.js").read_text()
    waiting = [(CLIENT / name).resolve() for name in re.findall(r'"\.\./client/(.+)";', script)]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found[module] = None
        names = re.findall(r'(?:from|^import) "(\.[^"]+)";', module.read_text(), re.M)
        waiting += [(module.parent / name).resolve() for name in names]
    return [module.relative_to(CLIENT.resolve()).as_posix() for module in found]


def problem_page(
    request: web.Request, status: int, title: str, detail: str, code: str, headers: dict[str, str]
) -> web.Response:
    response = render_page(
        request, "problem.html", title=title, detail=detail, status=status, code=code
    )
    response.set_status(status)
    response.headers.update(headers)
    return response


def render_page(request: web.Request, template: str, **values: object) -> web.Response:
    return web.Response(
        text=render(template, mounted_at(request), **values),
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )


def render(template: str, prefix: str, **values: object) -> str:
    return _templates.get_template(template).render(in_document(values, prefix), prefix=prefix)
