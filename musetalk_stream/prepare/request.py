"""What was asked for when an avatar is to be made: kept beside the work, which can so go on after a
restart."""

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from ..avatar import NUM_LANDMARKS
from ..errors import InvalidParameter

Point = tuple[float, float]

_LONGEST_SLUG = 56  # of the 64 characters of an id: whoever must tell two apart has eight left


LONGEST_TEXT = 128  # characters of a name


def in_one_line(said: str) -> str:
    """With a space for each character that can't be seen: it may steer a terminal, or a line."""
    return "".join(sign if sign.isprintable() else " " for sign in said).strip()


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
    owner    id of the API key that asked; empty on a server without keys
    """

    avatar_id: str
    name: str
    file_name: str
    job_id: str
    loop: Loop = Loop.AUTO
    hint: FaceHint = FaceHint()
    approve: bool = False
    owner: str = ""

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


def avatar_id_of(file_name: str) -> str:
    """An id for an avatar that is made of such a file: `Été 2024.JPG` gives `ete-2024`. Another
    avatar may have it already."""
    stem = unicodedata.normalize("NFKD", PurePath(file_name).stem)
    ascii_only = stem.encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower())[:_LONGEST_SLUG].strip("-")
    return slug or "avatar"


def read_hint(fields: Mapping[str, str]) -> FaceHint:
    """The hint in `face_box` ("x1,y1,x2,y2"), `face_point` ("x,y") and `landmarks` (JSON, 68
    pairs); absent or empty ones are none. Raises InvalidParameter."""
    box = _numbers(fields, "face_box", 4)
    if box and not (box[0] < box[2] and box[1] < box[3]):
        raise InvalidParameter("face_box", "must be left, top, right, bottom, in this order")
    point = _numbers(fields, "face_point", 2)
    return FaceHint(
        box=(box[0], box[1], box[2], box[3]) if box else None,
        point=(point[0], point[1]) if point else None,
        landmarks=_landmarks(fields.get("landmarks", "")),
    )


def _numbers(fields: Mapping[str, str], name: str, count: int) -> tuple[float, ...]:
    text = fields.get(name, "").strip()
    if not text:
        return ()
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise InvalidParameter(name, f"must be {count} numbers, in pixels, separated by commas")
    return numbers


def _landmarks(text: str) -> tuple[Point, ...] | None:
    if not text.strip():
        return None
    try:
        points = tuple((float(x), float(y)) for x, y in json.loads(text))
    except (ValueError, TypeError, OverflowError, RecursionError):
        points = ()
    if len(points) != NUM_LANDMARKS or not all(math.isfinite(x + y) for x, y in points):
        raise InvalidParameter("landmarks", f"must be a JSON list of {NUM_LANDMARKS} [x, y] pairs")
    return points
