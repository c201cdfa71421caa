"""How loud is the sound under each frame?"""

from fractions import Fraction

import numpy as np

from .sound import Sound
from .timeline import EAR_RATE

FLOOR_DB = -90  # what is quieter is silence: 16-bit samples end here


def levels(sound: Sound, frames: range, fps: Fraction) -> list[int]:
    """Of each of these frames the RMS of its sound at 48 kHz, in dB of full scale, -90 … 0."""
    borders = [frame * EAR_RATE // fps for frame in range(frames.start, frames.stop + 1)]
    heard = sound.heard(borders[0], borders[-1]).astype(np.float64)
    starts = np.array(borders[:-1]) - borders[0]
    counts = np.diff(borders)
    power = np.add.reduceat(heard * heard, starts) / counts
    decibels = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return [int(level) for level in np.clip(np.round(decibels), FLOOR_DB, 0)]
