"""From speech to one row of mouth shape per frame: how far, how wide, how round.

All of it looks at a bounded stretch of audio around each frame (4 s back, and ahead no further than
`timeline.model_samples_needed` allows), so a frame costs the same at any place of any utterance,
and its row does not depend on what else is asked, nor on whether more sound has come already.
"""

from fractions import Fraction

import numpy as np

from ...sound import Sound
from ...timeline import MODEL_RATE
from . import visemes
from .arrays import Doubles, Floats, Ints

OPEN, SPREAD, ROUNDED, TEETH = range(4)  # the columns of a row, each 0 to 1
COLUMNS = 4

_CELL = 80  # audio samples; energy is measured in cells of 5 ms
_CELLS_PER_S = MODEL_RATE // _CELL
_BLOCK = 20  # cells; loudness and noise are judged from blocks of 100 ms
_BACK, _AHEAD = 40, 1  # blocks; this far after the frame after the next, which tells stops
_FORGET_BACK_DB, _FORGET_AHEAD_DB = 0.3, 2.0  # per block: old and coming peaks count for less
_QUIETEST_DB = -50.0  # speech with softer peaks than this opens the mouth less
_LOUDEST_NOISE_DB = -34.0  # a steady sound above this is voice, below it is noise
_OVER_NOISE_DB = 7.0
_STEADY_DB = 6.0  # noise stays within this
_RANGE_DB = 26.0  # below the loudest: shut
_FADE = (0.45, 0.15)  # how far the mouth still is open one and two frames after a sound
_BUSY_FRAMES = 256  # frames worked on at a time, which bounds memory

_HANN = np.hanning(visemes.WINDOW)
# Its product with a cell, summed, is the root mean square of the line through the cell.
_RAMP = np.linspace(-1, 1, _CELL, dtype=np.float32)
_RAMP /= np.sqrt(np.square(_RAMP).sum() * _CELL)


def listen(sound: Sound, fps: Fraction, first: int, count: int) -> Floats:
    """Mouth rows of frames `first` … `first+count-1`: float32 `[count, COLUMNS]`, 0 to 1.

    Frame k stands for the time within half a frame of k/fps, so a sound opens the mouth on the
    frame that starts nearest to it. A shut mouth is a row of zeros.
    """
    rows = np.zeros((count, COLUMNS), np.float32)
    for start in range(0, count, _BUSY_FRAMES):
        some = min(_BUSY_FRAMES, count - start)
        rows[start : start + some] = _rows(sound, fps, first + start, some)
    return rows


