"""What is known of an avatar's face before any speech: where its mouth is, how it is coloured, and
which of its parts follow the lips and the jaw.

Mouth coordinates: the origin is the middle of the closed lips, u points along them towards the
picture's right, v down the chin, and 1 is half the width of the mouth.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...avatar import Avatar, Cycle
from ...blend import i420_planes

Floats = npt.NDArray[np.float32]

LEFT, RIGHT = 48, 54  # landmarks: the corners of the mouth
CHIN, LOWER_LIP = 8, 57
_JAW = slice(3, 14)
_NOSE_BASE = slice(31, 36)
_INNER_LIPS = slice(60, 68)
_SMOOTH = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # over neighbouring pictures

STEP = 0.07  # between nodes of the warp field
_BELOW_CHIN = 1.15  # how far the neck gives way to the chin
_SOFT_EDGE = 0.85  # over which movement fades to nothing
_OPEN_MOUTH = 0.08  # lips further apart than this in the picture itself are open


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where the mouth is in one picture: p = origin + u * along + v * down, in luma pixels."""

    origin: Floats  # [2]
    along: Floats  # [2]
    down: Floats  # [2]
    line: Floats  # [5]: the line between the lips, v as a polynomial of u, highest power first
    half_gap: Floats  # [5]: half of the opening that the picture itself shows, likewise

    @property
    def unit(self) -> float:
        return float(np.hypot(*self.along))


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """How much each node of a grid in mouth coordinates follows each movement; 0 on its border.

    u, v    `[cols]`, `[rows]` of the nodes
    lip     `[rows, cols]`: follows the lips, up or down
    jaw     `[rows, cols]`: follows the jaw
    corner  `[rows, cols]`: follows the corners outwards
    """

    u: Floats
    v: Floats
    lip: Floats
    jaw: Floats
    corner: Floats


@dataclass(frozen=True, slots=True)
class Colours:
    """Y, Cb, Cr of what an open mouth shows, in the light of this avatar's own lips and skin."""

    cavity: tuple[float, float, float]
    teeth: tuple[float, float, float]
    tongue: tuple[float, float, float]


class Face:
    """The mouth of one avatar. It keeps no reference to the avatar."""

    def __init__(self, avatar: Avatar) -> None:
        points = _smoothed(avatar.landmarks, avatar.manifest.cycle)
        self._places = [_place(p) if np.isfinite(p).all() else None for p in points]
        seen = [n for n, place in enumerate(self._places) if place is not None]
        if not seen:
            return
        typical = np.mean([_in_mouth(points[n], self._places[n]) for n in seen], axis=0)
        self.field = _field(typical)
        self.colours = _colours(avatar, points, seen)

    def place(self, picture: int) -> Place | None:
        """None where the picture shows no face."""
        return self._places[picture]


def _smoothed(landmarks: Floats, cycle: Cycle) -> Floats:
    """Landmarks `[N, 68, 2]` averaged over neighbouring pictures of the cycle that have them."""
    half = len(_SMOOTH) // 2
    mode = "wrap" if cycle is Cycle.FORWARD else "symmetric"
    padded = np.pad(landmarks, ((half, half), (0, 0), (0, 0)), mode=mode)  # type: ignore[call-overload]
    known = np.isfinite(padded).all(axis=(1, 2))
    total, weight = np.zeros_like(landmarks), np.zeros(len(landmarks), np.float32)
    for shift, part in enumerate(_SMOOTH):
        here = slice(shift, shift + len(landmarks))
        total += part * np.where(known[here, None, None], padded[here], 0)
        weight += part * known[here]
    weight[~known[half:-half]] = np.nan
    return total / weight[:, None, None]


def _place(points: Floats) -> Place | None:
    along = (points[RIGHT] - points[LEFT]) / 2
    if np.hypot(*along) < 2:  # pixels; nothing could be seen of it
        return None
    origin = (points[60] + points[64]) / 2
    down = np.array([-along[1], along[0]], np.float32)
    lips = (points[_INNER_LIPS] - origin) @ np.stack([along, down], axis=1) / (along @ along)
    upper = np.polyfit(lips[:5, 0], lips[:5, 1], 4)
    lower = np.polyfit(lips[[0, 7, 6, 5, 4], 0], lips[[0, 7, 6, 5, 4], 1], 4)
    gap = (lower - upper) / 2
    if gap[-1] < _OPEN_MOUTH / 2:
        gap = np.zeros(5)
    line = (upper + lower) / 2
    return Place(origin, along, down, line.astype(np.float32), gap.astype(np.float32))


