"""Events, chunks and other media, and what players report."""

from ... import hls
from ...options import AGO_MS, AVATAR_FRAME, FIRST_FRAME_MS, PLAYED_MS, STALLED_MS
from ...session_state import State
from .parts import (
    ADDRESS,
    BOOLEAN,
    COUNT,
    INSTANT,
    MP4,
    NUMBER,
    SECONDS,
    STRING,
    Answer,
    Operation,
    Schema,
    array,
    events_of,
    file,
    json_body,
    nothing,
    nullable,
    ranged,
    record,
    ref,
    tuple_of,
    words,
)

_OF_LISTS = ("utterance_not_found", "nothing_to_play", "chunk_not_found", "not_yet")


def operations() -> dict[str, Operation]:
    return {**_events_and_media(), **_lists(), **_reports()}


def _events_and_media() -> dict[str, Operation]:
    session = "/sessions/{session_id}"
    return {
        f"GET {session}/events": Operation(
            "watching",
            "What happens in a session, as server-sent events",
            events_of("Unnamed messages of one line of JSON each", ref("Event")),
            "The stream stays open across utterances. It begins with `retry:`, has a `ping` every "
            "15 s of silence, and with `Last-Event-ID` goes on after that event.",
            query={"last_event_id": {**STRING, "description": "where no header can be set"}},
            headers={"Last-Event-ID": STRING},
        ),
        "GET /chunks/{request_id}/{name}": Operation(
            "watching",
            "One chunk: a complete fragmented MP4 file",
            file("The chunk, with its exact codecs", MP4),
            errors=("chunk_not_found",),
            is_file=True,
        ),
        f"GET {session}/utterances/{{request_id}}.mp4": Operation(
            "watching",
            "An utterance as one MP4 file, also while it grows",
            file("The recording", MP4),
            errors=_OF_LISTS,
            query={"download": {**BOOLEAN, "description": "as a file to keep"}},
            is_file=True,
        ),
    }


def _lists() -> dict[str, Operation]:
    session = "/sessions/{session_id}"
    request_id = {"request_id": {**STRING, "description": "of the utterance"}}
    return {
        f"GET {session}/master.m3u8": Operation(
            "watching",
            "HLS: the list that says what a player must be able to do",
            {200: Answer("RFC 8216", {hls.CONTENT_TYPE: STRING})},
            "Held until the first chunk is there, 10 s at most.",
            errors=_OF_LISTS,
            query=request_id,
        ),
        f"GET {session}/live.m3u8": Operation(
            "watching",
            "HLS: the chunks of an utterance",
            {
                200: Answer("RFC 8216", {hls.CONTENT_TYPE: STRING}),
                307: Answer("The list of what is spoken now", headers={"Location": "of the list"}),
            },
            errors=_OF_LISTS,
            query={
                **request_id,
                hls.MEDIA_SEQUENCE: {**COUNT, "description": "answer when this one is in it"},
            },
        ),
    }


def _reports() -> dict[str, Operation]:
    return {
        "POST /sessions/{session_id}/playback": Operation(
            "watching",
            "The player's report: what a viewer sees and hears",
            nothing("Noted"),
            errors=("utterance_not_found", "upload_too_large"),
            body=json_body("PlaybackReport"),
            example='-H "Content-Type: application/json" '
            '-d \'{"request_id": "REQUEST", "event": "started", "ago_ms": 12}\'',
        ),
        "POST /sessions/{session_id}/position": Operation(
            "watching",
            "The player says which frame its placeholder shows right now",
            nothing("Noted"),
            errors=("upload_too_large",),
            body=json_body("Position"),
            example='-H "Content-Type: application/json" -d \'{"avatar_frame": 37}\'',
        ),
    }


def schemas() -> dict[str, Schema]:
    position = record(avatar_frame=ranged(AVATAR_FRAME))
    return {"Position": position, **_playback_reports(), **_events()}


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


def _events() -> dict[str, Schema]:
    """Each by its name, and `Event`, which is any of them."""
    events = {**_of_utterances(), **_of_sessions()}
    named = {f"Event_{name}": _named(name, schema) for name, schema in events.items()}
    any_of_them = {
        "oneOf": [ref(name) for name in named],
        "discriminator": {
            "propertyName": "event",
            "mapping": {name: ref(f"Event_{name}")["$ref"] for name in events},
        },
    }
    return {**named, "Event": any_of_them}


def _of_utterances() -> dict[str, Schema]:
    of_utterance = {"request_id": STRING, "epoch": COUNT}
    return {
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
        "cancelled": record(**of_utterance),
        "playback_started": record(request_id=STRING),
        "playback_finished": record(request_id=STRING, played_ms=COUNT, interrupted=BOOLEAN),
    }


def _of_sessions() -> dict[str, Schema]:
    return {
        "interrupted": record(epoch=COUNT, request_ids=array(STRING)),
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


def _named(name: str, schema: Schema) -> Schema:
    """An event of that name."""
    members = {"event": {"const": name}, **schema["properties"]}
    return {**schema, "properties": members, "required": ["event", *schema.get("required", ())]}
