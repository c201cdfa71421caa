"""The table of routes; `docs/protocol.md` describes each, and a test compares the two."""

from aiohttp import web

from . import api, avatars, captions, jobs, media, pages, playlists, speech, webrtc
from .audio_socket import audio_socket
from .cors import from_allowed_origins, not_for_strangers
from .event_stream import event_stream
from .metrics import metrics
from .page_files import files_of
from .problems import expectations
from .recording import recording

# One segment without a slash. Ids are looked up, never parsed, so their form is not checked here.
_SESSION = "/sessions/{session_id}"
_UTTERANCE = f"{_SESSION}/utterances/{{request_id}}"
_JOB = "/jobs/{job_id}"


def add_routes(app: web.Application) -> None:
    table: list[web.RouteDef] = [
        web.get("/", pages.start_page),
        web.get("/player/session/{session_id}", pages.player_page),
        web.get("/player/selftest", pages.selftest_page),
        web.post("/sessions/create", api.create_session),
        web.get("/sessions/stats", api.session_stats),
        web.get(_SESSION, api.get_session),
        web.delete(_SESSION, api.delete_session),
        web.post(f"{_SESSION}/stream", speech.upload),
        web.post(f"{_SESSION}/audio", speech.stream_audio),
        web.get(f"{_SESSION}/audio/ws", from_allowed_origins(audio_socket), allow_head=False),
        web.post(f"{_SESSION}/interrupt", speech.interrupt),
        web.get(f"{_SESSION}/utterances", speech.list_utterances),
        web.get(f"{_SESSION}/live.m3u8", playlists.live_list),
        web.get(f"{_SESSION}/master.m3u8", playlists.master_list),
        web.get(f"{_UTTERANCE}.mp4", recording),
        web.get(f"{_UTTERANCE}/captions", captions.get_captions),
        web.put(f"{_UTTERANCE}/captions", captions.put_captions),
        web.get(_UTTERANCE, speech.get_utterance),
        web.delete(_UTTERANCE, speech.cancel_utterance),
        web.post(f"{_SESSION}/playback", speech.playback),
        web.post(f"{_SESSION}/position", api.placeholder_position),
        web.get(f"{_SESSION}/events", event_stream, allow_head=False),
        web.get(r"/chunks/{request_id}/{name:chunk_\d{4,}\.mp4}", media.chunk),
        web.get("/avatars", avatars.list_avatars),
        web.post("/avatars", not_for_strangers(avatars.create_avatar)),
        web.get("/avatars/{avatar_id}", avatars.get_avatar),
        web.delete("/avatars/{avatar_id}", not_for_strangers(avatars.delete_avatar)),
        web.get("/avatars/{avatar_id}/video", media.placeholder),
        web.get("/avatars/{avatar_id}/poster", media.poster),
        web.get("/jobs", jobs.list_jobs),
        web.get(_JOB, jobs.get_job),
        web.delete(_JOB, not_for_strangers(jobs.delete_job)),
        web.get(f"{_JOB}/picture", jobs.job_picture),
        web.get(f"{_JOB}/events", jobs.job_events, allow_head=False),
        web.post(f"{_JOB}/approve", not_for_strangers(jobs.approve_job)),
        web.post(f"{webrtc.ROOT}/sessions/create", webrtc.create_session),
        web.get(f"{webrtc.ROOT}{_SESSION}", api.get_session),
        web.delete(f"{webrtc.ROOT}{_SESSION}", api.delete_session),
        web.post(f"{webrtc.ROOT}{_SESSION}/stream", speech.upload),
        web.post(f"{webrtc.ROOT}{_SESSION}/offer", webrtc.negotiation),
        web.post(f"{webrtc.ROOT}{_SESSION}/ice", webrtc.negotiation),
        web.get("/metrics", metrics),
        web.get("/healthz", api.alive),
        web.get("/readyz", api.ready),
        web.get("/client/{filename:.+}", files_of(pages.CLIENT)),
        web.get("/static/{filename:.+}", files_of(pages.TEMPLATES / "static")),
    ]
    for route in table:
        route.kwargs["expect_handler"] = expectations
    app.add_routes(table)
    app.on_response_prepare.append(_keep_no_refusal)


async def _keep_no_refusal(request: web.Request, response: web.StreamResponse) -> None:
    """A precondition that fails (412) has the headers of the file; nobody may keep it."""
    if response.status >= 400:
        response.headers["Cache-Control"] = "no-store"
