"""The sound of one utterance, whole or still arriving."""

import math
import threading
from collections import deque
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from .timeline import EAR_RATE, MODEL_RATE

Samples = npt.NDArray[np.float32]

_FADE_S = 0.01
_BYTES_PER_S = (EAR_RATE + MODEL_RATE) * np.dtype(np.float32).itemsize
_BLOCK = 1 << 16  # audio samples that arrive in small pieces are kept together by so many


class Sound:
    """Mono speech, full scale ±1, at two rates; audio sample 0 of each is the same instant.

    One thread adds and any may read. What has been spoken may be forgotten.

    is_live  it was spoken before all of it was there: what is made of it must not depend on how
             fast it came, so nobody looks further ahead than `timeline.model_samples_needed` says
    """

    def __init__(self, *, is_live: bool) -> None:
        self.is_live = is_live
        self.has_ended = False
        self._ear = _Track()
        self._model = _Track()

    @classmethod
    def whole(cls, ear: Samples, model: Samples) -> "Sound":
        """ear: float32 `[n]` at 48 kHz; model: float32 `[ceil(n/3)]` at 16 kHz."""
        sound = cls(is_live=False)
        sound.add(ear, model)
        sound.end()
        return sound

    def add(self, ear: Samples, model: Samples) -> None:
        """What has come. The two may be out of step by what resamplers hold back."""
        assert not self.has_ended, "sound was added after its end"
        self._ear.append(ear)
        self._model.append(model)

    def pause(self, num_model: int) -> int:
        """Silence of so many audio samples at 16 kHz, and three times as many at 48 kHz; no less
        than the fade below takes. Gives how many it has become.

        What came is left as it is, as it may have been heard: it fades out backwards (from its last
        audio sample, as in a mirror), which has no step. What comes next fades in.
        """
        assert not self.has_ended, "sound was paused after its end"
        num_model = max(num_model, round(_FADE_S * MODEL_RATE))
        self._ear.pause(num_model * EAR_RATE // MODEL_RATE, round(_FADE_S * EAR_RATE))
        self._model.pause(num_model, round(_FADE_S * MODEL_RATE))
        return num_model

    def end(self) -> None:
        """No more comes; the lengths are made to fit each other."""
        lacking = self._model_length_at_end() - self._model.length
        if lacking > 0:
            self._model.append(np.zeros(lacking, np.float32))
        self.has_ended = True

    def _model_length_at_end(self) -> int:
        return math.ceil(self._ear.length * MODEL_RATE / EAR_RATE)

    @property
    def num_ear(self) -> int:
        """Audio samples at 48 kHz so far."""
        return self._ear.length

    @property
    def num_model(self) -> int:
        """Audio samples at 16 kHz so far."""
        if self.has_ended:
            return self._model_length_at_end()
        return self._model.length

    @property
    def num_known(self) -> int:
        """Audio samples at 48 kHz of which those at 16 kHz are there, too."""
        return min(self.num_ear, self.num_model * EAR_RATE // MODEL_RATE)

    @property
    def duration_s(self) -> float:
        return self.num_ear / EAR_RATE

    @property
    def kept_s(self) -> float:
        """What has not been forgotten, in whole blocks."""
        return self._ear.kept / EAR_RATE

    def heard(self, start: int, stop: int) -> Samples:
        """Audio samples `start` … `stop-1` at 48 kHz; silence where there are none."""
        return self._ear.stretch(start, stop)

    def listened(self, start: int, stop: int) -> Samples:
        """Likewise at 16 kHz."""
        known = max(start, min(stop, self.num_model))
        samples = self._model.stretch(start, known)
        return samples if known == stop else np.pad(samples, (0, stop - known))

    def forget_before(self, instant_s: float) -> None:
        """Nobody asks for what lies before an instant any more."""
        self._ear.forget_before(math.floor(instant_s * EAR_RATE))
        self._model.forget_before(math.floor(instant_s * MODEL_RATE))

    def __repr__(self) -> str:
        return f"<Sound {self.duration_s:.2f} s{'' if self.has_ended else ', arriving'}>"


class SoundRoom:
    """Memory for the sound of all utterances of a server that has come and is not spoken yet."""

    def __init__(self, max_bytes: float = math.inf) -> None:
        self._max_s = max_bytes / _BYTES_PER_S
        self._sounds: WeakSet[Sound] = WeakSet()

    def hold(self, sound: Sound) -> None:
        """It counts until nobody has it any more."""
        self._sounds.add(sound)

    def has(self, seconds: float, its: Sound | None) -> bool:
        """Whether so much more fits, which goes to `its` or to another one. A sound that is alone
        always does, or nothing would be left to wait for."""
        others_s = sum(sound.kept_s for sound in self._sounds if sound is not its)
        return not others_s or others_s + (its.kept_s if its else 0.0) + seconds <= self._max_s


class _Track:
    """Audio samples by their place; blocks of them, of which the oldest may go."""

    def __init__(self) -> None:
        self.length = 0
        self._blocks: deque[tuple[int, Samples]] = deque()  # where each begins
        self._filling: Samples | None = None  # the last block, with room at its end
        self._filled = 0
        self._fading_in: Samples = np.zeros(0, np.float32)  # by what to multiply what comes next
        self._lock = threading.Lock()

    def pause(self, count: int, fade: int) -> None:
        falling = np.cos(np.linspace(0, np.pi / 2, fade + 2, dtype=np.float32)[1:-1]) ** 2
        fade = min(fade, count, self.length)
        last = self.stretch(self.length - fade, self.length)
        silence = np.zeros(count, np.float32)
        silence[:fade] = last[::-1] * falling[:fade]
        self._append(silence)
        self._fading_in = falling[::-1]

    def append(self, samples: Samples) -> None:
        """What comes; it is kept as it is, so nobody changes it any more."""
        fading = min(len(self._fading_in), len(samples))
        if fading:
            samples = samples.copy()
            samples[:fading] *= self._fading_in[:fading]
            self._fading_in = self._fading_in[fading:]
        self._append(samples)

    def _append(self, samples: Samples) -> None:
        with self._lock:
            if len(samples) >= _BLOCK:
                self._filling = None
                self._blocks.append((self.length, samples))
            else:
                self._fill(samples)
            self.length += len(samples)

    def _fill(self, samples: Samples) -> None:
        place = self.length
        while len(samples):
            if self._filling is None or self._filled == _BLOCK:
                self._filling, self._filled = np.zeros(_BLOCK, np.float32), 0
                self._blocks.append((place, self._filling))
            count = min(len(samples), _BLOCK - self._filled)
            self._filling[self._filled : self._filled + count] = samples[:count]
            self._filled += count
            place += count
            samples = samples[count:]

    @property
    def kept(self) -> int:
        with self._lock:
            return sum(len(block) for _, block in self._blocks)

    def stretch(self, start: int, stop: int) -> Samples:
        found = np.zeros(max(0, stop - start), np.float32)
        with self._lock:
            for begin, block in self._blocks:
                low = max(start, begin)
                high = min(stop, begin + len(block), self.length)
                if low < high:
                    found[low - start : high - start] = block[low - begin : high - begin]
        return found

    def forget_before(self, place: int) -> None:
        with self._lock:
            while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) <= place:
                if self._blocks[0][1] is self._filling:
                    break
                self._blocks.popleft()
