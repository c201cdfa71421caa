"""Where the landmarks of an upright face usually are, for a face that nothing recognises."""

import numpy as np

from .face import Landmarks, Rect

# The right half as seen (and what is on the middle line), by landmark: x from the middle line in
# halves of the jaw's width, y from the brows' top (0) to the chin (1). The left half mirrors it.
_HALF = {
    # jaw
    8: (0.00, 1.00), 9: (0.22, 0.975), 10: (0.42, 0.91), 11: (0.60, 0.81), 12: (0.75, 0.69),
    13: (0.86, 0.56), 14: (0.94, 0.42), 15: (0.985, 0.28), 16: (1.00, 0.14),
    # brow
    22: (0.17, 0.08), 23: (0.33, 0.02), 24: (0.50, 0.00), 25: (0.66, 0.025), 26: (0.78, 0.09),
    # nose
    27: (0.00, 0.17), 28: (0.00, 0.26), 29: (0.00, 0.35), 30: (0.00, 0.43),
    33: (0.00, 0.52), 34: (0.12, 0.51), 35: (0.23, 0.48),
    # eye
    42: (0.24, 0.19), 43: (0.34, 0.155), 44: (0.46, 0.155), 45: (0.57, 0.19), 46: (0.46, 0.215),
    47: (0.34, 0.215),
    # outer lips
    51: (0.00, 0.625), 52: (0.11, 0.615), 53: (0.26, 0.64), 54: (0.38, 0.68), 55: (0.27, 0.73),
    56: (0.13, 0.755), 57: (0.00, 0.76),
    # inner lips
    62: (0.00, 0.675), 63: (0.14, 0.67), 64: (0.34, 0.68), 65: (0.14, 0.685), 66: (0.00, 0.685),
}  # fmt: skip

# The landmark that each one becomes when left and right change places.
MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


def mean_face(box: Rect) -> Landmarks:
    """Landmarks of a face from jaw to jaw and from brows to chin: `[68, 2]` in a box."""
    left, top, right, bottom = box
    points = np.zeros((len(MIRRORED), 2))
    for landmark, (x, y) in _HALF.items():
        points[landmark] = x, y
        points[MIRRORED[landmark]] = -x, y
    middle = ((left + right) / 2, top)
    return np.asarray(points * ((right - left) / 2, bottom - top) + middle, np.float32)
