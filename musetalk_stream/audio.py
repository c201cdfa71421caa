"""Sound files, whole: from whatever container to mono at the two rates that we use."""

from collections.abc import Generator
from contextlib import closing
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np

from .errors import AudioTooLong, EmptyAudio
from .listening import decoded
from .mp3 import counted_frames
from .onset import LeadingSilence
from .sound import Samples, Sound
from .timeline import EAR_RATE, MODEL_RATE

_FIRST_CAPACITY = 1 << 18  # audio samples; 1 MB, which malloc gives back when it is freed


Pieces: TypeAlias = Generator[tuple[Samples, Samples], None, None]


class PiecesOf(Protocol):
    def __call__(self, file: BinaryIO, /, *, max_duration_s: float) -> Pieces:
        """The sound of a file, piece by piece: ear, model. Raises what `decode` raises."""
        ...


def decoded_here(file: BinaryIO, *, max_duration_s: float) -> Pieces:
    """In this process."""
    return decoded(file, max_duration_s=max_duration_s, mp3_frames=counted_frames(file))


def decode(
    file: BinaryIO,
    *,
    max_duration_s: float,
    trailing_silence_s: float = 0,
    trim_leading_silence: bool = False,
    pieces_of: PiecesOf = decoded_here,
) -> Sound:
    """Decode the first audio track of a file (in memory or on disk, at its beginning).

    pieces_of  what decodes it: here, or, if nobody knows where it comes from, in another process

    Raises UnsupportedAudio (not audio, or not a plain audio container), DamagedAudio (cut off or
    corrupt), EmptyAudio (no samples), AudioTooLong.
    """
    collected = _Collected(LeadingSilence() if trim_leading_silence else None)
    with closing(pieces_of(file, max_duration_s=max_duration_s)) as pieces:
        for ear, model in pieces:
            collected.add(ear, model)
            if collected.received > max_duration_s * EAR_RATE:
                raise AudioTooLong(f"the audio is longer than the limit of {max_duration_s:g} s")
    if not collected.received:
        raise EmptyAudio("the file holds no sound: 0 samples")
    return collected.sound(round(trailing_silence_s * EAR_RATE))


class _Collected:
    """received  audio samples at 48 kHz, with those that are left out"""

    def __init__(self, leading: LeadingSilence | None) -> None:
        self._leading = leading
        self._ear, self._model = _Growing(), _Growing()
        self.received = 0

    def add(self, ear: Samples, model: Samples) -> None:
        self.received += len(ear)
        if self._leading:
            ear, model = self._leading.feed(ear, model)
        self._ear.append(ear)
        self._model.append(model)

    def sound(self, silence: int) -> Sound:
        """With so much silence at its end (48 kHz samples)."""
        if self._leading:
            ear, model = self._leading.finish()
            self._ear.append(ear)
            self._model.append(model)
        num_ear = self._ear.length + silence
        num_model = -(-num_ear * MODEL_RATE // EAR_RATE)
        return Sound.whole(self._ear.resized(num_ear), self._model.resized(num_model))


class _Growing:
    """One array that doubles: thousands of small ones would tear holes into the heap that no later
    upload fills."""

    def __init__(self) -> None:
        self._samples: Samples = np.empty(_FIRST_CAPACITY, np.float32)
        self.length = 0

    def append(self, samples: Samples) -> None:
        end = self.length + len(samples)
        if end > len(self._samples):
            grown = np.empty(max(end, 2 * len(self._samples)), np.float32)
            grown[: self.length] = self._samples[: self.length]
            self._samples = grown
        self._samples[self.length : end] = samples
        self.length = end

    def resized(self, length: int) -> Samples:
        """A copy of exactly that length, so that nothing larger is kept alive by it."""
        resized = np.zeros(length, np.float32)
        kept = min(length, self.length)
        resized[:kept] = self._samples[:kept]
        return resized
