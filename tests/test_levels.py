"""How loud each frame is, whole or streamed."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from fakes import as_sound, buzz, silence, tone

from musetalk_stream.levels import levels
from musetalk_stream.sound import Sound

FPS = Fraction(25)


def test_known_levels() -> None:
    # The RMS of a sine lies 3.01 dB below its amplitude.
    sounds = [tone(0.4, level=level) for level in (1.0, 0.5, 0.01)]
    square = np.ones(round(0.4 * 48_000), np.float32)
    sound = as_sound(np.concatenate([*sounds, silence(0.4), square, 2 * square]))
    assert levels(sound, range(60), FPS) == (
        [-3] * 10 + [-9] * 10 + [-43] * 10 + [-90] * 10 + [0] * 20
    )


def test_past_the_end_is_silence() -> None:
    assert levels(as_sound(tone(0.02)), range(3), FPS) == [-6 - 6, -90, -90]


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30_000, 1001), Fraction(60), Fraction(7)])
def test_by_chunks_as_at_once(fps: Fraction) -> None:
    sound = as_sound(buzz(3.0))
    count = int(3 * fps)
    whole = levels(sound, range(count), fps)
    borders = [0, 1, 8, 9, count // 2, count]
    parts = [levels(sound, range(a, b), fps) for a, b in itertools.pairwise(borders) if a < b]
    assert [level for part in parts for level in part] == whole


def test_streamed_sound_is_as_loud_as_whole() -> None:
    samples = buzz(2.0)
    arriving = Sound(is_live=True)
    heard = []
    for start in range(0, len(samples), 1920 * 5):
        piece = samples[start : start + 1920 * 5]
        arriving.add(piece, piece[::3].copy())
        first = start // 1920
        heard += levels(arriving, range(first, first + len(piece) // 1920), FPS)
        arriving.forget_before(first / 25)
    assert heard == levels(as_sound(samples), range(50), FPS)
