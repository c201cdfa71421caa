"""What documents, events and bodies look like, as JSON Schema (2020-12): the components of the
OpenAPI document. Ranges and words come from where the code has them."""

from collections.abc import Iterable
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ..access import Right
from ..avatar import NUM_LANDMARKS, Cycle
from ..batcher import BatcherStatistics
from ..captions import MAX_CUES
from ..config import Config
from ..consent import LONGEST_TEXT as LONGEST_CONSENT
from ..jobs.state import JobState
from ..options import (
    AGO_MS,
    AVATAR_FRAME,
    BATCH_SIZE,
    CHUNK_DURATION,
    FIRST_FRAME_MS,
    FPS,
    PLAYBACK_FPS,
    PLAYED_MS,
    PREBUFFER,
    STALLED_MS,
    TOKEN_TTL,
    OnBusy,
    Option,
)
from ..prepare.progress import Stage
from ..prepare.request import LONGEST_TEXT
from ..session_state import State, TurnState
from ..stats import EngineStatistics
from ..store import StoreStatistics

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0, "description": "seconds"}
ADDRESS: Schema = {"type": "string", "format": "uri-reference"}
INSTANT: Schema = {"type": "string", "format": "date-time"}


# --- what schemas are made of


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(optional: Schema | None = None, **members: Schema) -> Schema:
    """An object that always has these members, and may have the optional ones."""
    schema: Schema = {"type": "object", "properties": {**members, **(optional or {})}}
    if members:
        schema["required"] = list(members)
    return schema


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def tuple_of(items: Schema, count: int) -> Schema:
    return {"type": "array", "items": items, "minItems": count, "maxItems": count}


def nullable(schema: Schema) -> Schema:
    """Or null, which says that there is none, or none yet."""
    if "type" in schema and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def words(said: Iterable[str]) -> Schema:
    return {"type": "string", "enum": [str(word) for word in said]}


def text(description: str, max_length: int = LONGEST_TEXT) -> Schema:
    return {"type": "string", "maxLength": max_length, "description": description}


def ranged(option: Option, default: float | None = None) -> Schema:
    """The range of an option as it is checked."""
    schema: Schema = {
        "type": "integer" if option.step == 1 else "number",
        "minimum": _number(option.minimum),
        "maximum": _number(option.maximum),
        "description": option.help,
    }
    default = option.default if default is None else default
    if default is not None:
        schema["default"] = _number(default)
    return schema


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value


def of_dataclass(kind: type) -> Schema:
    """Of a record of figures, as `dataclasses.asdict` shows it."""
    hints = get_type_hints(kind)
    return record(**{field.name: _of_type(hints[field.name]) for field in fields(kind)})


def _of_type(hint: Any) -> Schema:
    known = {int: INTEGER, float: NUMBER, bool: BOOLEAN, str: STRING}
    if hint in known:
        return known[hint]
    arguments = get_args(hint)
    if isinstance(hint, UnionType) and NoneType in arguments:
        (wanted,) = (each for each in arguments if each is not NoneType)
        return nullable(_of_type(wanted))
    if get_origin(hint) is dict:  # JSON has strings for keys
        return {"type": "object", "additionalProperties": _of_type(arguments[1])}
    raise TypeError(f"no schema for {hint}")


# --- the components


def components(config: Config) -> dict[str, Schema]:
    """All schemas by name."""
    return {
        **_problems(),
        **_avatars(),
        **_sessions(config),
        **_speech(),
        **_jobs(),
        **_recordings(),
        **_events(),
        "Statistics": _statistics(),
    }


def _problems() -> dict[str, Schema]:
    return {
        "Problem": {
            **record(
                type=STRING,
                title=STRING,
                status=INTEGER,
                detail={**STRING, "description": "what is wrong, and what to do next"},
                code={**STRING, "description": "stable: switch on this"},
                retryable={
                    **BOOLEAN,
                    "description": "whether the same request may succeed later, without doing "
                    "twice what was done in part",
                },
            ),
            "description": "RFC 9457",
        },
        "Health": record({"detail": STRING}, status=STRING),
    }


