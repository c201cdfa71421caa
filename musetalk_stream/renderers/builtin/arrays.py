"""The kinds of array that the parts of this renderer hand each other."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Plane = npt.NDArray[np.uint8]


def as_floats(array: npt.ArrayLike) -> Floats:
    """The same array under its type, without a copy; what OpenCV and NumPy return says less."""
    return np.asarray(array, np.float32)


def smoothstep(x: npt.NDArray[np.floating[Any]]) -> Floats:
    """0 below 0, 1 above 1, without a corner in between."""
    x = np.clip(x, 0, 1)
    return as_floats(x * x * (3 - 2 * x))
