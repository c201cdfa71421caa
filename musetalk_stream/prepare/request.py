"""What was asked for when an avatar is to be made: kept beside the work, which can so go on after a
restart."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

Point = tuple[float, float]


class Loop(StrEnum):
    """How the pictures of a video repeat."""

    AUTO = "auto"  # forward if the video ends as it begins, else ping-pong
    PING_PONG = "ping-pong"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class FaceHint:
    """Where the face is, as a person says: in pixels of the upright original, before it is scaled.

    box        left, top, right, bottom of the face
    point      which of several faces: the one around or nearest to it
    landmarks  68 points in the order of iBUG 300-W, of the first picture
    """

    box: tuple[float, float, float, float] | None = None
    point: Point | None = None
    landmarks: tuple[Point, ...] | None = None

    def __bool__(self) -> bool:
        return self != FaceHint()


@dataclass(frozen=True, slots=True)
class Request:
    """One avatar to be made of one uploaded file.

    approve  stop when the face has been found, until somebody has looked at it
    job_id   by which clients follow it; of no matter to what is made
    """

    avatar_id: str
    name: str
    file_name: str
    job_id: str
    loop: Loop = Loop.AUTO
    hint: FaceHint = FaceHint()
    approve: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read_request(text: str) -> Request:
    """What `Request.to_json` wrote. Raises ValueError, KeyError or TypeError if it is not that."""
    raw: dict[str, Any] = json.loads(text)
    hint = raw.pop("hint")
    landmarks = hint["landmarks"]
    return Request(
        **raw
        | {
            "loop": Loop(raw["loop"]),
            "hint": FaceHint(
                box=hint["box"] and tuple(hint["box"]),
                point=hint["point"] and tuple(hint["point"]),
                landmarks=landmarks and tuple((x, y) for x, y in landmarks),
            ),
        }
    )
