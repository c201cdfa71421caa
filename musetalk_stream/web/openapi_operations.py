"""What each route takes, answers and refuses, in the words of the OpenAPI document. A test compares
this table with that of the routes; what all routes have in common is added in `openapi`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import hls
from ..captions import CONTENT_TYPE as WEBVTT
from ..captions import MAX_BYTES as CAPTIONS_BYTES
from ..config import Config
from ..options import INTERRUPT_WAIT, PCM_CHANNELS, PCM_RATE, PREBUFFER, TOKEN_TTL, TRAILING_SILENCE
from ..prepare.request import Loop
from .openapi_schemas import (
    BOOLEAN,
    COUNT,
    STRING,
    Schema,
    on_busy,
    ranged,
    record,
    ref,
    session_parameters,
    text,
    words,
)
from .parameters import ENDIANNESS, PCM_TYPES
from .speech import IDEMPOTENCY_KEY, LONGEST_KEY
from .uploads import CAPTIONS_FIELD, FIELD, IDLE_FIELD, MEDIA_FIELD

JSON = "application/json"
HTML = "text/html"
MP4 = "video/mp4"
_METRICS = ("text/plain", "application/openmetrics-text")
BYTES: Schema = {}  # of a body that is a file: OpenAPI 3.1 has no schema for it


@dataclass(frozen=True, slots=True)
class Answer:
    """
    content  schemas by media type; none: there is no body
    headers  their names, with what they say
    """

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Body:
    """
    content   schemas by media type
    encoding  of the fields of a form
    """

    content: Mapping[str, Schema]
    description: str = ""
    is_required: bool = True
    encoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    errors   codes that its handler may answer with, besides those that all routes share
    query    schemas by name; `required` lists those without which it is refused
    is_file  ranges and preconditions are understood
    example  of the body, for the curl line of the page
    """

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    errors: tuple[str, ...] = ()
    query: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    headers: Mapping[str, Schema] = field(default_factory=dict)
    body: Body | None = None
    is_file: bool = False
    example: str = ""


TAGS = {
    "sessions": "One viewer's connection to one avatar",
    "speech": "Sound that is spoken, and what became of it",
    "watching": "Events, chunks and other media of what is spoken",
    "avatars": "Faces, made of photos and videos",
    "recordings": "What is kept by consent",
    "operating": "How the server is doing",
    "webrtc": "The paths of servers that stream over WebRTC, for their clients",
    "pages": "For people, and the files of these pages",
}


def operations(config: Config) -> dict[str, Operation]:
    """By method and path, as `GET /sessions/{session_id}`."""
    its = {
        **_sessions(config),
        **_speech(config),
        **_utterances(),
        **_watching(),
        **_avatars(config),
        **_jobs(),
        **_recordings(),
        **_operating(),
        **_pages(),
    }
    return {**its, **_webrtc(its)}


# --- of what many are made


def _answers(status: int, name: str, description: str, **headers: str) -> dict[int, Answer]:
    """One kind of answer: a JSON document."""
    named = {header.replace("_", "-"): says for header, says in headers.items()}
    return {status: Answer(description, {JSON: ref(name)}, named)}


def _nothing(description: str) -> dict[int, Answer]:
    return {204: Answer(description)}


def _file(description: str, *media_types: str) -> dict[int, Answer]:
    """All of it; other answers of files are added in `openapi`."""
    return {200: Answer(description, dict.fromkeys(media_types, BYTES))}


def _json_body(name: str, *, description: str = "", is_required: bool = True) -> Body:
    return Body({JSON: ref(name)}, description, is_required)


def _page(summary: str, path: str, *errors: str) -> dict[str, Operation]:
    page = Answer("the page", {HTML: STRING})
    return {f"GET {path}": Operation("pages", summary, {200: page}, errors=errors)}


