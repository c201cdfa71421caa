"""Where in sound somebody speaks, found as the sound comes: what WebRTC's voice activity detector
says and what stands out from quiet, but for steady noise."""

from array import array
from collections import deque

import numpy as np
import numpy.typing as npt
import webrtcvad

from .sound import Samples
from .timeline import MODEL_RATE

CELL = 160  # audio samples at 16 kHz, 10 ms: what the detector decides about at a time

_MODE = 2  # of 0 (takes much for voice) to 3 (takes little)
# The detector measures against the noise before, so that in utter quiet a breath of it is voice.
_FLOOR_DB = -60.0  # of full scale
_FLOOR_POWER = 10 ** (_FLOOR_DB / 10)

CONFIRMED = 9  # cells: the detector answers a crackle in noise with 7 of voice, its start with 8
_SUDDEN = 10 ** (12 / 10)  # in power: what rises so much within 30 ms is no noise
_RISE_CELLS, _BEFORE_CELLS = 3, 6
_BLOCK = 10  # cells over which steadiness is judged
_STEADY_BLOCKS = 12  # 1.2 s
_STEADY = 10 ** (2 / 10)  # in power: noise, hum and tones stay within this; who sings does not

# In quiet, what stands out by so much from what was the least for 1.2 s is a voice whatever the
# detector says, which misses a third of soft speech, whispers and long hisses.
_QUIET = 10 ** (-80 / 10)
_OVER_QUIET = 10 ** (20 / 10)


class VoiceActivity:
    """Voice or not, cell by cell and in order; each depends on those before and on none after.

    What is found depends on the audio samples alone, not on how they are split.
    """

    def __init__(self) -> None:
        self._detector = webrtcvad.Vad(_MODE)
        self._rest = np.zeros(0, np.float32)  # less than a cell

    def feed(self, samples: Samples) -> npt.NDArray[np.bool_]:
        """samples: mono at 16 kHz, full scale ±1; bool per cell that they complete."""
        joined = np.concatenate((self._rest, samples))
        whole = len(joined) // CELL * CELL
        cells, self._rest = joined[:whole].reshape(-1, CELL), joined[whole:].copy()
        pcm = np.rint(np.clip(cells, -1, 1) * 32767).astype("<i2")
        voiced = np.fromiter(map(self._is_voice, pcm), np.bool_, len(pcm))
        # Power about the mean: an offset is no sound.
        loud: npt.NDArray[np.bool_] = cells.var(axis=1) > _FLOOR_POWER
        return voiced & loud

    def _is_voice(self, cell: npt.NDArray[np.int16]) -> bool:
        return bool(self._detector.is_speech(cell.tobytes(), MODEL_RATE))


class Voices:
    """Cells of one sound in which there is a voice, and those where one begins.

    A voice is what the detector says or what stands out from quiet, except for what has been
    equally loud for 1.2 s. It begins where the level leaps by 12 dB within 30 ms, or where it lasts
    for `CONFIRMED` cells.

    voiced  0 or 1 per cell so far; it depends on the cells before and on none after
    """

    def __init__(self) -> None:
        self.voiced = bytearray()
        self._activity = VoiceActivity()
        self._rest = np.zeros(0, np.float32)  # less than a cell
        self._power = array("d")  # per cell
        # Of the latest blocks: their power, on average and where it is least.
        self._blocks: deque[float] = deque(maxlen=_STEADY_BLOCKS)
        self._least: deque[float] = deque(maxlen=_STEADY_BLOCKS)
        self._is_steady = False

    def feed(self, samples: Samples) -> None:
        """samples: mono at 16 kHz, full scale ±1; how they are split makes no difference."""
        joined = np.concatenate((self._rest, samples))
        whole = len(joined) // CELL * CELL
        cells, self._rest = joined[:whole], joined[whole:].copy()
        powers: list[float] = cells.reshape(-1, CELL).var(axis=1).tolist()
        for power, is_voice in zip(powers, self._activity.feed(cells).tolist(), strict=True):
            is_voice = is_voice or self._stands_out(power)
            self.voiced.append(is_voice and not self._is_steady)
            self._power.append(power)
            if len(self._power) % _BLOCK == 0:
                self._judge(self._power[-_BLOCK:])

    def begins(self, cell: int) -> bool:
        """Whether somebody may begin to speak in a cell; `CONFIRMED` cells from it on tell, or as
        many as the sound has."""
        lasting = self.voiced[cell : cell + CONFIRMED]
        if len(lasting) == CONFIRMED and all(lasting):
            return True
        rise = cell - _RISE_CELLS + 1
        before = self._power[max(0, rise - _BEFORE_CELLS) : max(0, rise)]
        leaps = bool(before) and self._power[cell] >= _SUDDEN * max(before)
        return leaps and bool(self.voiced[cell])

    def _judge(self, block: "array[float]") -> None:
        """What the cells after this block are compared with."""
        self._blocks.append(sum(block) / _BLOCK)
        self._least.append(min(block))
        self._is_steady = (
            len(self._blocks) == _STEADY_BLOCKS and max(self._blocks) <= min(self._blocks) * _STEADY
        )

    def _stands_out(self, power: float) -> bool:
        return len(self._least) > 0 and power > _OVER_QUIET * max(_QUIET, min(self._least))
