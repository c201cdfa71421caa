"""Where a moving mouth is shown: in speech, and not in silence, noise or hum."""

import math
import weakref
from array import array
from collections import deque
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..sound import Samples, Sound
from ..timeline import MODEL_RATE, model_samples_needed
from ..voice import CELL, VoiceActivity

Floats = npt.NDArray[np.float32]

_FADE_FRAMES = 3
_LONGEST_FADE_S = Fraction(3, 20)  # at slow rates fewer frames: a word may be as short as two

# In cells of 10 ms. All of it together must fit into what `timeline.model_samples_needed` allows.
_EARLIER = 4  # lips part before they sound, and the detector takes a moment
_CONFIRMED = 8  # in noise the detector answers a crackle with 7 cells of voice
_HELD = 11  # after the last voice, if none follows soon
_BRIDGED = 22  # gaps up to here are within speech: stops, short pauses
_LOOKED_AHEAD = _EARLIER + _CONFIRMED - 1
assert _BRIDGED - _HELD <= _LOOKED_AHEAD

_SUDDEN = 10 ** (12 / 10)  # in power: what rises so much within 30 ms is no noise
_RISE_CELLS, _BEFORE_CELLS = 3, 6
_BLOCK = 10  # cells over which steadiness is judged
_STEADY_BLOCKS = 12  # 1.2 s
_STEADY = 10 ** (2 / 10)  # in power: noise, hum and tones stay within this; who sings does not

# In quiet, what stands out by so much from what was the least for 1.2 s is a voice whatever the
# detector says, which misses a third of soft speech, whispers and long hisses.
_QUIET = 10 ** (-80 / 10)
_OVER_QUIET = 10 ** (20 / 10)


class Presence:
    """How far a moving mouth counts in each frame of the sounds that are asked about.

    0 in silence, where the source frame is shown as it is, 1 in speech. It rises in the frames
    before speech begins and falls in those after it. As the source frame is shown before the first
    frame and after the last, it also rises from there and falls to there.

    Speech is what the voice activity detector says or what stands out from quiet, held over short
    gaps, except for what has been equally loud for 1.2 s. It begins where the level leaps or the
    voice lasts for 80 ms.
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
        fade = min(_FADE_FRAMES, math.ceil(fps * _LONGEST_FADE_S))
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
        """Frames during which somebody speaks; frame k stands for what is half a frame around
        k/fps."""
        frames = np.arange(first, first + count + 1)
        up, down = 2 * fps.numerator, fps.denominator
        cells = ((2 * frames - 1) * (MODEL_RATE // CELL) * down + up // 2) // up
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


class _SpeechCells:
    """Speech or not per cell of one sound, found in order, each cell once."""

    def __init__(self) -> None:
        self._activity = VoiceActivity()
        # Of the latest blocks: their power, on average and where it is least.
        self._blocks: deque[float] = deque(maxlen=_STEADY_BLOCKS)
        self._least: deque[float] = deque(maxlen=_STEADY_BLOCKS)
        self._is_steady = False
        # Per cell heard:
        self._power = array("d")
        self._voiced = bytearray()
        self._steady = bytearray()
        # Per cell decided:
        self._speech = bytearray()
        self._last_voiced = 0

    def between(self, sound: Sound, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Cells `start` … `stop-1`; there is no speech outside of the sound."""
        self._hear(sound, stop + _LOOKED_AHEAD)
        while len(self._speech) < min(stop, len(self._voiced)):
            self._speech.append(self._is_speech(len(self._speech)))
        found = np.zeros(stop - start, np.bool_)
        low, high = max(start, 0), min(stop, len(self._speech))
        if low < high:
            known = bytes(self._speech[low:high])
            found[low - start : high - start] = np.frombuffer(known, np.bool_)
        return found

    def _hear(self, sound: Sound, cells: int) -> None:
        heard, upto = len(self._power), min(cells, sound.num_model // CELL)
        if upto <= heard:
            return
        samples = sound.listened(heard * CELL, upto * CELL)
        detected = self._activity.feed(samples)
        for power, is_voice in zip(_power(samples), detected.tolist(), strict=True):
            self._voiced.append(is_voice or self._stands_out(power))
            self._steady.append(self._is_steady)
            self._power.append(power)
            if len(self._power) % _BLOCK == 0:
                self._judge(self._power[-_BLOCK:])

    def _judge(self, block: "array[float]") -> None:
        """What the cells after this block are compared with."""
        self._blocks.append(sum(block) / _BLOCK)
        self._least.append(min(block))
        self._is_steady = (
            len(self._blocks) == _STEADY_BLOCKS and max(self._blocks) <= min(self._blocks) * _STEADY
        )

    def _stands_out(self, power: float) -> bool:
        return len(self._least) > 0 and power > _OVER_QUIET * max(_QUIET, min(self._least))

    def _is_speech(self, cell: int) -> bool:
        speaking = cell > 0 and bool(self._speech[cell - 1])
        if self._steady[cell]:
            return False
        if self._voiced[cell] and (speaking or self._begins(cell)):
            self._last_voiced = cell
            return True
        if speaking and cell > self._last_voiced + _HELD:
            return any(self._voiced[cell : self._last_voiced + _BRIDGED + 1])
        return speaking

    def _begins(self, cell: int) -> bool:
        lasting = self._voiced[cell : cell + _CONFIRMED]
        if len(lasting) == _CONFIRMED and all(lasting):
            return True
        rise = cell - _RISE_CELLS + 1
        before = self._power[max(0, rise - _BEFORE_CELLS) : max(0, rise)]
        return bool(before) and self._power[cell] >= _SUDDEN * max(before)


def _power(samples: Samples) -> list[float]:
    """Mean square per cell about its mean, as an offset is no sound."""
    found: list[float] = samples.reshape(-1, CELL).var(axis=1).tolist()
    return found
