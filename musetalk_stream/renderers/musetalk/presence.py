"""Where the generated mouth is shown: in speech, and not in silence, where models mumble.

The ear is the built-in renderer's, so that both are quiet at the same places.
"""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ...timeline import MODEL_RATE
from ..builtin.hearing import OPEN, listen
from .windows import Floats

_FADE_FRAMES = 3
_LONGEST_FADE_S = Fraction(3, 20)  # at slow rates fewer frames: a word may be as short as two
_SHORTEST_SILENCE_S = Fraction(1, 4)  # stops and short pauses within speech are less


def presence(samples: Floats, fps: Fraction, first: int, count: int) -> Floats:
    """How far the generated mouth counts in frames `first` … `first+count-1`: float32 `[count]`.

    0 in silence, where the source frame is shown as it is, 1 in speech. It rises in the frames
    before speech begins and falls in those after it. As the source frame is shown before the first
    frame and after the last, it also rises from there and falls to there.
    """
    fade = min(_FADE_FRAMES, math.ceil(fps * _LONGEST_FADE_S))
    speech = _speech(samples, fps, first - fade, count + 2 * fade)
    closeness = 1 - np.abs(np.arange(-fade, fade + 1)) / (fade + 1)
    level = np.max([near * speech[n : n + count] for n, near in enumerate(closeness)], axis=0)

    frames = np.arange(first, first + count)
    num_frames = math.ceil(samples.size * fps / MODEL_RATE)
    edge = np.minimum(frames + 1, num_frames - frames) / (fade + 1)
    return np.asarray(np.clip(np.minimum(level, edge), 0, 1), np.float32)


def _speech(samples: Floats, fps: Fraction, first: int, count: int) -> npt.NDArray[np.bool_]:
    """Frames with a voice, and those in gaps too short to be silence."""
    longest = math.ceil(fps * _SHORTEST_SILENCE_S) - 1  # frames of such a gap
    # A gap that reaches further than its longest to either side is none.
    heard = listen(samples, fps, first - longest, count + 2 * longest)[:, OPEN] > 0
    place = np.arange(heard.size)
    before = np.maximum.accumulate(np.where(heard, place, -np.inf))
    after = np.minimum.accumulate(np.where(heard, place, np.inf)[::-1])[::-1]
    speech: npt.NDArray[np.bool_] = after - before - 1 <= longest
    return speech[longest : longest + count]
