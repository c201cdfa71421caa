"""Move the lips, jaw and chin of a picture, in its own I420 planes."""

import cv2
import numpy as np
import numpy.typing as npt

from ...blend import MouthRegion, i420_planes
from .face import STEP, Face, Field, Place
from .inside import paint
from .pose import Pose, parting

Floats = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]

_LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def identity(height: int, width: int) -> Floats:
    """x, y of every pixel: `[height, width, 2]`."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width)
    grid[..., 1] = np.arange(height)[:, None]
    return grid


def speak(picture: Plane, face: Face, place: Place, how: Pose) -> MouthRegion | None:
    """The mouth region of `picture` (I420) in the pose `how`; None if none of it is in sight."""
    planes = i420_planes(picture)
    box = _box(face.field, place, planes.luma.shape)
    if box is None:
        return None
    x, y, right, bottom = box
    field = _displacement(face.field, place, how)
    luma_map = _map(field, face.field, place, (x, y), (right - x, bottom - y), 1)
    chroma_map = _map(field, face.field, place, (x, y), ((right - x) // 2, (bottom - y) // 2), 2)
    half = np.s_[y // 2 : bottom // 2, x // 2 : right // 2]
    luma = _moved(planes.luma[y:bottom, x:right], luma_map)
    cb, cr = _moved(planes.cb[half], chroma_map), _moved(planes.cr[half], chroma_map)
    paint((luma, cb, cr), (x, y), place, how, face.colours)
    return MouthRegion(x, y, luma, cb, cr)


def _box(field: Field, place: Place, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """What the field may move: left, top, right, bottom in luma pixels, even, in the picture."""
    u = np.array([field.u[0], field.u[-1]] * 2, np.float32)[:, None]
    v = np.repeat(np.array([field.v[0], field.v[-1]], np.float32), 2)[:, None]
    corners = place.origin + u * place.along + v * place.down
    low, high = corners.min(axis=0), corners.max(axis=0)
    x, y = max(0, int(low[0]) & ~1), max(0, int(low[1]) & ~1)
    right = min(shape[1], (int(high[0]) + 2) & ~1)
    bottom = min(shape[0], (int(high[1]) + 2) & ~1)
    if right - x < 4 or bottom - y < 4:
        return None
    return x, y, right, bottom


def _displacement(field: Field, place: Place, how: Pose) -> Floats:
    """From each node to the place in the picture that is to be seen there: `[rows, cols, 2]`,
    luma pixels."""
    source = field.u * np.float32(1 + how.squeeze)
    apart = parting(source / np.float32(how.width), how.rounded)
    middle = np.polyval(place.line, np.clip(source, -1, 1))
    middle += apart * np.float32((how.lower - how.upper) / 2)
    below = np.clip((field.v[:, None] - middle) * np.float32(1 / STEP) + np.float32(0.5), 0, 1)
    lips = apart * np.float32(how.upper + how.lower) * below - apart * np.float32(how.upper)
    down = lips * field.lip + below * field.jaw * np.float32(how.jaw)
    across = field.corner * np.float32(how.squeeze)
    moved = np.empty((*down.shape, 2), np.float32)
    moved[..., 0] = across * place.along[0] - down * place.down[0]
    moved[..., 1] = across * place.along[1] - down * place.down[1]
    return moved


def _map(
    moved: Floats, field: Field, place: Place, at: tuple[int, int], size: tuple[int, int], sub: int
) -> Floats:
    """Where each pixel of a region takes its value from, in pixels of the region.

    sub: 1 for luma, 2 for chroma, whose pixels are this many luma pixels apart.
    """
    axes = np.stack([place.along, place.down]) / (place.unit**2 * STEP)
    first = np.asarray(at, np.float32) + np.float32((sub - 1) / 2)
    shift = axes @ (first - place.origin) - np.array((field.u[0], field.v[0])) / STEP
    to_nodes = np.concatenate([axes * sub, shift[:, None]], axis=1)
    away = cv2.warpAffine(moved, to_nodes, size, flags=_LINEAR)
    return cv2.scaleAdd(away, 1 / sub, identity(size[1], size[0]))


def _moved(plane: Plane, source: Floats) -> Plane:
    return cv2.remap(plane, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