def _in_mouth(points: Floats, place: Place | None) -> Floats:
    assert place is not None
    axes = np.stack([place.along, place.down], axis=1)
    inside: Floats = (points - place.origin) @ axes / place.unit**2
    return inside


def smoothstep(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _field(face: Floats) -> Field:
    """The field of a face whose landmarks in mouth coordinates are `face` `[68, 2]`."""
    outline = face[_JAW]
    jaw_line = outline.copy()
    outward = jaw_line / np.hypot(*jaw_line.T)[:, None]
    # The outline at the sides hardly moves; the chin needs room below it to move into.
    jaw_line += outward * _BELOW_CHIN * smoothstep(jaw_line[:, 1] / face[CHIN, 1])[:, None]
    nose = face[_NOSE_BASE, 1].mean()
    top = [[jaw_line[-1, 0], nose - 1], [jaw_line[0, 0], nose - 1]]
    ring, outline = np.concatenate([jaw_line, top]), np.concatenate([outline, top])

    u = np.arange(ring[:, 0].min() - STEP, ring[:, 0].max() + 2 * STEP, STEP, dtype=np.float32)
    v = np.arange(nose, ring[:, 1].max() + 2 * STEP, STEP, dtype=np.float32)
    grid_u, grid_v = np.meshgrid(u, v)
    edge = smoothstep(_depth(grid_u, grid_v, ring) / _SOFT_EDGE)
    edge *= smoothstep((grid_v - nose - 0.05) / 0.3)

    begin = max(0.55, face[LOWER_LIP, 1] + 0.05)
    to_jaw = smoothstep((grid_v - begin) / max(0.3, face[CHIN, 1] - 0.1 - begin))
    across = 1 - smoothstep((np.abs(grid_u) - 0.4) / 1.7)
    corner = grid_u * (1 - smoothstep((np.abs(grid_u) - 0.8) / 1.1))
    corner *= 1 - smoothstep((np.abs(grid_v) - 0.4) / 1.0)
    corner *= smoothstep((_depth(grid_u, grid_v, outline) - 0.05) / 0.5)
    return Field(u, v, edge * (1 - to_jaw), edge * across * to_jaw, edge * corner)


def _depth(u: Floats, v: Floats, ring: Floats) -> Floats:
    """How deep nodes lie inside the polygon `ring` `[n, 2]`; 0 outside."""
    nearest = np.full(u.shape, np.inf, np.float32)
    inside = np.zeros(u.shape, np.bool_)
    for (au, av), (bu, bv) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        du, dv = bu - au, bv - av
        along = np.clip(((u - au) * du + (v - av) * dv) / (du * du + dv * dv), 0, 1)
        nearest = np.minimum(nearest, np.hypot(u - au - along * du, v - av - along * dv))
        if dv:
            crosses = ((av > v) != (bv > v)) & (u < au + du * (v - av) / dv)
            inside ^= crosses
    return np.where(inside, nearest, 0).astype(np.float32)


def _colours(avatar: Avatar, points: Floats, seen: list[int]) -> Colours:
    lips, skin = [], []
    for n in seen[:: max(1, len(seen) // 8)]:
        p = points[n]
        planes = i420_planes(np.asarray(avatar.frames[n]))
        stack = (planes.luma, planes.cb, planes.cr)
        upper = (p[[50, 51, 52]] + p[[61, 62, 63]]) / 2
        lower = (p[[58, 57, 56]] + p[[67, 66, 65]]) / 2
        lips += [_sample(stack, q) for q in (*upper, *lower)]
        skin += [_sample(stack, q) for q in ((p[48] + p[4]) / 2, (p[54] + p[12]) / 2)]
        skin += [_sample(stack, q) for q in (p[57] * 0.4 + p[8] * 0.6, p[29])]
    lip, cheek = np.median(lips, axis=0), np.median(skin, axis=0)

    def tone(luma: float, like: npt.NDArray[np.float64], tint: float) -> tuple[float, float, float]:
        return luma, 128 + tint * (like[1] - 128), 128 + tint * (like[2] - 128)

    return Colours(
        cavity=tone(16 + 0.17 * (lip[0] - 16), lip, 0.45),
        teeth=tone(cheek[0] + 0.45 * (235 - cheek[0]), cheek, 0.25),
        tongue=tone(16 + 0.62 * (lip[0] - 16), lip, 0.9),
    )


def _sample(planes: tuple[npt.NDArray[np.uint8], ...], point: Floats) -> list[float]:
    luma = planes[0]
    x = int(np.clip(point[0], 0, luma.shape[1] - 1))
    y = int(np.clip(point[1], 0, luma.shape[0] - 1))
    return [float(luma[y, x]), float(planes[1][y // 2, x // 2]), float(planes[2][y // 2, x // 2])]
