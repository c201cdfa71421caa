"""Where in a picture the face is that the model sees, and the wider square that is parsed."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_NOSE_BRIDGE = 29  # landmark: the middle of the box, so that the model draws what is below it

SMALLEST = 4  # pixels of the longer side, so that the crop box holds the box

MARGIN = 10  # pixels below the chin, as version 1.5 was trained; version 1 has none


class Box(NamedTuple):
    """A rectangle in pixels; x2 and y2 are just outside."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        return self.y2 - self.y1

    def within(self, other: "Box") -> "Box":
        """What the two have in common; width or height is not positive if that is nothing."""
        return Box(
            max(self.x1, other.x1),
            max(self.y1, other.y1),
            min(self.x2, other.x2),
            min(self.y2, other.y2),
        )

    def seen_from(self, other: "Box") -> "Box":
        """The same rectangle, in pixels from the corner of another."""
        return Box(self.x1 - other.x1, self.y1 - other.y1, self.x2 - other.x1, self.y2 - other.y1)

    def even(self, around: int = 0) -> "Box":
        """The smallest rectangle with even corners that holds this one, and `around` it (even)."""
        return Box(
            self.x1 // 2 * 2 - around,
            self.y1 // 2 * 2 - around,
            -(-self.x2 // 2) * 2 + around,
            -(-self.y2 // 2) * 2 + around,
        )


def face_box(
    landmarks: npt.NDArray[np.floating[Any]],
    size: tuple[int, int],
    *,
    shift: int = 0,
    margin: int = MARGIN,
    detection: Box | None = None,
    smallest: int = SMALLEST,
) -> Box | None:
    """The face box of a picture, by the rule of the official `get_landmark_and_bbox`.

    landmarks  `[68, 2]`, x and y in pixels, iBUG 300-W; NaN where there is no face
    size       width and height of the picture, beyond which no box reaches
    shift      pixels by which the middle is lower than landmark 29; version 1 only
    detection  what a face detector says, used where the landmarks make no box inside the picture
    smallest   pixels that the longer side must have

    None if there is no face, or next to nothing of it in the picture.
    """
    box = _landmark_box(landmarks, shift) if np.isfinite(landmarks).all() else None
    if box is None or box.width <= 0 or box.height <= 0 or box.x1 < 0:
        if detection is None:
            return None
        box = detection
    # The official code cuts off the right side by slicing the picture, and then pastes a face of
    # the full width: a box that ends with the picture keeps crop and paste the same size.
    box = box._replace(y2=box.y2 + margin).within(Box(0, 0, *size))
    is_seen = box.width > 0 and box.height > 0 and max(box.width, box.height) >= smallest
    return box if is_seen else None


def _landmark_box(landmarks: npt.NDArray[np.floating[Any]], shift: int) -> Box:
    points = landmarks.astype(np.int32)  # toward zero
    points[_NOSE_BRIDGE, 1] += shift  # before the lowest point is looked for, as it may be this one
    left, right, bottom = int(points[:, 0].min()), int(points[:, 0].max()), int(points[:, 1].max())
    return Box(left, max(0, 2 * int(points[_NOSE_BRIDGE, 1]) - bottom), right, bottom)


def crop_box(box: Box, expand: float = 1.5) -> Box:
    """The square around a face box that the mask is made in; it may leave the picture."""
    x, y = (box.x1 + box.x2) // 2, (box.y1 + box.y2) // 2
    reach = int(max(box.width, box.height) // 2 * expand)
    return Box(x - reach, y - reach, x + reach, y + reach)
