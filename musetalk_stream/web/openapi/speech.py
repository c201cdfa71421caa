"""What is taken and answered of sound that is spoken, and of what becomes of it."""

from ...captions import CONTENT_TYPE as WEBVTT
from ...captions import MAX_BYTES as CAPTIONS_BYTES
from ...captions import MAX_CUES
from ...config import Config
from ...options import PCM_CHANNELS, PCM_RATE, PREBUFFER, TRAILING_SILENCE, OnBusy
from ...session_state import TurnState
from ..parameters import ENDIANNESS, PCM_TYPES
from ..speech import IDEMPOTENCY_KEY, LONGEST_KEY
from ..uploads import CAPTIONS_FIELD, FIELD
from .parts import (
    ADDRESS,
    BOOLEAN,
    BYTES,
    COUNT,
    INTEGER,
    JSON,
    MP4,
    OF_STORAGE,
    SECONDS,
    STRING,
    Answer,
    Body,
    Operation,
    Schema,
    answers,
    array,
    nothing,
    nullable,
    ranged,
    record,
    ref,
    words,
)

_OF_UPLOADS = ("no_audio_file", "empty_audio", "damaged_audio", "unsupported_audio",
               "upload_stalled", "upload_aborted", "upload_too_large", "audio_too_long",
               "stream_active", "utterance_ended", "not_watched", "queue_full", "quota_exceeded",
               "too_many_utterances_of_user", "capacity", "renderer_lost",
               *OF_STORAGE)  # fmt: skip
_OF_CAPTIONS = ("invalid_captions", "captions_too_large")


def operations(config: Config) -> dict[str, Operation]:
    options = _options(config)
    return {**_uploads(config, options), **_socket(options), **_utterances()}


def _options(config: Config) -> dict[str, Schema]:
    return {
        "on_busy": on_busy(),
        PREBUFFER.name: ranged(PREBUFFER, config.session.prebuffer_s),
        TRAILING_SILENCE.name: ranged(TRAILING_SILENCE),
        "trim_leading_silence": {
            **BOOLEAN,
            "default": False,
            "description": "the silence before the first voice is left out",
        },
    }


def _uploads(config: Config, options: Schema) -> dict[str, Operation]:
    key = {
        "type": "string",
        "pattern": f"^[\\x21-\\x7e]{{1,{LONGEST_KEY}}}$",
        "description": "a request that is sent again because its answer was lost is not spoken "
        "again: the answer names the first one's utterance",
    }
    headers = {IDEMPOTENCY_KEY: key}
    accepted = answers(202, "Accepted", "It is spoken, or waits", Location="of the utterance")
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
                {"multipart/form-data": record(captions, **{FIELD: BYTES})},
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
    }


def _socket(options: Schema) -> dict[str, Operation]:
    pcm = {
        PCM_RATE.name: ranged(PCM_RATE),
        PCM_CHANNELS.name: ranged(PCM_CHANNELS),
        "endianness": {**words(ENDIANNESS), "default": ENDIANNESS[0]},
    }
    return {
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


def on_busy() -> Schema:
    return {
        **words(OnBusy),
        "description": "What becomes of speech that comes while the session speaks: it is refused "
        "(409), waits for its turn, or interrupts what is there",
    }


def _utterances() -> dict[str, Operation]:
    path = "/sessions/{session_id}/utterances/{request_id}"
    return {
        "GET /sessions/{session_id}/utterances": Operation(
            "speech",
            "The latest utterances, oldest first",
            answers(200, "Utterances", "The utterances"),
        ),
        f"GET {path}": Operation(
            "speech", "One utterance", answers(200, "Utterance", "The utterance")
        ),
        f"DELETE {path}": Operation(
            "speech",
            "Cancel an utterance: it ends, the others go on",
            nothing("It has ended, now or before"),
        ),
        f"GET {path}/captions": Operation(
            "speech",
            "Its captions",
            {200: Answer("WebVTT, without cues where none were given", {WEBVTT: STRING})},
        ),
        f"PUT {path}/captions": Operation(
            "speech",
            "Give it captions, in place of those that were there",
            nothing("These are its captions"),
            f"At most {CAPTIONS_BYTES} bytes.",
            errors=(*_OF_CAPTIONS, "upload_too_large"),
            body=Body({JSON: ref("Captions"), WEBVTT: STRING}),
            example='-H "Content-Type: text/vtt" -T captions.vtt',
        ),
    }


def schemas() -> dict[str, Schema]:
    statuses = words(state for state in TurnState if state is not TurnState.DROPPED)
    stages = ("received", "decoded", "first_batch", "first_chunk", "first_frame_painted")
    cue = record(start=SECONDS, end=SECONDS, text=STRING)
    return {
        "Timings": {
            **record(**dict.fromkeys(stages, nullable(INTEGER))),
            "description": "milliseconds since the request; null until it has happened",
        },
        "Accepted": record(
            request_id=STRING,
            session_id=STRING,
            status=statuses,
            duration=nullable(SECONDS),
            epoch=COUNT,
        ),
        "Utterance": record(
            request_id=STRING,
            epoch=COUNT,
            status=statuses,
            arriving=BOOLEAN,
            position=nullable(COUNT),
            duration=nullable(SECONDS),
            chunks=COUNT,
            seconds=SECONDS,
            played_ms=nullable(COUNT),
            ended_early=nullable(STRING),
            waited=SECONDS,
            timings_ms=ref("Timings"),
            playlist_url=ADDRESS,
            recording_url=ADDRESS,
            captions_url=ADDRESS,
        ),
        "Utterances": record(utterances=array(ref("Utterance"))),
        "Interruption": record(
            interrupted=BOOLEAN,
            epoch=COUNT,
            request_ids=array(STRING),
            request_id=nullable(STRING),
            played_ms=nullable(COUNT),
        ),
        "Cue": cue,
        "Captions": record(cues={**array(ref("Cue")), "maxItems": MAX_CUES}),
    }
