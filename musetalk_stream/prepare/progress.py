"""How far a preparation is: its stages, and what it tells while it works."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """What a preparation does, in this order."""

    READING = "reading"  # the file, into pictures of a constant rate
    LOOKING = "looking"  # for the face, in the first pictures
    ANIMATING = "animating"  # a still picture
    FOLLOWING = "following"  # the face, through all pictures
    ENCODING = "encoding"  # the loop that is shown in silence
    LATENTS = "latents"  # what the renderer needs besides; by the server itself


@dataclass(frozen=True, slots=True)
class Progress:
    """share: 0 to 1, of this stage alone."""

    stage: Stage
    share: float


Tell = Callable[[Progress], None]