def _avatars() -> dict[str, Schema]:
    return {
        "Avatar": record(
            {"progress": nullable({"type": "number", "minimum": 0, "maximum": 1})},
            id=STRING,
            name=STRING,
            width=COUNT,
            height=COUNT,
            fps=NUMBER,
            num_frames=COUNT,
            idle_frames=COUNT,
            cycle=words(Cycle),
            cycle_length=COUNT,
            video_url=ADDRESS,
            poster_url=ADDRESS,
            provenance=STRING,
            licence=STRING,
            prepared=BOOLEAN,
            protected=BOOLEAN,
        ),
        "Avatars": record(avatars=array(ref("Avatar"))),
    }


def session_parameters(config: Config) -> dict[str, Schema]:
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
        "on_busy": on_busy(),
        "prebuffer": ranged(PREBUFFER, config.session.prebuffer_s),
        "audio_prebuffer_seconds": {
            **ranged(PREBUFFER, config.session.prebuffer_s),
            "description": "Another name of prebuffer",
        },
        "audio_max_lead_seconds": {**ignored, "description": "Understood, without effect"},
        "audio_max_lag_seconds": {**ignored, "description": "Understood, without effect"},
    }


def on_busy() -> Schema:
    return {
        **words(OnBusy),
        "default": OnBusy.REJECT.value,
        "description": "What becomes of speech that comes while the session speaks: it is refused "
        "(409), waits for its turn, or interrupts what is there",
    }


def _sessions(config: Config) -> dict[str, Schema]:
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
        "SessionParameters": record(session_parameters(config)),
        "SessionConfig": options,
        "UtteranceShown": {**shown, "description": "the one that viewers see, or saw last"},
        "SessionCreated": record(tokens, **created),
        "SessionCreatedForWebRtc": record(
            tokens, **created, ice_servers={**array(STRING), "maxItems": 0}
        ),
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


def _speech() -> dict[str, Schema]:
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
        "Position": record(avatar_frame=ranged(AVATAR_FRAME)),
        **_playback_reports(),
    }


def _playback_reports() -> dict[str, Schema]:
    started = record(
        {AGO_MS.name: ranged(AGO_MS), FIRST_FRAME_MS.name: ranged(FIRST_FRAME_MS)},
        event={"const": "started"},
        request_id=STRING,
    )
    stalled = record(
        event={"const": "stalled"}, request_id=STRING, **{STALLED_MS.name: ranged(STALLED_MS)}
    )
    finished = record(
        {PLAYED_MS.name: ranged(PLAYED_MS), "interrupted": BOOLEAN},
        event={"const": "finished"},
        request_id=STRING,
    )
    reports = {
        "PlaybackStarted": started,
        "PlaybackStalled": stalled,
        "PlaybackFinished": finished,
    }
    any_of_them = {
        "oneOf": [ref(name) for name in reports],
        "description": "what a viewer sees and hears",
    }
    return {**reports, "PlaybackReport": any_of_them}


def _jobs() -> dict[str, Schema]:
    point = tuple_of(NUMBER, 2)
    preview = record(
        picture_url=ADDRESS,
        width=COUNT,
        height=COUNT,
        original_width=COUNT,
        original_height=COUNT,
        faces=array(record(box=tuple_of(NUMBER, 4), chosen=BOOLEAN)),
        landmarks=array(point),
        mask=array(array(point)),
        finder=STRING,
    )
    error = record(title=STRING, detail=STRING, code=STRING, status=INTEGER, retryable=BOOLEAN)
    job = {
        "job_id": STRING,
        "avatar_id": STRING,
        "name": STRING,
        "file_name": STRING,
        "state": words(JobState),
        "position": nullable(COUNT),
        "stage": nullable(words(Stage)),
        "percent": {"type": "number", "minimum": 0, "maximum": 100},
        "seconds_left": nullable(NUMBER),
        "notes": array(STRING),
        "preview": nullable(ref("Preview")),
        "error": nullable(ref("JobError")),
        "events_url": ADDRESS,
        "avatar_url": ADDRESS,
    }
    landmarks = tuple_of(point, NUM_LANDMARKS)
    return {
        "Preview": {**preview, "description": "what was found, in pixels of its picture"},
        "JobError": error,
        "Job": record(**job),
        "Jobs": record(jobs=array(ref("Job"))),
        "JobEvent": record(event={"const": "job"}, **job),
        "FaceHint": record(
            {
                "face_box": {**tuple_of(NUMBER, 4), "description": "left, top, right, bottom"},
                "face_point": {**point, "description": "x, y"},
                "landmarks": {**landmarks, "description": "in the order of iBUG 300-W"},
            }
        ),
    }


