"""Where a moving mouth is shown: in speech, and not in silence, noise or hum."""

import math
import weakref
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..sound import Sound
from ..timeline import MODEL_RATE, model_samples_needed
from ..voice import CELL, CONFIRMED, Voices

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int_]

_LONGEST_FADE_S = Fraction(1, 8)  # at slow rates fewer frames: a word may be as short as two
_FADE_FRAMES = 2

# In cells of 10 ms.
_EARLIER = 4  # lips part before they sound, and the detector takes a moment
_HELD = 8  # after the last voice, if none follows soon
_BRIDGED = 22  # gaps up to here are within speech: stops, short pauses
_LOOKED_AHEAD = max(CONFIRMED - 1, _BRIDGED - _HELD)


class Presence:
    """How far a moving mouth counts in each frame of the sounds that are asked about.

    0 in silence, where the source frame is shown as it is, 1 in speech. It rises in the frames
    before speech begins and falls in those after it. As the source frame is shown before the first
    frame and after the last, it also rises from there and falls to there.

    Speech is voice (`voice.Voices`), held over short gaps.
    """

    def __init__(self) -> None:
        self._speech: weakref.WeakKeyDictionary[Sound, _SpeechCells] = weakref.WeakKeyDictionary()

    def levels(self, sound: Sound, fps: Fraction, first: int, count: int) -> Floats:
        """Of frames `first` … `first+count-1`: float32 `[count]`.

        Frames that sound still arriving does not cover yet (`timeline.frames_ready`) can't be
        asked for.
        """
        assert sound.has_ended or sound.num_model >= model_samples_needed(first + count, fps), (
            f"frames {first} to {first + count - 1} of {sound!r} can't be known yet"
        )
        fade = fade_frames(fps)
        looked_at = int(_first_cell(fps, np.array(first + count + fade))) + _EARLIER + _LOOKED_AHEAD
        assert looked_at * CELL <= model_samples_needed(first + count, fps), (
            "it looks too far ahead"
        )
        speech = self._frames_of_speech(sound, fps, first - fade, count + 2 * fade)
        closeness = 1 - np.abs(np.arange(-fade, fade + 1)) / (fade + 1)
        level = np.max([near * speech[n : n + count] for n, near in enumerate(closeness)], axis=0)

        frames = np.arange(first, first + count)
        edge = frames + 1.0
        if sound.has_ended:  # else the end is further away than a fade
            edge = np.minimum(edge, math.ceil(sound.num_model * fps / MODEL_RATE) - frames)
        return np.asarray(np.clip(np.minimum(level, edge / (fade + 1)), 0, 1), np.float32)

    def _frames_of_speech(
        self, sound: Sound, fps: Fraction, first: int, count: int
    ) -> npt.NDArray[np.bool_]:
        """Frames during which somebody speaks."""
        cells = _first_cell(fps, np.arange(first, first + count + 1))
        known = self._speech.get(sound)
        if known is None:
            known = self._speech[sound] = _SpeechCells()
        start, stop = int(cells[0]), int(cells[-1]) + _EARLIER
        speech = known.between(sound, start, stop)
        before = np.concatenate(([0], np.cumsum(speech)))
        found: npt.NDArray[np.bool_] = (
            before[cells[1:] + _EARLIER - start] > before[cells[:-1] - start]
        )
        return found


def _first_cell(fps: Fraction, frames: Ints) -> Ints:
    """Frame k stands for what is half a frame around k/fps."""
    up, down = 2 * fps.numerator, fps.denominator
    return ((2 * frames - 1) * (MODEL_RATE // CELL) * down + up // 2) // up


def fade_frames(fps: Fraction) -> int:
    """Frames between the source frame and the moving mouth."""
    return max(1, min(_FADE_FRAMES, math.floor(fps * _LONGEST_FADE_S)))


class _SpeechCells:
    """Speech or not per cell of one sound, found in order, each cell once."""

    def __init__(self) -> None:
        self._voices = Voices()
        self._speech = bytearray()
        self._last_voiced = 0

    def between(self, sound: Sound, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Cells `start` … `stop-1`; there is no speech outside of the sound."""
        self._hear(sound, stop + _LOOKED_AHEAD)
        while len(self._speech) < min(stop, len(self._voices.voiced)):
            self._speech.append(self._is_speech(len(self._speech)))
        found = np.zeros(stop - start, np.bool_)
        low, high = max(start, 0), min(stop, len(self._speech))
        if low < high:
            known = bytes(self._speech[low:high])
            found[low - start : high - start] = np.frombuffer(known, np.bool_)
        return found

    def _hear(self, sound: Sound, cells: int) -> None:
        heard, upto = len(self._voices.voiced), min(cells, sound.num_model // CELL)
        if upto > heard:
            self._voices.feed(sound.listened(heard * CELL, upto * CELL))

    def _is_speech(self, cell: int) -> bool:
        voiced = self._voices.voiced
        speaking = cell > 0 and bool(self._speech[cell - 1])
        if voiced[cell] and (speaking or self._voices.begins(cell)):
            self._last_voiced = cell
            return True
        if speaking and cell > self._last_voiced + _HELD:
            return any(voiced[cell : self._last_voiced + _BRIDGED + 1])
        return speaking
