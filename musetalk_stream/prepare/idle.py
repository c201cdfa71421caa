"""Gentle motion for a photo, so that nobody stands still: a head that sways a little, a chest that
breathes.

All of it is one smooth displacement, by which each picture looks up its pixels in the photo: rigid
in the face, fading around the head, nothing at the picture's borders. The face's landmarks go the
same way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Bgr = npt.NDArray[np.uint8]
Landmarks = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

IDLE_FPS = Fraction(25)
IDLE_FRAMES = 200  # one sway and two breaths: 8 s

# Of the face's height, which is that from the chin to the bridge of the nose, twice.
_SWAY = 0.010  # to the side
_NOD = 0.007  # up and down
_BREATH = 0.009  # that the chest rises
_LIFT = 0.003  # that the head rises with it
_TILT_RAD = np.deg2rad(0.6)  # about a point in the neck

# How steep the displacement may be where it fades towards a border: pixels are stretched or
# squeezed by so much, and more would show.
_STEEPEST = 0.15
_STEP = 4  # pixels between the places where the displacement is computed; it is smooth

_CHIN, _NOSE_BRIDGE = 8, 27  # landmarks


def idle(picture: Bgr, landmarks: Landmarks) -> Iterator[tuple[Bgr, Landmarks]]:
    """A seamless loop of `IDLE_FRAMES` pictures, of which the first is the photo itself.

    picture    uint8 `[H, W, 3]`
    landmarks  float32 `[68, 2]`, of the one face that moves

    Where the face comes close to a border, it moves less; a face that is cut by one holds still.
    """
    assert np.isfinite(landmarks).all(), "idle motion goes around a face"
    body = _body(picture.shape[:2], landmarks.astype(np.float64))
    pixels = _Pixels(picture)
    coarse = _places(picture.shape[:2])
    shares = _shares(body, coarse)
    for index in range(IDLE_FRAMES):
        pose = _pose(body, index)
        yield (
            pixels.moved(_displacement(pose, body, coarse, shares)),
            _moved_points(pose, body, landmarks),
        )


# --- the body


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """Where things are, in pixels.

    height   of the face
    up       from the chin to the forehead, of length 1
    head     the middle of the part that moves rigidly
    neck     about which the head tilts
    rigid    from edge to edge of what must move rigidly: left, top, right, bottom
    size     of the picture: width, height
    freedom  0 to 1: how much of the full motion of the head there is room for
    chest    0 to 1: how much of the full motion of the chest
    """

    height: float
    up: Doubles
    chin: Doubles
    head: Doubles
    neck: Doubles
    rigid: tuple[float, float, float, float]
    size: tuple[int, int]
    freedom: float
    chest: float


def _body(shape: tuple[int, ...], points: Doubles) -> _Body:
    height, width = shape
    chin, bridge = points[_CHIN], points[_NOSE_BRIDGE]
    axis = bridge - chin
    face = max(2 * float(np.linalg.norm(axis)), float(np.ptp(points, axis=0).max()), 1.0)
    up = axis / max(float(np.linalg.norm(axis)), 1e-6)
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    gap = max(0.0, min(left, top, width - 1 - right, height - 1 - bottom))
    # The displacement has to go from all to nothing within the gap.
    most = face * (_SWAY + _NOD + _LIFT + _TILT_RAD)
    below = max(0.0, height - 1 - chin[1])
    return _Body(
        height=face,
        up=up,
        chin=chin,
        head=chin + 0.5 * face * up,
        neck=chin - 0.25 * face * up,
        rigid=(float(left), float(top), float(right), float(bottom)),
        size=(width, height),
        freedom=min(1.0, _STEEPEST * gap / (_STEEPEST_SLOPE * most)),
        chest=min(1.0, below / face),
    )


# --- how much of which motion each place has


_STEEPEST_SLOPE = 1.875  # of `_smooth`, in its middle


def _smooth(share: Any) -> Any:
    """From 0 at 0 to 1 at 1, without a corner or a jump of curvature at either."""
    t = np.clip(share, 0.0, 1.0)
    return t * t * t * (t * (6 * t - 15) + 10)


def _shares(body: _Body, places: Doubles) -> tuple[Doubles, Doubles]:
    """What the motion of the head and of the chest counts at places `[..., 2]`: 0 to 1 each."""
    head = _head_share(body, places)
    return head, _chest_share(body, places) * (1 - head)


def _head_share(body: _Body, places: Doubles) -> Doubles:
    away = places - body.head
    along = away @ body.up
    across = away @ np.array([-body.up[1], body.up[0]])
    # In the head's own units: 1 on an oval around hair, ears and chin.
    distance = np.hypot(along / (0.72 * body.height), across / (0.62 * body.height))
    left, top, right, bottom = body.rigid
    width, height = body.size
    x, y = places[..., 0], places[..., 1]
    # What is rigid but not in the oval, as in faces turned aside.
    beyond = np.hypot(
        np.maximum(0, np.maximum(left - x, x - right)),
        np.maximum(0, np.maximum(top - y, y - bottom)),
    )
    around = np.maximum(1 - _smooth(distance - 1), 1 - _smooth(beyond / (0.6 * body.height)))
    for gap, room in ((x, left), (y, top), (width - 1 - x, width - 1 - right),
                      (height - 1 - y, height - 1 - bottom)):  # fmt: skip
        around = around * _smooth(gap / max(room, 1e-6))
    return np.asarray(around)


def _chest_share(body: _Body, places: Doubles) -> Doubles:
    width, height = body.size
    x, y = places[..., 0], places[..., 1]
    below = y - body.chin[1]
    room = max(1.0, height - 1 - body.chin[1])
    begins = _smooth(below / min(0.7 * body.height, room / 2))
    ends = _smooth((height - 1 - y) / min(0.8 * body.height, room / 2))
    sides = np.minimum(x, width - 1 - x) / min(0.5 * body.height, width / 4)
    bell = np.exp(-(((x - body.chin[0]) / (1.2 * body.height)) ** 2))
    # Who stands far away has legs, which do not breathe.
    deep = 1 - _smooth((below - 1.2 * body.height) / body.height)
    return np.asarray(begins * ends * deep * bell * _smooth(sides))


# --- how it moves


@dataclass(frozen=True, slots=True)
class _Pose:
    """What is different from the photo, in pixels and radians; of the head: where it goes and how
    it turns; of the chest: how far it rises."""

    x: float
    y: float
    turn_rad: float
    rise: float


def _pose(body: _Body, index: int) -> _Pose:
    """Sums of whole periods that begin and end at nothing."""
    turn = 2 * np.pi * index / IDLE_FRAMES
    breath = (1 - np.cos(2 * turn)) / 2
    head = body.height * body.freedom
    return _Pose(
        x=head * _SWAY * (0.8 * np.sin(turn) + 0.2 * np.sin(2 * turn)),
        y=head * (_NOD * (0.7 * np.sin(2 * turn) - 0.3 * np.sin(turn)) - _LIFT * breath),
        turn_rad=body.freedom * _TILT_RAD * (0.85 * np.sin(turn) + 0.15 * np.sin(3 * turn)),
        rise=body.height * body.chest * _BREATH * breath,
    )


def _displacement(
    pose: _Pose, body: _Body, places: Doubles, shares: tuple[Doubles, Doubles]
) -> Doubles:
    """How far what is shown at places `[..., 2]` has come, in pixels: `[..., 2]`."""
    head, chest = shares
    # What is seen at a place of the head was, before it moved, at:
    cos, sin = np.cos(pose.turn_rad), np.sin(pose.turn_rad)
    from_neck = places - body.neck - (pose.x, pose.y)
    came_from = from_neck @ np.array([[cos, -sin], [sin, cos]]) + body.neck
    moved = head[..., None] * (places - came_from)
    moved[..., 1] -= chest * pose.rise
    return np.asarray(moved)


def _moved_points(pose: _Pose, body: _Body, points: Landmarks) -> Landmarks:
    """Where points of the photo are seen: their place is where they have come to from there, which
    is found in a few rounds, as the displacement hardly differs between near places."""
    start = points.astype(np.float64)
    places = start
    for _ in range(4):
        places = start + _displacement(pose, body, places, _shares(body, places))
    return places.astype(np.float32)


# --- pixels


def _places(shape: tuple[int, ...]) -> Doubles:
    """Where the displacement is computed: `[h, w, 2]`, as `cv2.resize` takes them."""
    height, width = (max(2, -(-side // _STEP)) for side in shape[:2])
    x = (np.arange(width) + 0.5) * shape[1] / width - 0.5
    y = (np.arange(height) + 0.5) * shape[0] / height - 0.5
    return np.stack(np.meshgrid(x, y), axis=-1)


class _Pixels:
    """A photo that can be looked up between its pixels without getting softer there: it is kept in
    twice its size, made by a filter that leaves nearly all frequencies as they are."""

    def __init__(self, picture: Bgr) -> None:
        self._double = _doubled(picture)
        height, width = picture.shape[:2]
        self._size = (width, height)
        across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        self._grid = np.stack(np.meshgrid(2 * across, 2 * down), axis=-1)

    def moved(self, displacement: Doubles) -> Bgr:
        """The picture, `[H, W, 3]`, after the coarse displacement `[h, w, 2]`."""
        coarse = (-2 * displacement).astype(np.float32)
        lookup = cv2.resize(coarse, self._size, interpolation=cv2.INTER_LINEAR)
        cv2.add(lookup, self._grid, dst=lookup)
        moved = cv2.remap(
            self._double, lookup, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray(moved, np.uint8)


def _doubled(picture: Bgr) -> Bgr:
    """`[2H, 2W, 3]`: the pixels themselves at even places, what is half way between at odd ones."""
    half, whole = _half_way(), np.ones(1)
    anchor = (len(half) // 2 - 1, len(half) // 2 - 1)
    double = np.empty((2 * picture.shape[0], 2 * picture.shape[1], 3), np.uint8)
    double[::2, ::2] = picture
    double[::2, 1::2] = cv2.sepFilter2D(picture, -1, half, whole, anchor=(anchor[0], 0))
    double[1::2, ::2] = cv2.sepFilter2D(picture, -1, whole, half, anchor=(0, anchor[1]))
    double[1::2, 1::2] = cv2.sepFilter2D(picture, -1, half, half, anchor=anchor)
    return double


def _half_way() -> Doubles:
    """Weights of 16 neighbours for the place in their middle: a sinc in a Kaiser window."""
    away = np.arange(16) - 7.5
    weights = np.sinc(away) * np.kaiser(18, 5.0)[1:-1]
    return np.asarray(weights / weights.sum())
