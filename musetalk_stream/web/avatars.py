"""Avatars: looked at, made of uploads, deleted."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from ..avatar import Avatar
from ..disk import require_free
from ..errors import AvatarInUse, AvatarNotFound, NotFound
from ..jobs import Wanted
from ..options import flag
from ..prepare.work import PREPARING, throw_away
from .access import caller, require_still, wants_page
from .context import CONFIG, Services, require_open, services
from .pages import avatar_document, avatars_page
from .parameters import wanted
from .uploads import received_media, storage_errors


async def list_avatars(request: web.Request) -> web.Response:
    """As JSON; the page, for who asks for one."""
    if wants_page(request):
        return await avatars_page(request)
    documents = [document(request, avatar) for avatar in services(request).avatars.all()]
    return web.json_response({"avatars": documents}, headers={hdrs.VARY: hdrs.ACCEPT})


async def get_avatar(request: web.Request) -> web.Response:
    avatar = services(request).avatars.get(request.match_info["avatar_id"])
    return web.json_response(document(request, avatar))


def document(request: web.Request, avatar: Avatar) -> dict[str, Any]:
    its = services(request)
    return {
        **avatar_document(avatar.manifest),
        **its.readying.describe(avatar),
        "protected": its.avatars.is_protected(avatar.id),
    }


async def create_avatar(request: web.Request) -> web.Response:
    """Takes in a picture or a video, and answers when it is known to be one."""
    require_open(request)
    config, jobs = request.app[CONFIG], services(request).jobs
    store = config.storage.avatars_dir

    def asked(fields: Mapping[str, str], file_name: str) -> Wanted:
        require_still(request)
        found = replace(
            wanted({**request.query, **fields}, file_name), owner=caller(request).key_id
        )
        if found.avatar_id:
            jobs.require_free(found.avatar_id)
        return found

    asked({}, "")  # before anything is read for nothing
    require_free(store, config.storage.min_free_mb * 10**6)
    with jobs.room():
        async with received_media(
            request, config.prepare.max_avatar_bytes, store / PREPARING, asked
        ) as media:
            with storage_errors():
                job = await jobs.submit(
                    media.path, media.idle, asked(media.fields, media.file_name)
                )
    return web.json_response(job.document(), status=202, headers={hdrs.LOCATION: f"/jobs/{job.id}"})


async def delete_avatar(request: web.Request) -> web.Response:
    """With the sessions that show it, if that was asked for, and they are the caller's own."""
    its = services(request)
    avatar_id = its.avatars.resolve(request.match_info["avatar_id"])
    is_forced = flag(request.query, "force")
    folder = its.avatars.deletable(avatar_id)
    owners = [session.owner for session in its.registry.showing(avatar_id)]
    num_own = sum(map(caller(request).owns, owners))
    if num_own and not is_forced:
        raise AvatarInUse(
            f"sessions that show avatar {avatar_id}: {num_own}; delete them first, or delete "
            "it with ?force=true, which ends them"
        )
    if num_own < len(owners):
        raise AvatarInUse(
            f"sessions of another API key show avatar {avatar_id}: wait until they have ended, or "
            "delete it with ?force=true and a key of the scopes avatars and ops, which ends them"
        )
    await _close(its, avatar_id)
    if job := its.jobs.getting_ready(avatar_id):
        await its.jobs.cancel(job)
    else:
        await _remove(its, avatar_id, folder)
    await _close(its, avatar_id)  # what was created in the meantime
    return web.Response(status=204)


async def _remove(its: Services, avatar_id: str, folder: Path) -> None:
    avatar = its.avatars.opened(avatar_id)
    try:
        await asyncio.to_thread(throw_away, folder)
    except FileNotFoundError:
        raise AvatarNotFound(f"avatar {avatar_id} has just been deleted") from None
    if avatar:
        its.readying.drop(avatar)
    its.avatars.forget(avatar_id)


async def _close(its: Services, avatar_id: str) -> None:
    for session in its.registry.showing(avatar_id):
        with suppress(NotFound):  # it has just ended by itself
            await its.registry.close(session.id, "avatar_deleted")
