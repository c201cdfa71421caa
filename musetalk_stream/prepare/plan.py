"""What the upload is and what will be made of it: decided once, so that a preparation that goes on
later goes on with the same sizes, whatever the settings are by then."""

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from ..config import PrepareConfig
from .idle import IDLE_FPS, IDLE_FRAMES
from .media import Kind, Media, motion_rate, scaled_size
from .request import FaceHint


@dataclass(frozen=True, slots=True)
class Plan:
    """width, height                    of the avatar's pictures, even
    original_width, original_height  of the upload, upright
    num_frames                       about how many pictures there will be
    original_sha256                  of the upload
    """

    kind: Kind
    width: int
    height: int
    original_width: int
    original_height: int
    fps: Fraction
    num_frames: int
    original_sha256: str

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def frame_bytes(self) -> int:
        """Of one picture, I420."""
        return self.width * self.height * 3 // 2

    def scaled(self, hint: FaceHint) -> FaceHint:
        """The same places in pixels of the avatar's pictures."""
        x = self.width / self.original_width
        y = self.height / self.original_height
        box, point, landmarks = hint.box, hint.point, hint.landmarks
        return FaceHint(
            box=box and (box[0] * x, box[1] * y, box[2] * x, box[3] * y),
            point=point and (point[0] * x, point[1] * y),
            landmarks=landmarks and tuple((px * x, py * y) for px, py in landmarks),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"fps": str(self.fps)})


def make_plan(
    media: Media, rest: Media | None, settings: PrepareConfig, original_sha256: str
) -> Plan:
    """`rest`: the film of the person at rest, if there is one."""
    width, height = scaled_size(media, settings.avatar_side)
    if media.kind is Kind.STILL:
        fps, num_frames = IDLE_FPS, IDLE_FRAMES
    else:
        fps = motion_rate(media, settings.avatar_fps)
        duration_s = (media.duration_s or 0.0) + ((rest and rest.duration_s) or 0.0)
        num_frames = max(1, round(duration_s * fps))
    return Plan(
        media.kind, width, height, media.width, media.height, fps, num_frames, original_sha256
    )


def read_plan(text: str) -> Plan:
    """What `Plan.to_json` wrote."""
    raw: dict[str, Any] = json.loads(text)
    return Plan(**raw | {"kind": Kind(raw["kind"]), "fps": Fraction(raw["fps"])})
