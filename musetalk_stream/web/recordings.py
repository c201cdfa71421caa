"""What is recorded by consent: who agrees, and who may have it."""

from typing import Any

from aiohttp import web

from ..consent import read_consent
from ..errors import InvalidParameter
from ..recordings import Recording, not_found
from .access import caller, in_rfc3339
from .context import services, session
from .parameters import parameters
from .parts import send_file

_MOST_LISTED = 1000


async def begin_recording(request: web.Request) -> web.Response:
    """From the next utterance on."""
    its = session(request)
    services(request).recordings.require_allowed()
    consent = read_consent((await parameters(request)).get("consent"))
    await services(request).registry.record(its, consent)
    return web.json_response({"recording": True, "consent": consent.to_json()})


async def end_recording(request: web.Request) -> web.Response:
    """What is being said is not recorded any more, either."""
    await services(request).registry.record(session(request), None)
    return web.Response(status=204)


async def list_recordings(request: web.Request) -> web.Response:
    its = services(request).recordings
    mine = [each for each in its.all() if caller(request).owns(each.owner)]
    if "user_id" in request.query:
        mine = [each for each in mine if each.user_id == request.query["user_id"]]
    document = {
        "recordings": [_describe(request, each) for each in mine[:_MOST_LISTED]],
        "total": len(mine),
    }
    return web.json_response(document)


def _describe(request: web.Request, recording: Recording) -> dict[str, Any]:
    return {
        "recording_id": recording.recording_id,
        "session_id": recording.session_id,
        "request_id": recording.request_id,
        "avatar_id": recording.avatar_id,
        "user_id": recording.user_id,
        "recorded_at": in_rfc3339(recording.recorded_at),
        "expires_at": in_rfc3339(services(request).recordings.expires_at(recording)),
        "duration": recording.duration_s,
        "consent": recording.consent.to_json(),
        "recording_url": f"/recordings/{recording.recording_id}.mp4",
    }


async def film(request: web.Request) -> web.StreamResponse:
    recording = _recording(request)
    headers = {
        "Content-Type": recording.mime,
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    path = services(request).recordings.film(recording)
    return await send_file(request, path, headers, not_found())


async def delete_recording(request: web.Request) -> web.Response:
    await services(request).recordings.delete([_recording(request)])
    return web.Response(status=204)


async def delete_recordings_of_user(request: web.Request) -> web.Response:
    """All that the caller has recorded of one user."""
    user_id = request.query.get("user_id")
    if not user_id:
        raise InvalidParameter("user_id", "must say of which user all recordings are deleted")
    its = services(request).recordings
    await its.all_written(user_id)
    mine = [r for r in its.all() if r.user_id == user_id and caller(request).owns(r.owner)]
    await its.delete(mine)
    return web.json_response({"deleted": len(mine)})


def _recording(request: web.Request) -> Recording:
    """That the path names. Raises RecordingNotFound, also if it is another's."""
    found = services(request).recordings.get(request.match_info["recording_id"])
    if not caller(request).owns(found.owner):
        raise not_found()
    return found
