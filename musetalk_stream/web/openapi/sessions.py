"""What is taken and answered of sessions and their tokens."""

from ...access import Right
from ...config import Config
from ...options import (
    BATCH_SIZE,
    CHUNK_DURATION,
    FPS,
    INTERRUPT_WAIT,
    PLAYBACK_FPS,
    PREBUFFER,
    TOKEN_TTL,
    OnBusy,
)
from ...session_state import State
from .parts import (
    ADDRESS,
    BOOLEAN,
    COUNT,
    INSTANT,
    JSON,
    NUMBER,
    OF_STORAGE,
    SECONDS,
    STRING,
    Body,
    Operation,
    Schema,
    answers,
    array,
    json_body,
    nothing,
    nullable,
    ranged,
    record,
    ref,
    text,
    words,
)
from .speech import on_busy


def operations(config: Config) -> dict[str, Operation]:
    return {
        "POST /sessions/create": Operation(
            "sessions",
            "Create a session",
            answers(201, "SessionCreated", "The session", Location="of the session"),
            "Parameters come in the query, in a JSON body, or both: the body wins. Numbers may be "
            "strings. Load `player_url` in a WebView, and upload sound to `stream_url`.",
            errors=(
                "avatar_not_found",
                "avatar_not_prepared",
                "too_many_sessions",
                "too_many_sessions_of_user",
                "capacity",
                "upload_too_large",
                "renderer_lost",
                *OF_STORAGE,
            ),
            query=_parameters(config),
            body=json_body("SessionParameters", is_required=False),
            example='-H "Content-Type: application/json" -d \'{"avatar_id": "demo", "fps": 25}\'',
        ),
        "GET /sessions/{session_id}": Operation(
            "sessions",
            "One session: state, config, counters",
            answers(200, "Session", "The session"),
        ),
        "DELETE /sessions/{session_id}": Operation(
            "sessions",
            "End a session",
            nothing("Generation stops, event streams end, chunks are deleted"),
        ),
        "POST /sessions/{session_id}/tokens": Operation(
            "sessions",
            "A token of a session, for others",
            answers(201, "Token", "The token, and addresses that have it"),
            "A token can't make tokens. Without `rights` it may only look.",
            errors=("upload_too_large",),
            query={
                "rights": {**STRING, "description": "comma-separated"},
                TOKEN_TTL.name: ranged(TOKEN_TTL, config.http.token_ttl_s),
            },
            body=json_body("TokenParameters", is_required=False),
            example='-H "Content-Type: application/json" -d \'{"rights": ["view"], "ttl": 600}\'',
        ),
        "POST /sessions/{session_id}/interrupt": Operation(
            "sessions",
            "Silence: everything that is said or waits ends at once",
            answers(200, "Interruption", "What ended, and how much of it was heard"),
            "The answer waits until the player has said how much was heard, `wait` seconds at "
            "most, and not at all if nobody watches.",
            errors=("upload_too_large",),
            query={INTERRUPT_WAIT.name: ranged(INTERRUPT_WAIT)},
            body=Body(
                {JSON: record({INTERRUPT_WAIT.name: ranged(INTERRUPT_WAIT)})}, is_required=False
            ),
        ),
    }


def _parameters(config: Config) -> dict[str, Schema]:
    """What a new session may be asked for, in the query or in a JSON body."""
    ignored = {"type": "number", "minimum": 0, "maximum": 3600}
    return {
        "avatar_id": {
            **text("an avatar of this server"),
            "default": config.session.avatar,
        },
        "user_id": text("who watches, in your own words; it is kept with the session alone"),
        "fps": ranged(FPS),
        "playback_fps": ranged(PLAYBACK_FPS),
        "batch_size": ranged(BATCH_SIZE),
        "chunk_duration": ranged(CHUNK_DURATION),
        "on_busy": {**on_busy(), "default": OnBusy.REJECT.value},
        "prebuffer": ranged(PREBUFFER, config.session.prebuffer_s),
        "audio_prebuffer_seconds": {
            **ranged(PREBUFFER, config.session.prebuffer_s),
            "description": "Another name of prebuffer",
        },
        "audio_max_lead_seconds": {**ignored, "description": "Understood, without effect"},
        "audio_max_lag_seconds": {**ignored, "description": "Understood, without effect"},
    }


def schemas(config: Config) -> dict[str, Schema]:
    options = record(
        {"ignored": {**array(STRING), "description": "given, and without effect here"}},
        fps=NUMBER,
        playback_fps=NUMBER,
        batch_size=COUNT,
        chunk_duration=NUMBER,
        on_busy=words(OnBusy),
        prebuffer=NUMBER,
    )
    shown = record(
        request_id=STRING,
        duration=nullable(SECONDS),
        chunks=COUNT,
        frames=COUNT,
        seconds=SECONDS,
        timings_ms=ref("Timings"),
    )
    its = {
        "session_id": STRING,
        "state": words(State),
        "epoch": COUNT,
        "avatar_id": STRING,
        "user_id": nullable(STRING),
        "config": ref("SessionConfig"),
        "recording": {**BOOLEAN, "description": "by consent"},
        "subscribers": COUNT,
        "utterance": nullable(ref("UtteranceShown")),
        "counters": record(utterances=COUNT, events=COUNT),
    }
    addresses = ("player_url", "player_full_url", "events_url", "stream_url", "audio_url",
                 "hls_url", "audio_socket_url", "interrupt_url", "utterances_url",
                 "playback_url")  # fmt: skip
    created = {
        "session_id": STRING,
        **dict.fromkeys(addresses, ADDRESS),
        "avatar_id": STRING,
        "avatar": ref("Avatar"),
        "user_id": nullable(STRING),
        "config": ref("SessionConfig"),
        "expires_in_seconds": {**COUNT, "description": "without a viewer or a request"},
    }
    # For who has asked with an API key.
    tokens = {
        "token": {**STRING, "description": "with all rights, for this session"},
        "token_expires_at": INSTANT,
    }
    return {
        "SessionParameters": record(_parameters(config)),
        "SessionConfig": options,
        "UtteranceShown": {**shown, "description": "the one that viewers see, or saw last"},
        "SessionCreated": record(tokens, **created),
        "TokenParameters": record(
            {
                "rights": {**array(words(Right)), "minItems": 1, "default": [Right.VIEW.value]},
                TOKEN_TTL.name: ranged(TOKEN_TTL, config.http.token_ttl_s),
            }
        ),
        "Token": {
            **record(
                token=nullable(STRING),
                rights=array(words(Right)),
                expires_at=nullable(INSTANT),
                player_url=ADDRESS,
                events_url=ADDRESS,
            ),
            "description": "null, and of no need, on a server without keys",
        },
        "SessionListed": record(**its),
        "Session": record(**its, avatar=ref("Avatar"), hls_url=ADDRESS),
    }
