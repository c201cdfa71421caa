"""Sessions and health as JSON."""

import time
from dataclasses import asdict

from aiohttp import web

from ..errors import InvalidParameter
from ..options import AVATAR_FRAME, TRAILING_SILENCE, session_options
from ..sessions import Session
from .context import CONFIG, READINESS, services, session
from .parameters import parameters, text
from .uploads import received_audio


async def create_session(request: web.Request) -> web.Response:
    raw = await parameters(request)
    config = request.app[CONFIG]
    options = session_options(raw)
    user_id = text(raw, "user_id")
    avatar_id = text(raw, "avatar_id") or config.session.avatar
    avatar = services(request).avatars.get(avatar_id)
    services(request).registry.require_room(options)  # before work is begun that is for nobody
    services(request).readying.require(avatar)
    created = services(request).registry.create(avatar, options, user_id)
    base = f"/sessions/{created.id}"
    player_url = f"/player/session/{created.id}"
    origin = config.http.public_url.rstrip("/") or f"{request.scheme}://{request.host}"
    document = {
        "session_id": created.id,
        "player_url": player_url,
        "player_full_url": origin + player_url,
        "events_url": f"{base}/events",
        "stream_url": f"{base}/stream",
        "avatar_id": avatar.id,
        "user_id": user_id,
        "config": options.to_json(),
        "expires_in_seconds": round(config.session.session_idle_s),
    }
    return web.json_response(document, status=201, headers={"Location": base})


async def speak(request: web.Request) -> web.Response:
    its, limits = session(request), request.app[CONFIG].upload
    silence = TRAILING_SILENCE.read(request.query.get("trailing_silence", 0))
    with its.receiving():
        services(request).registry.renew_share(its)
        async with received_audio(request, limits.max_upload_bytes) as file:
            utterance = await its.speak(
                file, trailing_silence_s=float(silence), max_duration_s=limits.max_audio_s
            )
    document = {
        "request_id": utterance.request_id,
        "session_id": its.id,
        "status": "speaking",
        "duration": utterance.duration_s,
    }
    return web.json_response(document, status=202)


async def placeholder_position(request: web.Request) -> web.Response:
    its = session(request)
    raw = await parameters(request)
    if "avatar_frame" not in raw:
        raise InvalidParameter("avatar_frame", AVATAR_FRAME.range)
    its.placeholder_at(int(AVATAR_FRAME.read(raw["avatar_frame"])))
    return web.Response(status=204)


async def get_session(request: web.Request) -> web.Response:
    return web.json_response(session(request).describe())


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
            "reserved_fps": its.registry.reserved_fps,
        },
        "store": asdict(its.store.statistics()),
    }
    return web.json_response(document)


async def alive(request: web.Request) -> web.Response:
    """Red when only another start can help."""
    if lost := _lost(request):
        return web.json_response({"status": "failed", "detail": lost}, status=503)
    return web.json_response({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    readiness = request.app[READINESS]
    if readiness.services is None:
        document = {"status": "failed" if readiness.failed else "starting"}
        document["detail"] = readiness.failed or readiness.doing
        return web.json_response(document, status=503, headers={"Retry-After": "1"})
    if lost := _lost(request):
        return web.json_response({"status": "failed", "detail": lost}, status=503)
    return web.json_response({"status": "ready"})


def _lost(request: web.Request) -> str | None:
    its = request.app[READINESS].services
    return its.batcher.lost if its else None