def _events_of(what: str, schema: Schema) -> dict[int, Answer]:
    """Server-sent events: the schema is that of the JSON in each message's `data`."""
    message = {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
    return {200: Answer(what, {"text/event-stream": message})}


# --- the operations


def _sessions(config: Config) -> dict[str, Operation]:
    return {
        "POST /sessions/create": Operation(
            "sessions",
            "Create a session",
            _answers(201, "SessionCreated", "The session", Location="of the session"),
            "Parameters come in the query, in a JSON body, or both: the body wins. Numbers may be "
            "strings. Load `player_url` in a WebView, and upload sound to `stream_url`.",
            errors=(
                "avatar_not_found",
                "avatar_not_prepared",
                "too_many_sessions",
                "capacity",
                "upload_too_large",
                "renderer_lost",
            ),
            query=session_parameters(config),
            body=_json_body("SessionParameters", is_required=False),
            example='-H "Content-Type: application/json" -d \'{"avatar_id": "demo", "fps": 25}\'',
        ),
        "GET /sessions/{session_id}": Operation(
            "sessions",
            "One session: state, config, counters",
            _answers(200, "Session", "The session"),
        ),
        "DELETE /sessions/{session_id}": Operation(
            "sessions",
            "End a session",
            _nothing("Generation stops, event streams end, chunks are deleted"),
        ),
        "POST /sessions/{session_id}/tokens": Operation(
            "sessions",
            "A token of a session, for others",
            _answers(201, "Token", "The token, and addresses that have it"),
            "A token can't make tokens. Without `rights` it may only look.",
            errors=("upload_too_large",),
            query={
                "rights": {**STRING, "description": "comma-separated"},
                TOKEN_TTL.name: ranged(TOKEN_TTL, config.http.token_ttl_s),
            },
            body=_json_body("TokenParameters", is_required=False),
            example='-H "Content-Type: application/json" -d \'{"rights": ["view"], "ttl": 600}\'',
        ),
        "POST /sessions/{session_id}/interrupt": Operation(
            "sessions",
            "Silence: everything that is said or waits ends at once",
            _answers(200, "Interruption", "What ended, and how much of it was heard"),
            "The answer waits until the player has said how much was heard, `wait` seconds at "
            "most, and not at all if nobody watches.",
            errors=("upload_too_large",),
            query={INTERRUPT_WAIT.name: ranged(INTERRUPT_WAIT)},
            body=Body(
                {JSON: record({INTERRUPT_WAIT.name: ranged(INTERRUPT_WAIT)})}, is_required=False
            ),
        ),
        "POST /sessions/{session_id}/playback": Operation(
            "sessions",
            "The player's report: what a viewer sees and hears",
            _nothing("Noted"),
            errors=("utterance_not_found", "upload_too_large"),
            body=_json_body("PlaybackReport"),
            example='-H "Content-Type: application/json" '
            '-d \'{"request_id": "REQUEST", "event": "started", "ago_ms": 12}\'',
        ),
        "POST /sessions/{session_id}/position": Operation(
            "sessions",
            "The player says which frame its placeholder shows right now",
            _nothing("Noted"),
            errors=("upload_too_large",),
            body=_json_body("Position"),
            example='-H "Content-Type: application/json" -d \'{"avatar_frame": 37}\'',
        ),
    }


_OF_UPLOADS = ("no_audio_file", "empty_audio", "damaged_audio", "unsupported_audio",
               "upload_stalled", "upload_aborted", "upload_too_large", "audio_too_long",
               "stream_active", "utterance_ended", "queue_full", "capacity", "renderer_lost",
               "storage_full")  # fmt: skip
_OF_CAPTIONS = ("invalid_captions", "captions_too_large")


def _speech(config: Config) -> dict[str, Operation]:
    options = {
        "on_busy": {**on_busy(), "default": "as of the session"},
        PREBUFFER.name: ranged(PREBUFFER, config.session.prebuffer_s),
        TRAILING_SILENCE.name: ranged(TRAILING_SILENCE),
        "trim_leading_silence": {
            **BOOLEAN,
            "default": False,
            "description": "the silence before the first voice is left out",
        },
    }
    del options["on_busy"]["default"]
    key = {
        "type": "string",
        "pattern": f"^[\\x21-\\x7e]{{1,{LONGEST_KEY}}}$",
        "description": "a request that is sent again because its answer was lost is not spoken "
        "again: the answer names the first one's utterance",
    }
    headers = {IDEMPOTENCY_KEY: key}
    accepted = _answers(202, "Accepted", "It is spoken, or waits", Location="of the utterance")
    pcm = {
        PCM_RATE.name: ranged(PCM_RATE),
        PCM_CHANNELS.name: ranged(PCM_CHANNELS),
        "endianness": {**words(ENDIANNESS), "default": ENDIANNESS[0]},
    }
    sound = {FIELD: BYTES}
    captions = {
        CAPTIONS_FIELD: {
            **STRING,
            "description": "a JSON list of cues, or WebVTT; before or after the sound",
        }
    }
    raw = f"{PCM_TYPES[0]};rate=24000;channels=1"
    return {
        "POST /sessions/{session_id}/stream": Operation(
            "speech",
            "Speak a sound file",
            accepted,
            f"A form with the file in the field `{FIELD}`: wav, mp3, m4a/aac, ogg/opus, flac, "
            f"webm, aiff, caf or amr, of at most {config.upload.max_upload_mb} MB and "
            f"{config.upload.max_audio_s:g} s. It is spoken while it arrives where its kind can "
            "be read before its end.",
            errors=_OF_UPLOADS + _OF_CAPTIONS,
            query=options,
            headers=headers,
            body=Body(
                {"multipart/form-data": record(captions, **sound)},
                encoding={FIELD: {"contentType": "audio/*, application/octet-stream"}},
            ),
            example=f'-F "{FIELD}=@speech.mp3"',
        ),
        "POST /sessions/{session_id}/audio": Operation(
            "speech",
            "Speak the body of the request",
            accepted,
            "Spoken while it arrives: of known length, or in chunks. Raw samples are signed "
            f"16-bit, interleaved, and say their rate: `{raw}`, of {PCM_RATE.minimum:g} to "
            f"{PCM_RATE.maximum:g} Hz, 1 to {PCM_CHANNELS.maximum:g} channels, and "
            f"`endianness={ENDIANNESS[1]}` if they are. Of any other type the bytes say what it "
            "is.",
            errors=_OF_UPLOADS,
            query=options,
            headers=headers,
            body=Body(
                {
                    raw: BYTES,
                    "audio/*": BYTES,
                    "video/webm": BYTES,
                    MP4: BYTES,
                    "application/ogg": BYTES,
                    "application/octet-stream": BYTES,
                }
            ),
            example=f'-T - -H "Content-Type: {raw}"',
        ),
        "GET /sessions/{session_id}/audio/ws": Operation(
            "speech",
            "A WebSocket for raw samples of many utterances",
            {101: Answer("The WebSocket is open")},
            "Binary messages are sound, cut anywhere. Text messages are JSON: `start`, `end`, "
            "`captions` and `cancel` from the client; `accepted`, `ended`, `cancelled` and `error` "
            "from the server, each in the member `event`. docs/protocol.md says what they mean.",
            errors=("upgrade_required", "foreign_origin"),
            query={**pcm, **options},
            required=(PCM_RATE.name,),
        ),
    }


def _utterances() -> dict[str, Operation]:
    path = "/sessions/{session_id}/utterances/{request_id}"
    return {
        "GET /sessions/{session_id}/utterances": Operation(
            "speech",
            "The latest utterances, oldest first",
            _answers(200, "Utterances", "The utterances"),
        ),
        f"GET {path}": Operation(
            "speech", "One utterance", _answers(200, "Utterance", "The utterance")
        ),
        f"DELETE {path}": Operation(
            "speech",
            "Cancel an utterance: it ends, the others go on",
            _nothing("It has ended, now or before"),
        ),
        f"GET {path}/captions": Operation(
            "speech",
            "Its captions",
            {200: Answer("WebVTT, without cues where none were given", {WEBVTT: STRING})},
        ),
        f"PUT {path}/captions": Operation(
            "speech",
            "Give it captions, in place of those that were there",
            _nothing("These are its captions"),
            f"At most {CAPTIONS_BYTES} bytes.",
            errors=(*_OF_CAPTIONS, "upload_too_large"),
            body=Body({JSON: ref("Captions"), WEBVTT: STRING}),
            example='-H "Content-Type: text/vtt" -T captions.vtt',
        ),
    }


def _watching() -> dict[str, Operation]:
    session = "/sessions/{session_id}"
    of_lists = ("utterance_not_found", "nothing_to_play", "chunk_not_found", "not_yet")
    request_id = {"request_id": {**STRING, "description": "of the utterance"}}
    return {
        f"GET {session}/events": Operation(
            "watching",
            "What happens in a session, as server-sent events",
            _events_of("Unnamed messages of one line of JSON each", ref("Event")),
            "The stream stays open across utterances. It begins with `retry:`, has a `ping` every "
            "15 s of silence, and with `Last-Event-ID` goes on after that event.",
            query={"last_event_id": {**STRING, "description": "where no header can be set"}},
            headers={"Last-Event-ID": STRING},
        ),
        "GET /chunks/{request_id}/{name}": Operation(
            "watching",
            "One chunk: a complete fragmented MP4 file",
            _file("The chunk, with its exact codecs", MP4),
            errors=("chunk_not_found",),
            is_file=True,
        ),
        f"GET {session}/utterances/{{request_id}}.mp4": Operation(
            "watching",
            "An utterance as one MP4 file, also while it grows",
            _file("The recording", MP4),
            errors=(*of_lists,),
            query={"download": {**BOOLEAN, "description": "as a file to keep"}},
            is_file=True,
        ),
        f"GET {session}/master.m3u8": Operation(
            "watching",
            "HLS: the list that says what a player must be able to do",
            {200: Answer("RFC 8216", {hls.CONTENT_TYPE: STRING})},
            "Held until the first chunk is there, 10 s at most.",
            errors=of_lists,
            query=request_id,
        ),
        f"GET {session}/live.m3u8": Operation(
            "watching",
            "HLS: the chunks of an utterance",
            {
                200: Answer("RFC 8216", {hls.CONTENT_TYPE: STRING}),
                307: Answer("The list of what is spoken now", headers={"Location": "of the list"}),
            },
            errors=of_lists,
            query={
                **request_id,
                hls.MEDIA_SEQUENCE: {**COUNT, "description": "answer when this one is in it"},
            },
        ),
    }


def _avatars(config: Config) -> dict[str, Operation]:
    avatar = "/avatars/{avatar_id}"
    form = {
        "avatar_id": {
            **STRING,
            "description": "1 to 64 of A-Z a-z 0-9 - _, beginning with a letter or a digit; "
            "without it, it is made of the name of the file",
        },
        "name": text("as people see it"),
        "face_box": {**STRING, "description": "left,top,right,bottom in pixels of the original"},
        "face_point": {**STRING, "description": "x,y: which of several faces"},
        "landmarks": {**STRING, "description": "JSON, 68 pairs [x, y] as in iBUG 300-W"},
        "loop": {**words(Loop), "default": Loop.AUTO.value},
        "approve": {**BOOLEAN, "default": False, "description": "stop when the face is found"},
    }
    files = {IDLE_FIELD: {"description": "a second video, shown in silence"}}
    return {
        "GET /avatars": Operation(
            "avatars",
            "All avatars; the page, where Accept asks for HTML",
            {200: Answer("The avatars", {JSON: ref("Avatars"), HTML: STRING})},
        ),
        "POST /avatars": Operation(
            "avatars",
            "Make an avatar of a picture or a video",
            _answers(202, "Job", "The job that makes it", Location="of the job"),
            f"A form with the file in the field `{MEDIA_FIELD}`, of at most "
            f"{config.prepare.max_avatar_mb} MB and {config.prepare.max_avatar_s:g} s. The other "
            "fields may stand before it, after it, or in the query.",
            errors=(
                "no_media_file",
                "empty_media",
                "damaged_media",
                "unsupported_media",
                "media_too_long",
                "media_too_large",
                "upload_stalled",
                "upload_aborted",
                "upload_too_large",
                "avatar_exists",
                "too_many_jobs",
                "foreign_origin",
                "storage_full",
                "preparation_failed",
            ),
            query=form,
            body=Body({"multipart/form-data": record({**files, **form}, **{MEDIA_FIELD: BYTES})}),
            example=f'-F "{MEDIA_FIELD}=@portrait.jpg" -F "avatar_id=ann"',
        ),
        f"GET {avatar}": Operation("avatars", "One avatar", _answers(200, "Avatar", "The avatar")),
        f"DELETE {avatar}": Operation(
            "avatars",
            "Delete an avatar",
            _nothing("Its files are gone"),
            errors=("avatar_in_use", "avatar_protected", "foreign_origin"),
            query={"force": {**BOOLEAN, "description": "the sessions that show it end, too"}},
        ),
        f"GET {avatar}/video": Operation(
            "avatars",
            "Its placeholder loop, without sound",
            _file("The loop", MP4),
            errors=("chunk_not_found",),
            is_file=True,
        ),
        f"GET {avatar}/poster": Operation(
            "avatars",
            "The first picture of the loop",
            {
                200: Answer("The picture", {"image/jpeg": BYTES}),
                304: Answer("You have it already"),
            },
            errors=("precondition_failed",),
        ),
    }


def _jobs() -> dict[str, Operation]:
    job = "/jobs/{job_id}"
    return {
        "GET /jobs": Operation(
            "avatars",
            "Jobs that make avatars, the newest first",
            _answers(200, "Jobs", "The jobs"),
            errors=("foreign_origin",),
        ),
        f"GET {job}": Operation(
            "avatars", "One job", _answers(200, "Job", "The job"), errors=("foreign_origin",)
        ),
        f"DELETE {job}": Operation(
            "avatars",
            "End a job, which leaves nothing; one that is over is forgotten",
            _nothing("It is gone"),
            errors=("foreign_origin",),
        ),
        f"GET {job}/picture": Operation(
            "avatars",
            "The picture in which the face was found",
            _file("The picture", "image/jpeg"),
            errors=("foreign_origin",),
            is_file=True,
        ),
        f"GET {job}/events": Operation(
            "avatars",
            "The job as it changes, as server-sent events",
            _events_of("Each message is the whole job", ref("JobEvent")),
            errors=("foreign_origin",),
        ),
        f"POST {job}/approve": Operation(
            "avatars",
            "The face is the right one; or where else to look",
            _answers(200, "Job", "The job goes on"),
            errors=("not_awaiting_approval", "foreign_origin", "storage_full", "upload_too_large"),
            body=_json_body("FaceHint", is_required=False),
        ),
    }


def _recordings() -> dict[str, Operation]:
    recording = "/recordings/{recording_id}"
    wanted = {"user_id": {**STRING, "description": "only those of this user"}}
    return {
        "POST /sessions/{session_id}/recording": Operation(
            "recordings",
            "Record the utterances of a session from now on, as somebody has agreed to",
            _answers(200, "RecordingBegun", "The next utterances are kept"),
            "Nothing is recorded without this, or while `recording_days` is 0.",
            errors=("no_recording", "storage_full", "storage_failed", "upload_too_large"),
            body=_json_body("RecordingWanted"),
            example='-H "Content-Type: application/json" -d \'{"consent": {"given_by": "Ann", '
            '"given_at": "2030-01-31T12:00:00Z", "purpose": "training"}}\'',
        ),
        "DELETE /sessions/{session_id}/recording": Operation(
            "recordings",
            "Record no more, nor what is being said",
            _nothing("It is not recorded"),
            errors=("storage_full", "storage_failed"),
        ),
        "GET /recordings": Operation(
            "recordings",
            "What was recorded, the latest 1000",
            _answers(200, "Recordings", "The recordings"),
            errors=("foreign_origin",),
            query=wanted,
        ),
        "DELETE /recordings": Operation(
            "recordings",
            "Delete all that was recorded of a user",
            _answers(200, "RecordingsDeleted", "How many were deleted"),
            errors=("foreign_origin",),
            query=wanted,
            required=("user_id",),
        ),
        f"GET {recording}.mp4": Operation(
            "recordings",
            "A recording",
            _file("The recording", MP4),
            errors=("foreign_origin",),
            is_file=True,
        ),
        f"DELETE {recording}": Operation(
            "recordings",
            "Delete a recording",
            _nothing("It is gone"),
            errors=("foreign_origin",),
        ),
    }


def _operating() -> dict[str, Operation]:
    return {
        "GET /metrics": Operation(
            "operating",
            "How the server is doing, for Prometheus",
            {200: Answer("Prometheus or OpenMetrics text", dict.fromkeys(_METRICS, STRING))},
            errors=("foreign_origin",),
        ),
        "GET /sessions/stats": Operation(
            "operating",
            "All sessions, and what the engine does",
            _answers(200, "Statistics", "Figures since the start, or of the last 10 s"),
            errors=("foreign_origin",),
        ),
        "GET /healthz": Operation(
            "operating",
            "Whether the process can do its work, or only a restart helps",
            {
                200: Answer("It can", {JSON: ref("Health")}),
                503: Answer("It can't", {JSON: ref("Health")}),
            },
        ),
        "GET /readyz": Operation(
            "operating",
            "Whether sessions can be taken, and if not, why",
            {
                200: Answer("They can", {JSON: ref("Health")}),
                503: Answer("They can't", {JSON: ref("Health")}, {"Retry-After": "seconds"}),
            },
        ),
        "GET /openapi.json": Operation(
            "operating",
            "This document",
            {
                200: Answer("OpenAPI 3.1", {"application/openapi+json": {"type": "object"}}),
                304: Answer("You have it already"),
            },
            errors=("precondition_failed",),
        ),
    }


def _pages() -> dict[str, Operation]:
    file = Answer("The file", {"text/css": BYTES, "text/javascript": BYTES})
    return {
        **_page("The start page", "/"),
        **_page("The player of a session", "/player/session/{session_id}"),
        **_page("What the device that opens it can do", "/player/selftest"),
        **_page("This document, for people", "/docs"),
        "GET /client/{filename}": Operation(
            "pages",
            "The player and the client library, as ES modules",
            {200: file},
            errors=("not_found",),
            is_file=True,
        ),
        "GET /static/{filename}": Operation(
            "pages",
            "The pages' scripts and styles",
            {200: file},
            errors=("not_found",),
            is_file=True,
        ),
    }


def _webrtc(its: Mapping[str, Operation]) -> dict[str, Operation]:
    """The same handlers under other paths, and what only WebRTC needs."""
    session = "/sessions/{session_id}"
    create = its["POST /sessions/create"]
    same = (f"GET {session}", f"DELETE {session}", f"POST {session}/stream")
    found = {_below_webrtc(name): _as_webrtc(its[name]) for name in same}
    created = _answers(201, "SessionCreatedForWebRtc", "The session", Location="of the session")
    found["POST /webrtc/sessions/create"] = _as_webrtc(create, created)
    for name, what in (("offer", "an SDP offer"), ("ice", "an ICE candidate")):
        found[f"POST /webrtc{session}/{name}"] = Operation(
            "webrtc",
            f"Where clients of WebRTC servers send {what}: always 501",
            {},
            errors=("webrtc_not_offered",),
        )
    return found


def _below_webrtc(name: str) -> str:
    method, _, path = name.partition(" ")
    return f"{method} /webrtc{path}"


def _as_webrtc(operation: Operation, answers: Mapping[int, Answer] | None = None) -> Operation:
    return Operation(
        "webrtc",
        operation.summary,
        answers or operation.answers,
        operation.description,
        operation.errors,
        operation.query,
        operation.required,
        operation.headers,
        operation.body,
        operation.is_file,
        operation.example,
    )
