"""Where in sound somebody speaks: WebRTC's voice activity detector, fed as the sound comes."""

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
