"""What an open mouth shows: a dark cavity, teeth and tongue, painted over a warped picture."""

import cv2
import numpy as np

from .arrays import Floats, Plane, as_floats
from .colours import Colours
from .place import Place, curve
from .pose import Pose, parting
from .textures import LEFT, LOWER_TEETH, TEXELS, TONGUE, TOP, UPPER_TEETH

# The line between closed lips is dark and has a width; half of it sticks to either lip.
_OVERLAP = np.float32(0.022)
_FINE = 2  # times finer than pixels are outlines drawn
_SHIFT = 4  # fractional bits of outline points
_SOFT = 1 / 40  # of half the mouth's width: how soft edges are in a picture of a near face
_POINTS = np.linspace(-1, 1, 25, dtype=np.float32)


def paint(
    planes: tuple[Plane, Plane, Plane],
    corner: tuple[int, int],
    place: Place,
    how: Pose,
    by: Colours,
) -> None:
    """Paint the open mouth into the I420 planes of a region whose corner is at `corner`."""
    outline = as_floats(_outline(place, how) - as_floats(corner))
    blur = max(0.8, _SOFT * place.unit)
    box = _box(outline, planes[0].shape, margin=round(2 * blur))
    if box is None:
        return
    left, top, right, bottom = box
    size, half = (right - left, bottom - top), ((right - left) // 2, (bottom - top) // 2)
    cover = _cover(outline - as_floats((left, top)), size, blur)
    layers = _layers(place, how, as_floats((corner[0] + left, corner[1] + top)), size)
    shade = _shade(cover, (how.lower + how.upper) * place.unit)
    for layer, light in zip(layers, (how.upper_teeth, how.lower_teeth, how.tongue), strict=True):
        layer *= shade
        layer *= np.float32(light)
    small = [
        as_floats(cv2.resize(each, half, interpolation=cv2.INTER_AREA)) for each in (cover, *layers)
    ]
    luma, cb, cr = planes
    _blend(luma[top:bottom, left:right], cover, layers, by, 0)
    halved = np.s_[top // 2 : bottom // 2, left // 2 : right // 2]
    _blend(cb[halved], small[0], small[1:], by, 1)
    _blend(cr[halved], small[0], small[1:], by, 2)


def _box(outline: Floats, shape: tuple[int, ...], margin: int) -> tuple[int, int, int, int] | None:
    """What the outline touches of a plane: left, top, right, bottom, even."""
    left, top = (max(0, (int(low) - margin) & ~1) for low in outline.min(axis=0))
    right, bottom = ((int(high) + 2 + margin) & ~1 for high in outline.max(axis=0))
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    if right - left < 2 or bottom - top < 2:
        return None
    return left, top, right, bottom


def _cover(outline: Floats, size: tuple[int, int], blur: float) -> Floats:
    """How much of each pixel lies between the lips, as soft at the edge as pictures are: `blur` is
    the deviation in pixels."""
    fine = np.zeros((_FINE * size[1], _FINE * size[0]), np.uint8)
    points = (outline + np.float32(0.5)) * np.float32(_FINE) - np.float32(0.5)
    cv2.fillPoly(fine, [np.rint(points * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    mask = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
    side = 2 * round(1.5 * blur) + 1
    return as_floats(cv2.GaussianBlur(mask, (side, side), blur) * np.float32(1 / 255))


def _outline(place: Place, how: Pose) -> Floats:
    """The edge of what the lips uncover `[n, 2]` in luma pixels."""
    source = _POINTS * np.float32(how.width)
    apart = parting(_POINTS, how.rounded)
    line, gap = curve(place.line, source), curve(place.half_gap, source)
    over = np.minimum(_OVERLAP, (how.lower + how.upper) * apart / 3)
    # What open lips show in the picture itself stays, and goes with the upper lip.
    above = line + gap - apart * np.float32(how.upper) - over
    below = line + gap + apart * np.float32(how.lower) + over
    u = source / np.float32(1 + how.squeeze)
    return place.pixels(np.concatenate([u, u[-2:0:-1]]), np.concatenate([above, below[-2:0:-1]]))


def _layers(place: Place, how: Pose, at: Floats, size: tuple[int, int]) -> list[Floats]:
    """Upper teeth, which the skull holds; lower teeth and tongue, which the jaw carries."""
    lower_lip = float(place.line[-1] + place.half_gap[-1])
    still = _texture_map(place, lower_lip, at)
    moved = _texture_map(place, lower_lip + how.lower, at)
    return [
        _hung(UPPER_TEETH, still, size),
        _hung(LOWER_TEETH, moved, size),
        _hung(TONGUE, moved, size),
    ]


def _hung(texture: Floats, to_texels: Floats, size: tuple[int, int]) -> Floats:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(texture, to_texels, size, flags=flags), np.float32)


def _texture_map(place: Place, v: float, at: Floats) -> Floats:
    """From pixels, counted from `at`, to texels of a texture that hangs at v: affine `[2, 3]`."""
    to_texels = np.empty((2, 3), np.float32)
    to_texels[:, :2] = place.to_mouth
    to_texels[:, 2] = place.to_mouth @ (at - place.origin) - (LEFT, v + TOP)
    to_texels *= np.float32(TEXELS)
    return to_texels


def _shade(cover: Floats, opening: float) -> Floats:
    """Less light reaches what lies close to the lips."""
    reach = max(3, int(0.3 * opening)) | 1
    blurred = np.asarray(cv2.blur(cover, (reach, reach)), np.float32)
    return as_floats(np.float32(0.45) + np.float32(0.55) * blurred)


def _blend(into: Plane, cover: Floats, layers: list[Floats], by: Colours, channel: int) -> None:
    upper, lower, tongue = layers
    back, teeth = by.cavity[channel], by.teeth[channel]
    colour = back + tongue * (by.tongue[channel] - back)
    colour += lower * (teeth - colour)
    colour += upper * (teeth - colour)
    colour -= into
    colour *= cover
    colour += into
    into[:] = np.rint(colour)
