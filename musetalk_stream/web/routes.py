"""The table of routes, and who may ask for each; `docs/protocol.md` describes them, and a test
compares the two."""

from dataclasses import dataclass
from functools import partial

from aiohttp import hdrs, web

from .. import access
from ..access import Need
from . import (
    api,
    avatars,
    captions,
    granting,
    jobs,
    media,
    pages,
    playlists,
    recordings,
    speech,
    webrtc,
)
from .access import Handler, Needs
from .audio_socket import audio_socket
from .bodies import expectations
from .cors import from_allowed_origins, not_for_strangers
from .event_stream import event_stream
from .metrics import metrics
from .openapi import page as openapi
from .page_files import files_of
from .recording import recording

# One segment without a slash. Ids are looked up, never parsed, so their form is not checked here.
_SESSION = "/sessions/{session_id}"
_UTTERANCE = f"{_SESSION}/utterances/{{request_id}}"
_JOB = "/jobs/{job_id}"
_RECORDING = "/recordings/{recording_id}"


@dataclass(frozen=True, slots=True)
class Route:
    """One path and method. Without a `need` there is no route.

    allow_head  GET answers HEAD, too
    """

    method: str
    path: str
    need: Need
    handler: Handler
    allow_head: bool = True


_get = partial(Route, "GET")
_post = partial(Route, "POST")
_put = partial(Route, "PUT")
_delete = partial(Route, "DELETE")

ROUTES: tuple[Route, ...] = (
    _get("/", access.PUBLIC, pages.start_page),
    _get("/player/session/{session_id}", access.VIEW, pages.player_page),
    _get("/player/selftest", access.PUBLIC, pages.selftest_page),
    _post("/sessions/create", access.SESSIONS, api.create_session),
    _get("/sessions/stats", access.OPS, not_for_strangers(api.session_stats)),
    _get(_SESSION, access.VIEW, api.get_session),
    _delete(_SESSION, access.END, api.delete_session),
    _post(f"{_SESSION}/tokens", access.SESSIONS, granting.create_token),
    _post(f"{_SESSION}/stream", access.SPEAK, speech.upload),
    _post(f"{_SESSION}/audio", access.SPEAK, speech.stream_audio),
    _get(
        f"{_SESSION}/audio/ws", access.SPEAK, from_allowed_origins(audio_socket), allow_head=False
    ),
    _post(f"{_SESSION}/interrupt", access.INTERRUPT, speech.interrupt),
    _get(f"{_SESSION}/utterances", access.VIEW, speech.list_utterances),
    _get(f"{_SESSION}/live.m3u8", access.VIEW, playlists.live_list),
    _get(f"{_SESSION}/master.m3u8", access.VIEW, playlists.master_list),
    _get(f"{_UTTERANCE}.mp4", access.VIEW, recording),
    _get(f"{_UTTERANCE}/captions", access.VIEW, captions.get_captions),
    _put(f"{_UTTERANCE}/captions", access.SPEAK, captions.put_captions),
    _get(_UTTERANCE, access.VIEW, speech.get_utterance),
    _delete(_UTTERANCE, access.SPEAK, speech.cancel_utterance),
    _post(f"{_SESSION}/playback", access.VIEW, speech.playback),
    _post(f"{_SESSION}/position", access.VIEW, api.placeholder_position),
    _get(f"{_SESSION}/events", access.VIEW, event_stream, allow_head=False),
    _get(r"/chunks/{request_id}/{name:chunk_\d{4,}\.mp4}", access.CHUNKS, media.chunk),
    _post(f"{_SESSION}/recording", access.SPEAK, recordings.begin_recording),
    _delete(f"{_SESSION}/recording", access.SPEAK, recordings.end_recording),
    _get("/recordings", access.RECORDINGS, not_for_strangers(recordings.list_recordings)),
    _delete(
        "/recordings",
        access.RECORDINGS,
        not_for_strangers(recordings.delete_recordings_of_user),
    ),
    _get(f"{_RECORDING}.mp4", access.RECORDINGS, not_for_strangers(recordings.film)),
    _delete(_RECORDING, access.RECORDINGS, not_for_strangers(recordings.delete_recording)),
    _get("/avatars", access.LOOKING_AT_AVATARS, avatars.list_avatars),
    _post("/avatars", access.AVATARS, not_for_strangers(avatars.create_avatar)),
    _get("/avatars/{avatar_id}", access.ANY_KEY, avatars.get_avatar),
    _delete("/avatars/{avatar_id}", access.AVATARS, not_for_strangers(avatars.delete_avatar)),
    _get("/avatars/{avatar_id}/video", access.PICTURES, media.placeholder),
    _get("/avatars/{avatar_id}/poster", access.PICTURES, media.poster),
    _get("/jobs", access.JOBS, not_for_strangers(jobs.list_jobs)),
    _get(_JOB, access.JOBS, not_for_strangers(jobs.get_job)),
    _delete(_JOB, access.AVATARS, not_for_strangers(jobs.delete_job)),
    _get(f"{_JOB}/picture", access.JOBS, not_for_strangers(jobs.job_picture)),
    _get(f"{_JOB}/events", access.JOBS, not_for_strangers(jobs.job_events), allow_head=False),
    _post(f"{_JOB}/approve", access.AVATARS, not_for_strangers(jobs.approve_job)),
    _post(f"{webrtc.ROOT}/sessions/create", access.SESSIONS, webrtc.create_session),
    _get(f"{webrtc.ROOT}{_SESSION}", access.VIEW, api.get_session),
    _delete(f"{webrtc.ROOT}{_SESSION}", access.END, api.delete_session),
    _post(f"{webrtc.ROOT}{_SESSION}/stream", access.SPEAK, speech.upload),
    _post(f"{webrtc.ROOT}{_SESSION}/offer", access.VIEW, webrtc.negotiation),
    _post(f"{webrtc.ROOT}{_SESSION}/ice", access.VIEW, webrtc.negotiation),
    _get("/metrics", access.METRICS, not_for_strangers(metrics)),
    _get("/healthz", access.PUBLIC, api.alive),
    _get("/readyz", access.PUBLIC, api.ready),
    _get("/openapi.json", access.PUBLIC, openapi.openapi_document),
    _get("/docs", access.PUBLIC, openapi.docs_page),
    _get("/client/{filename:.+}", access.PUBLIC, files_of(pages.CLIENT)),
    _get("/static/{filename:.+}", access.PUBLIC, files_of(pages.TEMPLATES / "static")),
)


def add_routes(app: web.Application) -> Needs:
    """What each of them needs, by its path and method."""
    app[openapi.CONTRACT] = openapi.Contract()
    needs = {}
    for route in ROUTES:
        options = {"allow_head": route.allow_head} if route.method == hdrs.METH_GET else {}
        add = getattr(app.router, f"add_{route.method.lower()}")
        added = add(route.path, route.handler, expect_handler=expectations, **options)
        needs[added.resource.canonical, route.method] = route.need
    app.on_response_prepare.append(_keep_no_refusal)
    return needs


async def _keep_no_refusal(request: web.Request, response: web.StreamResponse) -> None:
    """A precondition that fails (412) has the headers of the file; nobody may keep it."""
    if response.status >= 400:
        response.headers["Cache-Control"] = "no-store"
