"""Sound to features: which rows condition which frame."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from musetalk_stream.renderers.musetalk.windows import (
    count_reference_frames,
    count_rows,
    window_rows,
)
from musetalk_stream.timeline import MODEL_RATE

from .comparison import Comparison, exact


def windows(arrays: Mapping[str, Any]) -> list[Comparison]:
    """Arrays are named sec{seconds}_fps{frames per second}."""
    return [_window(name, rows) for name, rows in arrays.items() if name.startswith("sec")]


def _window(name: str, theirs: Any) -> Comparison:
    seconds, fps = name.removeprefix("sec").split("_fps")
    exactly = float(seconds) * MODEL_RATE
    # The name does not say how a length between two audio samples was rounded.
    either = (_ours(num_samples, Fraction(fps)) for num_samples in (int(exactly), round(exactly)))
    return min((exact(name, ours, theirs) for ours in either), key=lambda found: found.error)


def _ours(num_samples: int, fps: Fraction) -> Any:
    frames = range(count_reference_frames(num_samples, fps))
    num_rows = count_rows(num_samples, reference=True)
    return window_rows(frames, fps, num_rows, reference=True)
