"""The generated mouth is there in speech, gone in silence, and never comes or goes at once."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from fakes import silence, speech_like, tone

from musetalk_stream.renderers.builtin.hearing import OPEN, listen
from musetalk_stream.renderers.musetalk.presence import presence
from musetalk_stream.timeline import MODEL_RATE

Floats = npt.NDArray[np.float32]

FPS = Fraction(25)
RATES = [Fraction(5), Fraction(25, 2), Fraction(25), Fraction(30000, 1001), Fraction(60)]


def voice(seconds: float) -> Floats:
    """A steady voice, as far as loudness goes."""
    return tone(seconds, 220.0, MODEL_RATE)


def quiet(seconds: float) -> Floats:
    return silence(seconds, MODEL_RATE)


def joined(*parts: Floats) -> Floats:
    return np.concatenate(parts)


def shown(samples: Floats, fps: Fraction = FPS) -> Floats:
    return presence(samples, fps, 0, int(samples.size * fps / MODEL_RATE) + 1)


def mouth_open(samples: Floats, fps: Fraction = FPS) -> npt.NDArray[np.bool_]:
    count = int(samples.size * fps / MODEL_RATE) + 1
    return listen(samples, fps, 0, count)[:, OPEN] > 0


def test_silence_shows_the_source_frame() -> None:
    assert not shown(quiet(2)).any()
    assert not presence(quiet(0), FPS, 0, 10).any()
    hiss = 0.002 * np.random.default_rng(0).standard_normal(2 * MODEL_RATE)
    assert not shown(hiss.astype(np.float32)).any()


def test_speech_shows_the_generated_mouth_and_fades_at_its_edges() -> None:
    samples = joined(quiet(1), voice(1), quiet(1))
    level = shown(samples)
    voiced = np.flatnonzero(mouth_open(samples))
    begin, end = voiced[0], voiced[-1]
    assert (level[begin : end + 1] == 1).all()
    assert level[begin - 4 : begin].tolist() == [0, 0.25, 0.5, 0.75]
    assert level[end + 1 : end + 5].tolist() == [0.75, 0.5, 0.25, 0]
    assert not level[: begin - 3].any()
    assert not level[end + 4 :].any()


def test_the_mouth_is_there_when_the_sound_begins() -> None:
    level = shown(joined(quiet(1), voice(1)))
    assert level[25] == 1
    assert level[21] == 0


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_short_gaps_are_speech_and_long_ones_are_silence(fps: Fraction) -> None:
    """Gaps as the eye has them: the mouth is shut for so long."""
    for seconds in (0.1, 0.2, 0.3, 0.6, 1.0, 2.0):
        samples = joined(quiet(1), voice(1.5), quiet(seconds), voice(1.5), quiet(1))
        voiced = np.flatnonzero(mouth_open(samples, fps))
        level = shown(samples, fps)[voiced[0] : voiced[-1] + 1]
        gap = int(np.diff(voiced).max()) - 1
        assert (level.min() < 1) == (gap / fps >= 0.25), f"a gap of {gap} frames"
        if seconds == 2.0:
            assert level.min() == 0


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_it_never_jumps_further_than_a_step_of_its_fade(fps: Fraction) -> None:
    """From the placeholder before to the placeholder after."""
    step = 0.5 if fps == 5 else 1 / 3 if fps == Fraction(25, 2) else 0.25
    for samples in (speech_like(6, MODEL_RATE), voice(2), joined(voice(1), quiet(1), voice(1))):
        frames = -(-samples.size * fps // MODEL_RATE)
        level = presence(samples, fps, -3, frames + 6)
        assert level.max() == 1
        assert np.abs(np.diff(level)).max() <= step + 1e-6
        assert not level[:3].any()
        assert not level[-3:].any()


def test_a_voice_from_the_first_sample_to_the_last_fades_in_and_out() -> None:
    level = presence(voice(1), FPS, 0, 25)
    assert level[:4].tolist() == [0.25, 0.5, 0.75, 1]
    assert level[-4:].tolist() == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_a_voice_is_always_seen(fps: Fraction) -> None:
    samples = speech_like(8, MODEL_RATE)
    level = shown(samples, fps)
    inside = slice(3, -4)
    assert (level[inside][mouth_open(samples, fps)[inside]] == 1).all()
    assert (level == 0).any()


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_piecewise_is_whole(fps: Fraction) -> None:
    gaps = [quiet(hundredths / 100) for hundredths in range(12, 50, 2)]
    words = [part for gap in gaps for part in (voice(0.3), gap)]
    samples = joined(speech_like(2, MODEL_RATE), quiet(1), *words)
    whole = shown(samples, fps)
    for size in (1, 3, 8):
        pieces = [
            presence(samples, fps, first, min(size, len(whole) - first))
            for first in range(0, len(whole), size)
        ]
        assert np.array_equal(np.concatenate(pieces), whole)


def test_it_is_what_the_renderer_needs() -> None:
    level = shown(speech_like(3, MODEL_RATE))
    assert level.dtype == np.float32
    assert level.shape == (76,)
    assert level.min() == 0
    assert level.max() == 1
    assert presence(voice(1), FPS, 0, 0).shape == (0,)
    assert not presence(voice(1), FPS, 100, 8).any()
