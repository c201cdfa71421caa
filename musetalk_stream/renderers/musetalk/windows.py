"""Which rows of audio features condition which frame: whole numbers and arrays, no model.

Whisper gives 50 rows per second of 5 layers each; a frame is conditioned by the 10 rows around its
instant, and where there are none, by zeros (not by the features of silence).
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ...timeline import MODEL_RATE

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]

ROWS_PER_S = 50
WINDOW_ROWS = 10
NO_ROW = -1

_ROWS_BEFORE = 4  # of a window, before the row in which the frame begins


def count_rows(num_samples: int, *, reference: bool = False) -> int:
    """How many whole rows `num_samples` of 16 kHz sound fill.

    reference: in floating point as the official code counts, at times one row less (0.58 s: 28).
    """
    if reference:
        return math.floor(num_samples / MODEL_RATE * ROWS_PER_S)
    return num_samples * ROWS_PER_S // MODEL_RATE


def count_reference_frames(num_samples: int, fps: Fraction) -> int:
    """How many frames the official code makes of `num_samples` of 16 kHz sound."""
    return math.floor(num_samples / MODEL_RATE * int(fps))


def window_rows(
    frames: Sequence[int] | npt.NDArray[np.int64],
    fps: Fraction,
    num_rows: int,
    *,
    reference: bool = False,
) -> Rows:
    """The rows that condition each frame: int32 `[n, 10]`, NO_ROW outside of 0 … `num_rows-1`.

    Frame k has the rows from floor(k · 50 / fps) - 4 on, at any rate. The official code does the
    same at whole rates from 25 to 49, but for rounding (29 and 31 fps: at times a row earlier);
    below, its windows lie too early, and it cuts rates to whole numbers. `reference` gives its
    windows; ValueError where it gives up, as from 50 fps on.
    """
    places = np.asarray(frames, np.int64)
    if reference:
        starts = _reference_starts(places, int(fps), num_rows)
    else:
        starts = places * (ROWS_PER_S * fps.denominator) // fps.numerator - _ROWS_BEFORE
    rows = starts[:, None] + np.arange(WINDOW_ROWS)
    return np.where((rows >= 0) & (rows < num_rows), rows, NO_ROW).astype(np.int32)


def gather(features: Floats, rows: Rows) -> Floats:
    """Windows of features `[R, 5, 384]`: float32 `[n, 50, 384]`, token = row · 5 + layer."""
    there = rows != NO_ROW
    windows = np.zeros((*rows.shape, *features.shape[1:]), np.float32)  # [n, 10, 5, 384]
    windows[there] = features[rows[there]]
    count, length, layers, width = windows.shape
    return windows.reshape(count, length * layers, width)


def _reference_starts(
    places: npt.NDArray[np.int64], fps: int, num_rows: int
) -> npt.NDArray[np.int64]:
    if fps < 1:
        raise ValueError("the official code can't take less than 1 fps")
    # It pads with copies of the first rows set to zero, so there can't be more than there are rows.
    step = ROWS_PER_S / fps
    left = min(2 * math.ceil(step), num_rows)
    right = min(6 * math.ceil(step), num_rows)
    starts: npt.NDArray[np.int64] = np.floor(places * step).astype(np.int64)
    if starts.size and starts.max() + WINDOW_ROWS > left + num_rows + right:
        raise ValueError(f"the official code gives up at {fps} fps and {num_rows} rows")
    return starts - left
