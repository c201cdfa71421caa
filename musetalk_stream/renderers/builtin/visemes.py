"""Which mouth shape makes which sound: from a short-time spectrum to a blend of shapes.

Each sound is known by the spectrum that its formants imply (vowels: Peterson and Barney, 1952), so
that no table has been fitted to a particular voice.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...timeline import MODEL_RATE
from .arrays import Doubles

WINDOW = 512  # audio samples under one spectrum, 32 ms
_EDGES_HZ = (150, 400, 650, 950, 1300, 1800, 2400, 3200, 4500, 7800)
_FLOOR_DB = -32.0  # bands further below the strongest than this say nothing
# What lies high tells voices and microphones apart rather than vowels.
_WEIGHTS = np.sqrt([1.0, 1.4, 1.4, 1.4, 1.4, 1.2, 0.6, 0.3, 0.6])
_TOLERANCE_DB = 2.5  # how far a voice may lie from a sound's typical spectrum
_FREQUENCIES = np.fft.rfftfreq(WINDOW, 1 / MODEL_RATE)
_STARTS = np.searchsorted(_FREQUENCIES, _EDGES_HZ)


@dataclass(frozen=True, slots=True)
class Viseme:
    """A mouth shape and the sound that it belongs to; all parts are 0 to 1.

    jaw      how far the mouth opens at full voice
    spread   corners drawn apart
    rounded  lips drawn together to a ring
    teeth    how much the lips uncover the teeth
    """

    jaw: float
    spread: float
    rounded: float
    teeth: float
    formants_hz: tuple[float, ...] = ()
    noise_hz: tuple[float, float] = (0.0, 0.0)


VISEMES = {
    "ah": Viseme(1.00, 0.10, 0.00, 0.30, (730, 1090, 2440)),
    "uh": Viseme(0.75, 0.10, 0.05, 0.35, (640, 1190, 2390)),
    "ae": Viseme(0.90, 0.45, 0.00, 0.50, (660, 1720, 2410)),
    "eh": Viseme(0.70, 0.50, 0.00, 0.60, (530, 1840, 2480)),
    "ey": Viseme(0.48, 0.75, 0.00, 0.75, (420, 2080, 2600)),
    "ee": Viseme(0.32, 1.00, 0.00, 0.90, (280, 2290, 3010)),
    "er": Viseme(0.55, 0.00, 0.35, 0.40, (490, 1350, 1690)),
    "aw": Viseme(0.80, 0.00, 0.55, 0.10, (570, 840, 2410)),
    "oh": Viseme(0.58, 0.00, 0.85, 0.00, (440, 800, 2300)),
    "oo": Viseme(0.30, 0.00, 1.00, 0.00, (300, 870, 2240)),
    "ue": Viseme(0.30, 0.00, 0.90, 0.10, (300, 1500, 2200)),
    "mm": Viseme(0.00, 0.10, 0.10, 0.00, (250, 1120, 2150)),
    "ss": Viseme(0.20, 0.50, 0.00, 1.00, noise_hz=(4000, 7800)),
    "sh": Viseme(0.26, 0.00, 0.60, 1.00, noise_hz=(2000, 5200)),
    "ff": Viseme(0.16, 0.10, 0.00, 1.00, noise_hz=(700, 7800)),
}


def band_levels(power: Doubles) -> Doubles:
    """Weighted decibels per band, the strongest 0: `[n, 9]` for power `[n, WINDOW/2+1]`."""
    bands = [power[:, lo:hi].sum(axis=1) for lo, hi in pairwise(_STARTS)]
    level: Doubles = 10 * np.log10(np.stack(bands, axis=1) + 1e-12)
    level -= level.max(axis=1, keepdims=True)
    return np.asarray(np.maximum(level, _FLOOR_DB) * _WEIGHTS)


def _spectrum(viseme: Viseme, tract: float, brightness: float) -> Doubles:
    """The power spectrum that a sound should have, in a voice of this kind."""
    f = _FREQUENCIES
    if not viseme.formants_hz:
        low, high = viseme.noise_hz
        return np.where((f >= low) & (f <= high), 1.0, 1e-3)
    power = (1 + (f / 700) ** 2) ** brightness / (1 + (f / 150) ** 2)
    for number, formant in enumerate((*viseme.formants_hz, 3500.0, 4500.0)):
        centre, width = formant * tract, 70.0 + 40.0 * number
        peak = centre**2 / np.hypot(f**2 - centre**2, width * f)
        power = power * np.where(f < 5000 * tract, peak**2, 0)
    power[f < 90] = 0
    return power


_TRACTS = (1.0, 1.17)  # how much higher formants lie than a man's: a man, a woman
_BRIGHTNESS = (0.1, 0.9)  # soft and sharp voices, or microphones
_VOICES = [(tract, brightness) for tract in _TRACTS for brightness in _BRIGHTNESS]
_TYPICAL = np.concatenate(
    [
        band_levels(np.stack([_spectrum(viseme, *voice) for viseme in VISEMES.values()]))
        for voice in _VOICES
    ]
)  # [voices * sounds, bands]
_SHAPES = np.array([[v.jaw, v.spread, v.rounded, v.teeth] for v in VISEMES.values()] * len(_VOICES))


def shapes(power: Doubles) -> Doubles:
    """jaw, spread, rounded, teeth per power spectrum `[n, WINDOW/2+1]`: float64 `[n, 4]`.

    The answer is a blend of all sounds by likeness, so it glides as the spectrum does. Rows do not
    depend on each other, to the last bit: everything is summed row by row.
    """
    away = ((band_levels(power)[:, None, :] - _TYPICAL) ** 2).mean(axis=2)
    away -= away.min(axis=1, keepdims=True)
    weight = np.exp(-away / (2 * _TOLERANCE_DB**2))
    blend: Doubles = (weight[:, :, None] * _SHAPES).sum(axis=1) / weight.sum(axis=1, keepdims=True)
    return blend
