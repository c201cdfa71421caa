"""Decoded speech."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EAR_RATE = 48_000  # audio samples per second of what is heard
MODEL_RATE = 16_000  # audio samples per second of what a renderer listens to


@dataclass(frozen=True, slots=True, eq=False)
class Pcm:
    """Mono speech, full scale ±1, at both rates; sample 0 of each is the same instant.

    ear    float32 `[n]` at 48 kHz
    model  float32 `[ceil(n/3)]` at 16 kHz
    """

    ear: npt.NDArray[np.float32]
    model: npt.NDArray[np.float32]
