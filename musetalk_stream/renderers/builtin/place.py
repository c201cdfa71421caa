"""Where the mouth is in each picture of an avatar.

Mouth coordinates: the origin is the middle of the closed lips, u points along them towards the
picture's right, v down the chin, and 1 is half the width of the mouth.
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Floats, as_floats

LEFT, RIGHT = 48, 54  # landmarks: the corners of the mouth
_INNER_LEFT, _INNER_RIGHT = 60, 64
_UPPER = [60, 61, 62, 63, 64]  # inner lips, from left to right
_LOWER = [60, 67, 66, 65, 64]
_SMALLEST = 3.0  # luma pixels; in a mouth of less half width nothing can be seen to move
_OPEN_MOUTH = 0.08  # lips further apart than this in the picture itself are open


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One mouth in one picture: p = origin + u * along + v * down, in luma pixels."""

    origin: Floats  # [2]
    along: Floats  # [2]
    down: Floats  # [2]
    to_mouth: Floats  # [2, 2]: from pixels to u, v
    unit: float  # luma pixels of 1
    line: Floats  # [5]: the line between the lips, v as a polynomial of u, highest power first
    half_gap: Floats  # [5]: half of the opening that the picture itself shows, likewise

    @property
    def own_opening(self) -> float:
        """How far the lips are apart in the middle."""
        return 2 * float(self.half_gap[-1])

    def pixels(self, u: Floats, v: Floats) -> Floats:
        """Points `[n, 2]` of `u` `[n]` and `v` `[n]`."""
        return as_floats(self.origin + u[:, None] * self.along + v[:, None] * self.down)

    def mouth(self, points: Floats) -> Floats:
        """u, v `[n, 2]` of points `[n, 2]`."""
        return as_floats((points - self.origin) @ self.to_mouth.T)


def curve(polynomial: Floats, u: Floats) -> Floats:
    """The value of `Place.line` or `Place.half_gap` at `u`, which is at most 1 either way."""
    value = polynomial[0] * u
    for coefficient in polynomial[1:-1]:
        value += coefficient
        value *= u
    value += polynomial[-1]
    return as_floats(value)


def find_mouth(points: Floats) -> Place | None:
    """The mouth of landmarks `[68, 2]`; None where there is none, or too small a one."""
    along = (points[RIGHT] - points[LEFT]) / 2
    unit = float(np.hypot(*along))
    if not np.isfinite(points).all() or unit < _SMALLEST:
        return None
    origin = (points[_INNER_LEFT] + points[_INNER_RIGHT]) / 2
    down = as_floats([-along[1], along[0]])
    to_mouth = as_floats(np.stack([along, down]) / unit**2)
    upper, lower = (
        _fit(as_floats((points[lip] - origin) @ to_mouth.T)) for lip in (_UPPER, _LOWER)
    )
    gap = as_floats((lower - upper) / 2)
    if gap[-1] < _OPEN_MOUTH / 2:
        gap = np.zeros_like(gap)
    line = as_floats((upper + lower) / 2)
    return Place(as_floats(origin), as_floats(along), down, to_mouth, unit, line, gap)


def _fit(lip: Floats) -> Floats:
    """The polynomial `[5]` through the points u, v `[5, 2]` of one lip."""
    powers = np.vander(lip[:, 0].astype(np.float64), 5)
    return as_floats(np.linalg.lstsq(powers, lip[:, 1], rcond=1e-4)[0])
