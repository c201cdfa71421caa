"""Sessions and health as JSON."""

import time
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ..errors import InvalidParameter
from ..options import AVATAR_FRAME, session_options
from ..sessions import Session
from ..supervisor import RendererState
from . import avatars
from .access import Granted, caller, granted, in_rfc3339, with_token
from .context import CONFIG, READINESS, Readiness, services, session
from .links import full_url, in_document
from .parameters import parameters, text


async def create_session(request: web.Request) -> web.Response:
    document = await new_session(request)
    headers = {"Location": f"/sessions/{document['session_id']}"}
    return web.json_response(document, status=201, headers=headers)


async def new_session(request: web.Request) -> dict[str, Any]:
    """What the client is told of the session that it has created."""
    raw = await parameters(request)
    config = request.app[CONFIG]
    options = session_options(raw, prebuffer_s=config.session.prebuffer_s)
    user_id = text(raw, "user_id")
    avatar_id = text(raw, "avatar_id") or config.session.avatar
    avatar = services(request).avatars.get(avatar_id)
    services(request).registry.require_room(options)  # before work is begun that is for nobody
    services(request).readying.require(avatar)
    owner = caller(request).key_id
    created = await services(request).registry.create(avatar, options, user_id, owner)
    tokens = granted(request, created.id)
    base = f"/sessions/{created.id}"
    player_url = with_token(f"/player/session/{created.id}", tokens.watching)
    return {
        "session_id": created.id,
        "player_url": player_url,
        "player_full_url": full_url(request, player_url),
        "events_url": with_token(f"{base}/events", tokens.viewing),
        "stream_url": with_token(f"{base}/stream", tokens.full),
        "audio_url": with_token(f"{base}/audio", tokens.full),
        "hls_url": with_token(_hls_url(created), tokens.viewing),
        "audio_socket_url": with_token(f"{base}/audio/ws", tokens.full),
        "interrupt_url": with_token(f"{base}/interrupt", tokens.full),
        "utterances_url": with_token(f"{base}/utterances", tokens.full),
        "playback_url": with_token(f"{base}/playback", tokens.full),
        "avatar_id": avatar.id,
        "avatar": in_document(avatars.document(request, avatar), "", tokens.viewing),
        "user_id": user_id,
        "config": options.to_json(),
        "expires_in_seconds": round(config.session.session_idle_s),
        **_told(tokens),
    }


def _told(tokens: Granted) -> dict[str, str]:
    """To who asked with an API key; a server without keys has no tokens."""
    if not tokens.full:
        return {}
    return {"token": tokens.full, "token_expires_at": in_rfc3339(tokens.expires_s)}


async def placeholder_position(request: web.Request) -> web.Response:
    its = session(request)
    raw = await parameters(request)
    if "avatar_frame" not in raw:
        raise InvalidParameter("avatar_frame", AVATAR_FRAME.range)
    its.placeholder_at(int(AVATAR_FRAME.read(raw["avatar_frame"])))
    return web.Response(status=204)


async def get_session(request: web.Request) -> web.Response:
    its = session(request)
    document = {
        **its.describe(),
        "avatar": avatars.document(request, its.avatar),
        "hls_url": _hls_url(its),
    }
    return web.json_response(document)


def _hls_url(its: Session) -> str:
    return f"/sessions/{its.id}/master.m3u8"


async def delete_session(request: web.Request) -> web.Response:
    closing: Session = session(request)
    await services(request).registry.close(closing.id, "deleted")
    return web.Response(status=204)


async def session_stats(request: web.Request) -> web.Response:
    its = services(request)
    sessions = [session.describe() for session in its.registry.all()]
    document = {
        "total_sessions": len(sessions),
        "active_streams": sum(each["state"] == "speaking" for each in sessions),
        "sessions": sessions,
        "engine": {
            **asdict(its.stats.statistics(time.monotonic())),
            **asdict(its.batcher.statistics()),
            "reserved_fps": its.registry.reserved.output,
            "reserved_lips_fps": its.registry.reserved.lips,
        },
        "store": asdict(its.store.statistics()),
    }
    return web.json_response(document)


async def alive(request: web.Request) -> web.Response:
    """Red when only another start can help."""
    readiness = request.app[READINESS]
    if readiness.failed and readiness.services:
        return web.json_response({"status": "failed", "detail": readiness.failed}, status=503)
    return web.json_response({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    if why := why_not_ready(request.app[READINESS]):
        status, detail = why
        document = {"status": status, "detail": detail}
        return web.json_response(document, status=503, headers={"Retry-After": "1"})
    return web.json_response({"status": "ready"})


def why_not_ready(readiness: Readiness) -> tuple[str, str] | None:
    """A word for programs, and a sentence; None: sessions can be taken."""
    its = readiness.services
    if readiness.failed:
        return "failed", readiness.failed
    if its is None:
        return "starting", readiness.doing
    if readiness.is_draining:
        return "draining", "the server was told to stop"
    if its.supervisor.state is not RendererState.UP:
        return "restarting", its.supervisor.describe()
    if lost := its.decoders.processes.lost:
        return "restarting", lost
    if trouble := its.registry.storage_trouble:
        return "storage", trouble
    return None
