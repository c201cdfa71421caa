"""Resizing to the bit as Pillow does it, which the official masks went through.

OpenCV's cubic has another coefficient and does not average when it shrinks.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]

_PRECISION_BITS = 22  # of Pillow's fixed-point weights for 8-bit pictures
_CUBIC = -0.5  # Pillow's coefficient; OpenCV's is -0.75


def resized_bilinear(picture: Bytes, width: int, height: int) -> Bytes:
    """uint8 `[H, W]` or `[H, W, C]` to `[height, width]` or `[height, width, C]`."""
    return _resized(picture, width, height, "bilinear")


def resized_bicubic(picture: Bytes, width: int, height: int) -> Bytes:
    """uint8 `[H, W]` or `[H, W, C]` to `[height, width]` or `[height, width, C]`."""
    return _resized(picture, width, height, "bicubic")


def _bilinear(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _bicubic(x: float) -> float:
    x, a = abs(x), _CUBIC
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0


# The filter and how far it reaches, in pixels of the coarser picture.
_FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
}


def _resized(picture: Bytes, width: int, height: int, kind: str) -> Bytes:
    across = _resized_rows(picture.swapaxes(0, 1), width, kind)  # first, and rounded in between
    return np.ascontiguousarray(_resized_rows(across.swapaxes(0, 1), height, kind))


def _resized_rows(picture: Bytes, count: int, kind: str) -> Bytes:
    """`[H, …]` to `[count, …]`."""
    if count == len(picture):
        return picture
    weights = _weights(len(picture), count, kind)
    # Doubles hold these integers exactly, and are multiplied faster than integers.
    total = weights @ picture.reshape(len(picture), -1).astype(np.float64)
    total += 1 << (_PRECISION_BITS - 1)
    levels = np.clip(np.floor(total / (1 << _PRECISION_BITS)), 0, 255)
    return np.asarray(levels, np.uint8).reshape(count, *picture.shape[1:])


@lru_cache(maxsize=4)
def _weights(before: int, after: int, kind: str) -> npt.NDArray[np.float64]:
    """How much each row counts in each row of the result: `[after, before]`, whole numbers."""
    filtered, reach = _FILTERS[kind]
    scale = before / after
    stretch = max(scale, 1.0)
    reach *= stretch
    weights = np.zeros((after, before))
    for row in range(after):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - reach + 0.5))
        last = min(before, int(centre + reach + 0.5))
        shares = [filtered((x - centre + 0.5) / stretch) for x in range(first, last)]
        total = sum(shares)
        weights[row, first:last] = [_fixed(share / total) for share in shares]
    return weights


def _fixed(share: float) -> int:
    return int(math.copysign(0.5, share) + share * (1 << _PRECISION_BITS))
