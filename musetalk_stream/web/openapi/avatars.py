"""What is taken and answered of avatars, and of the jobs that make them."""

from ...avatar import NUM_LANDMARKS, Cycle
from ...config import Config
from ...jobs.state import JobState
from ...prepare.progress import Stage
from ...prepare.request import Loop
from ..uploads import IDLE_FIELD, MEDIA_FIELD
from .parts import (
    ADDRESS,
    BOOLEAN,
    BYTES,
    COUNT,
    HTML,
    INTEGER,
    JSON,
    MP4,
    NUMBER,
    OF_STORAGE,
    STRING,
    Answer,
    Body,
    Operation,
    Schema,
    answers,
    array,
    events_of,
    file,
    json_body,
    nothing,
    nullable,
    record,
    ref,
    text,
    tuple_of,
    words,
)


def operations(config: Config) -> dict[str, Operation]:
    return {**_making(config), **_made(), **_jobs()}


def _making(config: Config) -> dict[str, Operation]:
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
        "POST /avatars": Operation(
            "avatars",
            "Make an avatar of a picture or a video",
            answers(202, "Job", "The job that makes it", Location="of the job"),
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
                "quota_exceeded",
                *OF_STORAGE,
                "preparation_failed",
            ),
            query=form,
            body=Body({"multipart/form-data": record({**files, **form}, **{MEDIA_FIELD: BYTES})}),
            example=f'-F "{MEDIA_FIELD}=@portrait.jpg" -F "avatar_id=ann"',
        ),
    }


def _made() -> dict[str, Operation]:
    avatar = "/avatars/{avatar_id}"
    return {
        "GET /avatars": Operation(
            "avatars",
            "All avatars; the page, where Accept asks for HTML",
            {200: Answer("The avatars", {JSON: ref("Avatars"), HTML: STRING})},
        ),
        f"GET {avatar}": Operation("avatars", "One avatar", answers(200, "Avatar", "The avatar")),
        f"DELETE {avatar}": Operation(
            "avatars",
            "Delete an avatar",
            nothing("Its files are gone"),
            errors=("avatar_in_use", "avatar_protected", "foreign_origin"),
            query={"force": {**BOOLEAN, "description": "the sessions that show it end, too"}},
        ),
        f"GET {avatar}/video": Operation(
            "avatars",
            "Its placeholder loop, without sound",
            file("The loop", MP4),
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
            answers(200, "Jobs", "The jobs"),
            errors=("foreign_origin",),
        ),
        f"GET {job}": Operation(
            "avatars", "One job", answers(200, "Job", "The job"), errors=("foreign_origin",)
        ),
        f"DELETE {job}": Operation(
            "avatars",
            "End a job, which leaves nothing; one that is over is forgotten",
            nothing("It is gone"),
            errors=("foreign_origin",),
        ),
        f"GET {job}/picture": Operation(
            "avatars",
            "The picture in which the face was found",
            file("The picture", "image/jpeg"),
            errors=("foreign_origin",),
            is_file=True,
        ),
        f"GET {job}/events": Operation(
            "avatars",
            "The job as it changes, as server-sent events",
            events_of("Each message is the whole job", ref("JobEvent")),
            errors=("foreign_origin",),
        ),
        f"POST {job}/approve": Operation(
            "avatars",
            "The face is the right one; or where else to look",
            answers(200, "Job", "The job goes on"),
            errors=("not_awaiting_approval", "foreign_origin", *OF_STORAGE, "upload_too_large"),
            body=json_body("FaceHint", is_required=False),
        ),
    }


def schemas() -> dict[str, Schema]:
    return {**_of_avatars(), **_of_jobs()}


def _of_avatars() -> dict[str, Schema]:
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


def _of_jobs() -> dict[str, Schema]:
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
