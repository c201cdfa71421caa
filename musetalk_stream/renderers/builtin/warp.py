"""Move the lips, jaw and chin of a picture, in its own I420 planes."""

import cv2
import numpy as np

from ...blend import MouthRegion, i420_planes
from .arrays import Floats, Plane, as_floats
from .face import Face
from .field import STEP, Field
from .inside import paint
from .place import Place, curve
from .pose import Pose, parting


def speak(picture: Plane, face: Face, place: Place, how: Pose) -> MouthRegion | None:
    """The mouth region of `picture` (I420) in the pose `how`; None if none of it is in sight."""
    planes = i420_planes(np.asarray(picture))  # views of a memory map are slow to make
    box = _box(face.field, place, planes.luma.shape)
    if box is None:
        return None
    x, y, right, bottom = box
    half = np.s_[y // 2 : bottom // 2, x // 2 : right // 2]
    away = _away(_displacement(face.field, place, how), face.field, place, box)
    size = (right - x, bottom - y)
    luma_map = _map(*(as_floats(cv2.resize(part, size)) for part in away))
    chroma_map = _map(*(as_floats(np.float32(0.5) * part) for part in away))
    luma = _moved(planes.luma[y:bottom, x:right], luma_map)
    cb, cr = _moved(planes.cb[half], chroma_map), _moved(planes.cr[half], chroma_map)
    paint((luma, cb, cr), (x, y), place, how, face.colours)
    return MouthRegion(x, y, luma, cb, cr)


def _box(field: Field, place: Place, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """What the field may move: left, top, right, bottom in luma pixels, even, in the picture."""
    corners = place.pixels(field.u[[0, -1, 0, -1]], field.v[[0, 0, -1, -1]])
    left, top = (int(low) & ~1 for low in corners.min(axis=0))
    right, bottom = ((int(high) + 2) & ~1 for high in corners.max(axis=0))
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    if right - left < 4 or bottom - top < 4:
        return None
    return left, top, right, bottom


def _displacement(field: Field, place: Place, how: Pose) -> tuple[Floats, Floats]:
    """From each node to the spot of the picture that is to be seen there: x and y
    `[rows, cols]`, luma pixels."""
    source = field.u * np.float32(1 + how.squeeze)
    apart = parting(source / np.float32(how.width), how.rounded)
    border = _border(place, how, np.clip(source, -1, 1), apart)
    below = np.clip((field.v[:, None] - border) * np.float32(1 / STEP) + np.float32(0.5), 0, 1)
    down = below * (apart * np.float32(-how.upper - how.lower))
    down += apart * np.float32(how.upper)
    down *= field.lip
    below *= field.jaw
    below *= np.float32(how.jaw)
    down -= below
    across = field.corner * np.float32(how.squeeze)
    x = across * place.along[0] + down * place.down[0]
    return as_floats(x), as_floats(across * place.along[1] + down * place.down[1])


def _border(place: Place, how: Pose, u: Floats, apart: Floats) -> Floats:
    """Where what the upper lip takes along ends: v at each `u`, out of sight where lips part."""
    border = curve(place.line, u)
    if place.own_opening:
        border += curve(place.half_gap, u) + apart * np.float32(how.lower) - np.float32(STEP / 2)
    else:
        border += apart * np.float32((how.lower - how.upper) / 2)
    return border


def _away(
    moved: tuple[Floats, Floats], field: Field, place: Place, box: tuple[int, int, int, int]
) -> tuple[Floats, Floats]:
    """The displacement, x and y, at each chroma pixel of the box: `[h/2, w/2]`, luma pixels."""
    left, top, right, bottom = box
    first = np.array([left + 0.5, top + 0.5], np.float32)  # between the luma pixels it stands for
    to_nodes = np.empty((2, 3), np.float32)
    to_nodes[:, :2] = place.to_mouth * np.float32(2 / STEP)
    to_nodes[:, 2] = place.to_mouth @ (first - place.origin) - (field.u[0], field.v[0])
    to_nodes[:, 2] /= STEP
    size = ((right - left) // 2, (bottom - top) // 2)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    x, y = (as_floats(cv2.warpAffine(part, to_nodes, size, flags=flags)) for part in moved)
    return x, y


def _map(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where each pixel is taken from, for displacements in pixels of its plane; reuses them."""
    x += np.arange(x.shape[1], dtype=np.float32)
    y += np.arange(y.shape[0], dtype=np.float32)[:, None]
    return x, y


def _moved(plane: Plane, source: tuple[Floats, Floats]) -> Plane:
    moved = cv2.remap(plane, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
