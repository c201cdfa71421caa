"""What a client wants to be made of an upload."""

from dataclasses import dataclass, field

from ..errors import InvalidParameter
from ..prepare.request import FaceHint, Loop

_LEAST_BOX = 8  # pixels of each side, of the original


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    avatar_id  None for one like the name of the file
    owner      id of the API key that asks
    """

    file_name: str
    avatar_id: str | None = None
    name: str | None = None
    loop: Loop = Loop.AUTO
    hint: FaceHint = field(default_factory=FaceHint)
    approve: bool = False
    owner: str = ""


def require_inside(hint: FaceHint, width: int, height: int) -> None:
    """Raises InvalidParameter if a hint is not in the picture. width, height: of the original."""
    outside = f"must lie in the picture of {width}x{height} pixels"
    if hint.point and not (0 <= hint.point[0] <= width and 0 <= hint.point[1] <= height):
        raise InvalidParameter("face_point", outside)
    if hint.box:
        left, top, right, bottom = hint.box
        if left < 0 or top < 0 or right > width or bottom > height:
            raise InvalidParameter("face_box", outside)
        if min(right - left, bottom - top) < _LEAST_BOX:
            raise InvalidParameter("face_box", f"must be at least {_LEAST_BOX} pixels on each side")
    if hint.landmarks:  # some may lie beyond the border
        x, y = (sum(numbers) / len(numbers) for numbers in zip(*hint.landmarks, strict=True))
        if not (0 <= x <= width and 0 <= y <= height):
            raise InvalidParameter("landmarks", outside)
