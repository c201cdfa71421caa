"""What a face is here, and what anything that finds faces can do."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Bgr: TypeAlias = npt.NDArray[np.uint8]  # [H, W, 3]
Landmarks: TypeAlias = npt.NDArray[np.float32]  # [68, 2]: x, y in pixels, iBUG 300-W order
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Rect: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom

NUM_LANDMARKS = 68
JAW = slice(0, 17)
EYES = slice(36, 48)
LIPS = slice(48, 68)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """landmarks  float32 `[68, 2]`, in fractions of a pixel
    score      0 to 1: how sure the finder is
    """

    landmarks: Landmarks
    score: float

    @property
    def box(self) -> Rect:
        return box_of(self.landmarks)

    @property
    def width(self) -> float:
        return width_of(self.box)


class FaceFinder(Protocol):
    """Finds faces in pictures; not to be used by two threads at once."""

    @property
    def name(self) -> str:
        """What finds them, with its version."""
        ...

    def faces(self, picture: Bgr) -> list[Face]:
        """All faces that it can find, the largest first."""
        ...

    def near(self, picture: Bgr, box: Rect) -> Face | None:
        """The face in a box or next to it: cheaper and steadier than `faces`, as a face is hardly
        elsewhere than in the picture before."""
        ...

    def close(self) -> None: ...


def beyond(points: Floats, width: int, height: int) -> float:
    """By how many pixels the farthest of points `[n, 2]` is outside a picture; not positive if none
    is."""
    least, most = points.min(axis=0), points.max(axis=0)
    return float(max(-least.min(), most[0] - (width - 1), most[1] - (height - 1)))


def within(landmarks: Landmarks, width: int, height: int) -> Landmarks:
    """Landmarks moved into the picture where they leave it: MuseTalk draws nothing in a face whose
    box begins left of the picture."""
    return np.asarray(landmarks.clip(0, (width - 1, height - 1)), np.float32)


def box_of(landmarks: Floats) -> Rect:
    """The smallest box around landmarks: from jaw to jaw, from brow to chin."""
    (left, top), (right, bottom) = landmarks.min(axis=0).tolist(), landmarks.max(axis=0).tolist()
    return left, top, right, bottom


def centre_of(box: Rect) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_within(point: tuple[float, float], box: Rect) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def width_of(box: Rect) -> float:
    return box[2] - box[0]


def size_of(box: Rect) -> float:
    """The longer side."""
    return max(box[2] - box[0], box[3] - box[1])


def distance(one: Rect, other: Rect) -> float:
    """How far the middles are apart, in sizes of the larger box."""
    (x1, y1), (x2, y2) = centre_of(one), centre_of(other)
    return float(np.hypot(x1 - x2, y1 - y2)) / max(size_of(one), size_of(other), 1e-6)


def overlap(one: Rect, other: Rect) -> float:
    """The common area as a share of the area that the two cover together, 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (both - width * height)
