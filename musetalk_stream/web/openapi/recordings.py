"""What is taken and answered of what is kept by consent."""

from ...consent import LONGEST_TEXT as LONGEST_CONSENT
from .parts import (
    ADDRESS,
    COUNT,
    INSTANT,
    MP4,
    OF_STORAGE,
    SECONDS,
    STRING,
    Operation,
    Schema,
    answers,
    array,
    file,
    json_body,
    nothing,
    nullable,
    record,
    ref,
)


def operations() -> dict[str, Operation]:
    recording = "/recordings/{recording_id}"
    wanted = {"user_id": {**STRING, "description": "only those of this user"}}
    return {
        "POST /sessions/{session_id}/recording": Operation(
            "recordings",
            "Record the utterances of a session from now on, as somebody has agreed to",
            answers(200, "RecordingBegun", "The next utterances are kept"),
            "Nothing is recorded without this, or while `recording_days` is 0.",
            errors=("no_recording", *OF_STORAGE, "upload_too_large"),
            body=json_body("RecordingWanted"),
            example='-H "Content-Type: application/json" -d \'{"consent": {"given_by": "Ann", '
            '"given_at": "2030-01-31T12:00:00Z", "purpose": "training"}}\'',
        ),
        "DELETE /sessions/{session_id}/recording": Operation(
            "recordings",
            "Record no more, nor what is being said",
            nothing("It is not recorded"),
            errors=OF_STORAGE,
        ),
        "GET /recordings": Operation(
            "recordings",
            "What was recorded, the latest 1000",
            answers(200, "Recordings", "The recordings"),
            errors=("foreign_origin",),
            query=wanted,
        ),
        "DELETE /recordings": Operation(
            "recordings",
            "Delete all that was recorded of a user",
            answers(200, "RecordingsDeleted", "How many were deleted"),
            errors=("foreign_origin",),
            query=wanted,
            required=("user_id",),
        ),
        f"GET {recording}.mp4": Operation(
            "recordings",
            "A recording",
            file("The recording", MP4),
            errors=("foreign_origin",),
            is_file=True,
        ),
        f"DELETE {recording}": Operation(
            "recordings",
            "Delete a recording",
            nothing("It is gone"),
            errors=("foreign_origin",),
        ),
    }


def schemas() -> dict[str, Schema]:
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