def _recordings() -> dict[str, Schema]:
    said = {"type": "string", "minLength": 1, "maxLength": LONGEST_CONSENT}
    consent = record(given_by=said, given_at=INSTANT, purpose=said)
    recording = record(
        recording_id=STRING,
        session_id=STRING,
        request_id=STRING,
        avatar_id=STRING,
        user_id=nullable(STRING),
        recorded_at=INSTANT,
        expires_at=INSTANT,
        duration=SECONDS,
        consent=ref("Consent"),
        recording_url=ADDRESS,
    )
    return {
        "Consent": {**consent, "description": "whose it is, since when, and what it is for"},
        "RecordingWanted": record(consent=ref("Consent")),
        "RecordingBegun": record(recording={"const": True}, consent=ref("Consent")),
        "Recording": recording,
        "Recordings": record(recordings=array(ref("Recording")), total=COUNT),
        "RecordingsDeleted": record(deleted=COUNT),
    }


def _statistics() -> Schema:
    engine = of_dataclass(EngineStatistics), of_dataclass(BatcherStatistics)
    figures = {name: each for kind in engine for name, each in kind["properties"].items()}
    return record(
        total_sessions=COUNT,
        active_streams=COUNT,
        sessions=array(ref("SessionListed")),
        engine=record(**figures, reserved_fps=NUMBER, reserved_lips_fps=NUMBER),
        store=of_dataclass(StoreStatistics),
    )


def _events() -> dict[str, Schema]:
    """Each by its name, and `Event`, which is any of them."""
    of_utterance = {"request_id": STRING, "epoch": COUNT}
    events = {
        "queued": record(**of_utterance, position=COUNT),
        "started": record(
            **of_utterance,
            duration=nullable(SECONDS),
            fps=NUMBER,
            mime=STRING,
            avatar_frame=COUNT,
            follows=nullable(STRING),
            prebuffer=SECONDS,
        ),
        "first_frame": record(**of_utterance),
        "captions": record(**of_utterance, cues=array(ref("Cue"))),
        "chunk": record(
            url=ADDRESS,
            index=COUNT,
            **of_utterance,
            start=SECONDS,
            duration=SECONDS,
            mime=STRING,
            avatar_frames=tuple_of(COUNT, 2),
            levels=array({"type": "integer", "minimum": -90, "maximum": 0}),
        ),
        "complete": record(
            **of_utterance,
            total_chunks=COUNT,
            duration=SECONDS,
            sound_duration=SECONDS,
            avatar_frame=COUNT,
            ended_early=nullable(STRING),
            waited=SECONDS,
        ),
        "error": record(**of_utterance, message=STRING, code=STRING, retryable=BOOLEAN),
        "interrupted": record(epoch=COUNT, request_ids=array(STRING)),
        "cancelled": record(**of_utterance),
        "playback_started": record(request_id=STRING),
        "playback_finished": record(request_id=STRING, played_ms=COUNT, interrupted=BOOLEAN),
        "state": record(
            {"resumed": {**BOOLEAN, "description": "the server was started again since"}},
            state=words(State),
            request_id=nullable(STRING),
            position=nullable(SECONDS),
            epoch=COUNT,
            recording=BOOLEAN,
        ),
        "recording": record({"consent": record(given_at=INSTANT, purpose=STRING)}, on=BOOLEAN),
        "reset": record(),
        "ping": record(),
        "closed": record(
            {"resumable": {**BOOLEAN, "description": "the server goes on with it when it is back"}},
            reason=words(["deleted", "expired", "avatar_deleted", "shutdown"]),
        ),
    }
    named = {f"Event_{name}": _named(name, schema) for name, schema in events.items()}
    any_of_them = {
        "oneOf": [ref(name) for name in named],
        "discriminator": {
            "propertyName": "event",
            "mapping": {name: ref(f"Event_{name}")["$ref"] for name in events},
        },
    }
    return {**named, "Event": any_of_them}


def _named(name: str, schema: Schema) -> Schema:
    """An event of that name."""
    members = {"event": {"const": name}, **schema["properties"]}
    return {**schema, "properties": members, "required": ["event", *schema.get("required", ())]}
