"""Pictures of teeth and of a tongue, as cover 0 to 1 that `inside` colours and puts in place.

They lie in mouth coordinates: column and row of (u, v) are `(u - LEFT) * TEXELS` and
`(v - TOP) * TEXELS`.
"""

import numpy as np

from .arrays import Floats, as_floats, smoothstep

TEXELS = 48.0  # per unit
LEFT, TOP, _RIGHT, _BOTTOM = -1.2, -0.7, 1.2, 0.7


def _texture_grid() -> tuple[Floats, Floats]:
    u = np.arange(LEFT, _RIGHT, 1 / TEXELS, dtype=np.float32)
    v = np.arange(TOP, _BOTTOM, 1 / TEXELS, dtype=np.float32)
    grid_u, grid_v = np.meshgrid(u, v)
    return as_floats(grid_u), as_floats(grid_v)


def _upper_teeth() -> Floats:
    """v = 0 is the line between the closed lips; the teeth end a little below it."""
    u, v = _texture_grid()
    side = np.abs(u)
    biting = 0.13 - 0.10 * u * u
    gaps = np.zeros_like(u)
    for border in (0.0, 0.33, 0.60, 0.86):
        gaps = np.maximum(gaps, np.exp(-(((side - border) / 0.022) ** 2)))
    biting -= 0.025 * gaps
    cover = smoothstep((biting - v) / 0.05 + 0.5)
    light = (1 - 0.10 * gaps) * (1 - 0.75 * smoothstep((side - 0.35) / 0.65))
    light *= 0.80 + 0.20 * smoothstep((v + 0.25) / 0.35)
    return as_floats(cover * light)


def _lower_teeth() -> Floats:
    """v = 0 is the edge of the lower lip."""
    u, v = _texture_grid()
    side = np.abs(u)
    gaps = np.zeros_like(u)
    for border in (0.0, 0.2, 0.4, 0.62):
        gaps = np.maximum(gaps, np.exp(-(((side - border) / 0.02) ** 2)))
    cover = smoothstep((v + 0.075 - 0.06 * u * u) / 0.05 + 0.5)
    light = (1 - 0.12 * gaps) * (1 - smoothstep((side - 0.25) / 0.5))
    return as_floats(0.55 * cover * light)


def _tongue() -> Floats:
    """v = 0 is the edge of the lower lip."""
    u, v = _texture_grid()
    out = np.hypot(u / 0.62, (v - 0.10) / 0.36)
    groove = 1 - 0.18 * np.exp(-((u / 0.05) ** 2))
    return as_floats(smoothstep((1.05 - out) / 0.35) * groove)


UPPER_TEETH, LOWER_TEETH, TONGUE = _upper_teeth(), _lower_teeth(), _tongue()
