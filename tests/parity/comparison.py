"""What a comparison is, and how exact each kind of array has to be."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Comparison:
    """One array of a vector file against ours. `error` in the unit of `tolerance`."""

    array: str
    error: float
    tolerance: float
    unit: str  # "levels", "relative", "absolute" or "places" (how many entries differ)

    @property
    def is_close(self) -> bool:
        return self.error <= self.tolerance  # False for NaN


def exact(array: str, ours: npt.ArrayLike, theirs: npt.ArrayLike) -> Comparison:
    """Entries that differ; all of them if the shapes do."""
    mine, other = np.asarray(ours), np.asarray(theirs)
    differing = other.size if mine.shape != other.shape else np.count_nonzero(mine != other)
    return Comparison(array, float(differing), 0.0, "places")


def levels(array: str, ours: npt.ArrayLike, theirs: npt.ArrayLike, tolerance: int) -> Comparison:
    """The largest difference of uint8 pictures."""
    return Comparison(array, _largest(ours, theirs), float(tolerance), "levels")


def absolute(
    array: str, ours: npt.ArrayLike, theirs: npt.ArrayLike, tolerance: float
) -> Comparison:
    return Comparison(array, _largest(ours, theirs), tolerance, "absolute")


def relative(
    array: str, ours: npt.ArrayLike, theirs: npt.ArrayLike, tolerance: float
) -> Comparison:
    """The largest difference, as a share of the largest value."""
    scale = float(np.abs(np.asarray(theirs, np.float64)).max())
    return Comparison(array, _largest(ours, theirs) / scale, tolerance, "relative")


def _largest(ours: npt.ArrayLike, theirs: npt.ArrayLike) -> float:
    mine, other = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if mine.shape != other.shape:
        return float("inf")
    return float(np.abs(mine - other).max()) if other.size else 0.0
