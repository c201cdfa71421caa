"""Which parts of a face follow its lips and its jaw, and how far."""

from dataclasses import dataclass

import numpy as np

from .arrays import Floats, as_floats, smoothstep

STEP = 0.07  # between nodes, in mouth coordinates

_CHIN, _LOWER_LIP = 8, 57  # landmarks
_JAW = slice(3, 14)
_NOSE_BASE = slice(31, 36)
_BELOW_CHIN = 1.15  # how far below the chin the neck gives way to it
_SOFT_EDGE = 0.85  # over which movement fades to nothing
_WIDEST_LIPS = 1.2
_WIDEST = 1.9


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


def field_of(face: Floats) -> Field:
    """The field of a face whose landmarks in mouth coordinates are `face` `[68, 2]`."""
    nose, chin = float(face[_NOSE_BASE, 1].mean()), float(face[_CHIN, 1])
    lip = float(face[_LOWER_LIP, 1])
    outline = face[_JAW]
    # At the sides the outline hardly moves; the chin needs room below it to move into.
    outward = outline / np.hypot(*outline.T)[:, None]
    reach = outline + outward * _BELOW_CHIN * smoothstep(outline[:, 1] / max(chin, 0.1))[:, None]

    u = np.arange(-_WIDEST - STEP, _WIDEST + 2 * STEP, STEP, dtype=np.float32)
    v = np.arange(nose, reach[:, 1].max() + 2 * STEP, STEP, dtype=np.float32)
    grid_u, grid_v = np.meshgrid(u, v)
    side = np.abs(grid_u)
    edge = smoothstep(_depth(grid_u, grid_v, _closed(reach, nose)) / _SOFT_EDGE)
    edge *= smoothstep((grid_v - nose - 0.05) / 0.3)

    begin = max(0.55, lip + 0.05)
    to_jaw = smoothstep((grid_v - begin) / max(0.3, chin - 0.1 - begin))
    jaw = edge * to_jaw * (1 - smoothstep((side - 0.4) / (_WIDEST - 0.4)))
    lips = edge * (1 - to_jaw) * (side < _WIDEST_LIPS)
    corner = grid_u * edge * (1 - smoothstep((side - 0.8) / (_WIDEST - 0.8)))
    corner *= 1 - smoothstep((np.abs(grid_v) - 0.4) / 1.0)
    # The corners draw the cheeks along, but never the outline of the face.
    corner *= smoothstep((_depth(grid_u, grid_v, _closed(outline, nose)) - 0.05) / 0.5)
    return Field(u, v, as_floats(lips), as_floats(jaw), as_floats(corner))


def _closed(outline: Floats, nose: float) -> Floats:
    """An outline that is open at its top, closed well above the nose."""
    top = [[outline[-1, 0], nose - 1], [outline[0, 0], nose - 1]]
    return np.concatenate([outline, np.array(top, np.float32)])


def _depth(u: Floats, v: Floats, ring: Floats) -> Floats:
    """How deep nodes lie inside the polygon `ring` `[n, 2]`; 0 outside."""
    nearest = np.full(u.shape, np.inf, np.float32)
    inside = np.zeros(u.shape, np.bool_)
    for (au, av), (bu, bv) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        du, dv = bu - au, bv - av
        length = max(float(du * du + dv * dv), 1e-9)
        along = np.clip(((u - au) * du + (v - av) * dv) / length, 0, 1)
        nearest = np.minimum(nearest, np.hypot(u - au - along * du, v - av - along * dv))
        if dv:
            inside ^= ((av > v) != (bv > v)) & (u < au + du * (v - av) / dv)
    return as_floats(np.where(inside, nearest, 0))
