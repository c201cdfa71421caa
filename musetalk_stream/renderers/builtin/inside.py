"""What an open mouth shows: a dark cavity, teeth and tongue, painted over a warped picture."""


import cv2
import numpy as np
import numpy.typing as npt

from .face import Colours, Place, smoothstep
from .pose import Pose, parting

Floats = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]

_SHIFT = 4  # fractional bits of outline points
_POINTS = np.linspace(-1, 1, 25, dtype=np.float32)
_TEXELS = 48.0  # per unit
_LEFT, _TOP, _RIGHT, _BOTTOM = -1.2, -0.7, 1.2, 0.7


def _texture_grid() -> tuple[Floats, Floats]:
    u = np.arange(_LEFT, _RIGHT, 1 / _TEXELS, dtype=np.float32)
    v = np.arange(_TOP, _BOTTOM, 1 / _TEXELS, dtype=np.float32)
    grid_u, grid_v = np.meshgrid(u, v)
    return grid_u, grid_v


def _upper_teeth() -> Floats:
    """v = 0 is the line between the closed lips; the teeth end a little below it."""
    u, v = _texture_grid()
    side = np.abs(u)
    biting = 0.13 - 0.10 * u * u
    gaps = np.zeros_like(u)
    for border in (0.0, 0.33, 0.60, 0.86):
        gaps = np.maximum(gaps, np.exp(-(((side - border) / 0.022) ** 2)))
    biting -= 0.035 * gaps
    cover = smoothstep((biting - v) / 0.05 + 0.5)
    light = (1 - 0.10 * gaps) * (1 - 0.75 * smoothstep((side - 0.35) / 0.65))
    light *= 0.80 + 0.20 * smoothstep((v + 0.25) / 0.35)
    return (cover * light).astype(np.float32)


def _lower_teeth() -> Floats:
    """v = 0 is the edge of the lower lip."""
    u, v = _texture_grid()
    side = np.abs(u)
    gaps = np.zeros_like(u)
    for border in (0.0, 0.2, 0.4, 0.62):
        gaps = np.maximum(gaps, np.exp(-(((side - border) / 0.02) ** 2)))
    cover = smoothstep((v + 0.075 - 0.06 * u * u) / 0.05 + 0.5)
    light = (1 - 0.12 * gaps) * (1 - smoothstep((side - 0.25) / 0.5))
    return (0.55 * cover * light).astype(np.float32)


def _tongue() -> Floats:
    """v = 0 is the edge of the lower lip."""
    u, v = _texture_grid()
    out = np.hypot(u / 0.62, (v - 0.10) / 0.36)
    groove = 1 - 0.18 * np.exp(-((u / 0.05) ** 2))
    return (smoothstep((1.05 - out) / 0.35) * groove).astype(np.float32)


_UPPER_TEETH, _LOWER_TEETH, _TONGUE = _upper_teeth(), _lower_teeth(), _tongue()


def paint(
    planes: tuple[Plane, Plane, Plane],
    corner: tuple[int, int],
    place: Place,
    how: Pose,
    by: Colours,
) -> None:
    """Paint the open mouth into the I420 planes of a region whose corner is at `corner`."""
    outline = _outline(place, how) - np.asarray(corner, np.float32)
    luma = planes[0]
    low = np.floor(outline.min(axis=0)).astype(int) - 2
    high = np.ceil(outline.max(axis=0)).astype(int) + 3
    x, y = max(0, low[0] & ~1), max(0, low[1] & ~1)
    right, bottom = min(luma.shape[1], (high[0] + 1) & ~1), min(luma.shape[0], (high[1] + 1) & ~1)
    if right - x < 4 or bottom - y < 4:
        return
    size = (right - x, bottom - y)
    mask = np.zeros((size[1], size[0]), np.uint8)
    points = np.rint((outline - (x, y)) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, _SHIFT)
    cover = mask.astype(np.float32) / 255

    at = np.asarray((corner[0] + x, corner[1] + y), np.float32)
    opening = (how.lower + how.upper) * place.unit
    upper, lower, tongue = _layers(place, how, at, size)
    shade = _shade(cover, opening)
    upper *= shade * how.teeth
    lower *= shade * how.teeth
    tongue *= shade
    half = (size[0] // 2, size[1] // 2)
    _blend(luma[y:bottom, x:right], cover, (upper, lower, tongue), by, 0)
    small = [
        cv2.resize(a, half, interpolation=cv2.INTER_AREA) for a in (cover, upper, lower, tongue)
    ]
    for plane, channel in ((planes[1], 1), (planes[2], 2)):
        into = plane[y // 2 : bottom // 2, x // 2 : right // 2]
        _blend(into, small[0], (small[1], small[2], small[3]), by, channel)


def _outline(place: Place, how: Pose) -> Floats:
    """The inner edge of the lips `[n, 2]` in luma pixels."""
    source = _POINTS * how.width
    apart = parting(_POINTS, how.rounded)
    line, gap = np.polyval(place.line, source), np.polyval(place.half_gap, source)
    above = line - gap - how.upper * apart
    below = line + gap + how.lower * apart
    u = source / (1 + how.squeeze)
    u = np.concatenate([u, u[-2:0:-1]])[:, None]
    v = np.concatenate([above, below[-2:0:-1]])[:, None]
    points: Floats = place.origin + u * place.along + v * place.down
    return points


def _layers(
    place: Place, how: Pose, at: Floats, size: tuple[int, int]
) -> tuple[Floats, Floats, Floats]:
    """Upper teeth, which the skull holds; lower teeth and tongue, which the jaw carries."""
    centre = float(place.line[-1])
    still = _texture_map(place, centre, at)
    moved = _texture_map(place, centre + float(place.half_gap[-1]) + how.lower, at)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    upper = cv2.warpAffine(_UPPER_TEETH, still, size, flags=flags)
    lower = cv2.warpAffine(_LOWER_TEETH, moved, size, flags=flags)
    tongue = cv2.warpAffine(_TONGUE, moved, size, flags=flags)
    return upper, lower, tongue


def _texture_map(place: Place, v: float, at: Floats) -> Floats:
    """The affine map `[2, 3]` from pixels from `at` on to texels of a texture that hangs at v."""
    axes = np.stack([place.along, place.down]) / place.unit**2  # [2, 2]: pixels to u, v
    shift = axes @ (at - place.origin) - (_LEFT, v + _TOP)
    return np.concatenate([axes, shift[:, None]], axis=1).astype(np.float32) * np.float32(_TEXELS)


def _shade(cover: Floats, opening: float) -> Floats:
    """Less light reaches what lies close to the lips."""
    reach = max(3, int(0.3 * opening)) | 1
    blurred = cv2.blur(cover, (reach, reach))
    return 0.45 + 0.55 * blurred


def _blend(
    into: Plane, cover: Floats, layers: tuple[Floats, Floats, Floats], by: Colours, channel: int
) -> None:
    upper, lower, tongue = layers
    back = by.cavity[channel]
    colour = back + tongue * (by.tongue[channel] - back)
    colour += lower * (by.teeth[channel] - colour)
    colour += upper * (by.teeth[channel] - colour)
    was = into.astype(np.float32)
    was += cover * (colour - was)
    into[:] = np.rint(was)