def _rows(sound: Sound, fps: Fraction, first: int, count: int) -> Doubles:
    # Two frames before are still fading, and two after tell a stop from an ending.
    frames = np.arange(first - 2, first + count + 2)
    edges = _edges(fps, np.append(frames, frames[-1] + 1))
    start = (edges[0] // _BLOCK - _BACK) * _BLOCK
    end = (edges[-1] // _BLOCK + _AHEAD + 1) * _BLOCK
    energy = _cell_energy(sound, int(start), int(end))

    within = np.add.reduceat(energy[: edges[-1] - start], edges[:-1] - start)
    level = _decibel(within / np.diff(edges))
    loud, shut = _reference(energy, edges[:-1] // _BLOCK - start // _BLOCK, start, sound)
    loud = np.maximum(loud, level)
    shut = np.maximum(shut, loud - _RANGE_DB)
    voice = _fade(_voice(level, loud, shut))

    shape = visemes.shapes(_spectra(sound, _centres(energy, edges, int(start))))
    shape = _glide(shape, within)[2:-2]
    rows = np.empty((count, COLUMNS))
    rows[:, OPEN] = voice * (0.2 + 0.8 * shape[:, 0])
    presence = np.minimum(1, 6 * voice)[:, None]
    rows[:, SPREAD:] = shape[:, 1:] * presence
    rows[rows[:, OPEN] < 0.02] = 0
    return rows


def _edges(fps: Fraction, frames: Ints) -> Ints:
    """The cell where each frame begins to be meant: half a frame before k/fps, in integers."""
    up, down = fps.numerator, fps.denominator
    return ((2 * frames - 1) * _CELLS_PER_S * down + up) // (2 * up)


def _cell_energy(sound: Sound, start: int, end: int) -> Doubles:
    """Mean square of cells `start` … `end-1` about a line through each, which is free of DC and,
    as a cell is a quarter of a turn of 50 Hz, nearly so of hum."""
    cells = sound.listened(start * _CELL, end * _CELL).reshape(-1, _CELL)
    slope = (cells * _RAMP).sum(axis=1)
    return np.asarray(np.maximum(cells.var(axis=1) - slope * slope, 0), np.float64)


def _decibel(energy: Doubles) -> Doubles:
    level: Doubles = 10 * np.log10(energy + 1e-12)
    return level


def _reference(energy: Doubles, block: Ints, start: int, sound: Sound) -> tuple[Doubles, Doubles]:
    """How loud the voice is around each frame, and the level under which there is no voice.

    energy: of the cells from `start` on; block: where each frame lies, in blocks from `start`;
    what lies outside of the sound says nothing about its noise.
    """
    level = _decibel(energy.reshape(-1, _BLOCK).mean(axis=1))
    places = block[:, None] + np.arange(-_BACK, _AHEAD + 1)  # [frames, blocks around]
    places = np.clip(places, 0, level.size - 1)
    around = level[places]
    distance = np.arange(-_BACK, _AHEAD + 1)
    forget = np.where(distance < 0, -distance * _FORGET_BACK_DB, distance * _FORGET_AHEAD_DB)
    loud = np.maximum((around - forget).max(axis=1), _QUIETEST_DB)

    audio_blocks = start // _BLOCK + places
    inside = (audio_blocks >= 0) & ((audio_blocks + 1) * _BLOCK * _CELL <= sound.num_model)
    ordered = np.sort(np.where(inside, around, np.inf), axis=1)
    eighth = np.maximum(inside.sum(axis=1) - 1, 0) // 8
    noise = ordered[np.arange(len(block)), eighth]
    shut = np.minimum(noise, _LOUDEST_NOISE_DB) + _OVER_NOISE_DB
    # What rises and falls this much is a voice even where it never pauses.
    unsteady = np.clip(around.max(axis=1) - noise - _STEADY_DB, 0, _STEADY_DB)
    shut = np.minimum(shut, loud + 4 - 3 * unsteady)
    return loud, np.where(inside.any(axis=1), shut, -np.inf)


def _voice(level: Doubles, loud: Doubles, shut: Doubles) -> Doubles:
    """0 (shut) to 1 (as loud as this voice gets), along the amplitude."""
    amplitude = 10 ** ((level - loud) / 20)
    least = 10 ** (np.minimum(shut - loud, -1.0) / 20)
    voice = np.clip((amplitude - least) / (1 - least), 0, 1) ** 0.8
    return np.asarray(np.where(level > shut, voice, 0), np.float64)


def _fade(voice: Doubles) -> Doubles:
    """Let the mouth fall shut over two more frames; but between two sounds it closes at once.

    Takes two frames more at either end than it gives.
    """
    now, before = voice[2:-2], voice[1:-3]
    after = np.maximum(voice[3:-1], voice[4:])
    fading = np.maximum(before * _FADE[0], voice[:-4] * _FADE[1])
    stop = after > np.maximum(2.5 * now, 0.25)
    return np.where(stop, now, np.maximum(now, fading))


def _centres(energy: Doubles, edges: Ints, start: int) -> Ints:
    """Where each frame sounds most, in audio samples: its cells' centre of energy."""
    cell = np.arange(edges[0], edges[-1])
    weight = energy[edges[0] - start : edges[-1] - start] + 1e-12
    begins = edges[:-1] - edges[0]
    centre = np.add.reduceat(weight * (cell + 0.5), begins) / np.add.reduceat(weight, begins)
    return np.asarray(centre * _CELL, np.int64)


def _spectra(sound: Sound, centres: Ints) -> Doubles:
    """Power spectra of the windows around `centres`: `[n, WINDOW/2+1]`."""
    origin = int(centres[0]) - visemes.WINDOW
    span = sound.listened(origin, int(centres[-1]) + visemes.WINDOW)
    starts = centres - visemes.WINDOW // 2 - origin
    windows = span[starts[:, None] + np.arange(visemes.WINDOW)] * _HANN
    spectrum = np.fft.rfft(windows, axis=1)
    return spectrum.real**2 + spectrum.imag**2


def _glide(shape: Doubles, energy: Doubles) -> Doubles:
    """Shapes averaged with their neighbours', the louder counting for more: lips take time."""
    weight = np.sqrt(energy)[:, None] + 1e-9
    heavy = shape * weight
    total, norm = heavy.copy(), weight.copy()
    for near, far in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        total[near] += 0.5 * heavy[far]
        norm[near] += 0.5 * weight[far]
    return np.asarray(total / norm)
