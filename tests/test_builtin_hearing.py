"""The built-in renderer hears: openness follows the voice, shapes follow the sounds."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from fakes import any_sizes, arriving, model_sound

from musetalk_stream.renderers.builtin import BuiltinRenderer
from musetalk_stream.sound import Sound
from musetalk_stream.timeline import frames_ready, model_samples_needed

Floats = npt.NDArray[np.float32]

RATE = 16_000
AH, EE, OO = (730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240)
EH, OH = (530, 1840, 2480), (450, 800, 2400)

RATES = [Fraction(5), Fraction(15), Fraction(25), Fraction(30000, 1001), Fraction(60)]
FPS = Fraction(25)
OPEN, SPREAD, ROUNDED, TEETH = range(4)


def vowel(formants: tuple[float, ...], seconds: float = 0.6, pitch: float = 110) -> Floats:
    """A voice with these formants, peak 0.5, faded in and out over 20 ms."""
    time = np.arange(int(seconds * RATE)) / RATE
    sound = np.zeros(time.size)
    for harmonic in np.arange(pitch, 7000, pitch):
        level = (pitch / harmonic) ** 1.0
        for number, formant in enumerate((*formants, 3500.0)):
            width = 70.0 + 30 * number
            level *= formant**2 / np.hypot(formant**2 - harmonic**2, width * harmonic)
        sound += level * np.sin(2 * np.pi * harmonic * time)
    return _faded(sound)


def hiss(low: float, high: float, seconds: float = 0.6, peak: float = 0.15) -> Floats:
    """Noise between two frequencies."""
    noise = np.random.default_rng(1).standard_normal(int(seconds * RATE))
    spectrum = np.fft.rfft(noise)
    frequency = np.fft.rfftfreq(noise.size, 1 / RATE)
    spectrum[(frequency < low) | (frequency > high)] = 0
    return _faded(np.fft.irfft(spectrum, noise.size)) * np.float32(peak / 0.5)


def _faded(sound: npt.NDArray[np.float64]) -> Floats:
    edge = int(0.02 * RATE)
    ramp = np.minimum(1, np.arange(sound.size) / edge)
    return np.asarray(0.5 * sound / np.abs(sound).max() * ramp * ramp[::-1], np.float32)


def speech(seconds: float = 6.0, seed: int = 3) -> Floats:
    """Syllables of differing loudness and vowel, with stops and pauses: speech's own rhythm."""
    rng = np.random.default_rng(seed)
    # An "ah" is louder than an "ee" or an "oo", which let less sound out.
    vowels = [(AH, 1.0), (EE, 0.6), (OO, 0.6), (EH, 0.85)]
    parts: list[Floats] = [np.zeros(3200, np.float32)]
    while sum(part.size for part in parts) < seconds * RATE:
        formants, strength = vowels[int(rng.integers(len(vowels)))]
        length, level = float(rng.uniform(0.12, 0.3)), strength * float(rng.uniform(0.25, 1))
        parts.append(vowel(formants, length, float(rng.uniform(100, 140))) * np.float32(level))
        pause = 0.35 if rng.random() < 0.15 else float(rng.uniform(0.03, 0.1))
        parts.append(np.zeros(int(pause * RATE), np.float32))
    return np.concatenate(parts)[: int(seconds * RATE)]


def envelope(samples: Floats, fps: Fraction, count: int) -> npt.NDArray[np.float64]:
    """RMS around the start of each frame."""
    edges = [max(0, round((k - 0.5) / fps * RATE)) for k in range(count + 1)]
    return np.array(
        [
            np.sqrt(np.mean(samples[a:b] ** 2)) if b > a and a < samples.size else 0.0
            for a, b in pairwise(edges)
        ]
    )


def rows(samples: Floats, fps: Fraction = FPS, first: int = 0, count: int | None = None) -> Floats:
    if count is None:
        count = int(samples.size * fps / RATE) + 1
    return BuiltinRenderer().audio_windows(model_sound(samples), fps, first, count)


def correlation(opening: Floats, loudness: Floats, lag: int) -> float:
    """Of the mouth with the voice `lag` frames earlier."""
    end = len(opening)
    mouth = opening[max(lag, 0) : end + min(lag, 0)]
    voice = loudness[max(-lag, 0) : end + min(-lag, 0)]
    return float(np.corrcoef(mouth, voice)[0, 1])


@pytest.mark.parametrize("fps", RATES[1:], ids=str)
@pytest.mark.parametrize("seed", [3, 4])
def test_openness_follows_the_envelope_without_lag(fps: Fraction, seed: int) -> None:
    # It ends in silence: a voice that is cut off fades, whatever its envelope.
    samples = np.append(speech(8, seed), np.zeros(RATE // 2, np.float32))
    opening = rows(samples, fps)[:, OPEN]
    loudness = envelope(samples, fps, len(opening)).astype(np.float32)
    by_lag = {lag: correlation(opening, loudness, lag) for lag in range(-3, 4)}
    assert by_lag[0] >= 0.7
    assert max(by_lag, key=by_lag.__getitem__) in (0, 1)


def test_a_click_opens_the_mouth_on_the_nearest_frame() -> None:
    samples = np.zeros(10 * RATE, np.float32)
    times = np.arange(0.25, 9.5, 0.317)
    for time in times:
        at = int(time * RATE)
        samples[at : at + 80] = 0.6 * np.sin(np.arange(80))
    opening = rows(samples)[:, OPEN]
    onsets = np.flatnonzero((opening[1:] > 0) & (opening[:-1] == 0)) + 1
    assert len(onsets) == len(times)
    assert np.abs(onsets / 25 - times).max() <= 0.0201


def test_a_click_of_one_sample_is_seen() -> None:
    samples = np.zeros(RATE, np.float32)
    samples[8000] = 1.0
    opening = rows(samples)[:, OPEN]
    assert opening[12] == 0
    assert opening[13] > 0.1  # at 0.5 s, half way between frames 12 and 13


def test_silence_is_exactly_shut() -> None:
    assert not rows(np.zeros(2 * RATE, np.float32)).any()
    assert not rows(np.zeros(0, np.float32), count=10).any()
    assert not rows(vowel(AH), first=100, count=8).any()


def test_the_mouth_shuts_within_four_frames_after_a_sound() -> None:
    samples = np.concatenate([vowel(AH, 1.0), np.zeros(RATE, np.float32)])
    opening = rows(samples)[:, OPEN]
    fall = opening[25:]
    assert opening[22] > 0.5
    assert fall[0] > 0
    assert (np.diff(fall) <= 0).all()
    assert not fall[4:].any()


@pytest.mark.parametrize("noise", ["hiss", "hum", "offset"])
def test_noise_between_words_does_not_move_the_mouth(noise: str) -> None:
    samples = speech(6)
    time = np.arange(samples.size) / RATE
    added = {
        "hiss": 0.002 * np.random.default_rng(0).standard_normal(samples.size),
        "hum": 0.05 * np.sin(2 * np.pi * 50 * time),
        "offset": np.full(samples.size, 0.2),
    }[noise]
    quiet = envelope(samples, FPS, 6 * 25) == 0
    quiet[2:] &= quiet[:-2] & quiet[1:-1]  # and the fade before is over
    opening = rows(np.asarray(samples + added, np.float32))[: quiet.size, OPEN]
    assert quiet.sum() > 10
    assert not opening[quiet].any()


def test_hiss_alone_is_silence() -> None:
    hissing = 0.002 * np.random.default_rng(0).standard_normal(3 * RATE)
    assert not rows(hissing.astype(np.float32)).any()


def test_the_mouth_closes_on_a_stop_between_vowels() -> None:
    ah, closure = vowel(AH, 0.4), np.zeros(int(0.1 * RATE), np.float32)
    opening = rows(np.concatenate([ah, closure, ah]))[:, OPEN]
    assert opening[9:14].min() == 0
    assert opening[5] > 0.5
    assert opening[17] > 0.5


@pytest.mark.parametrize("decibel", [-30, -12, 5])
def test_the_level_of_the_recording_hardly_matters(decibel: float) -> None:
    samples = speech(5)
    gain = np.float32(10 ** (decibel / 20))
    difference = np.abs(rows(samples)[:, OPEN] - rows(samples * gain)[:, OPEN])
    assert difference.mean() < 0.05
    assert difference.max() < 0.2


SOUNDS = {
    "ah": vowel(AH),
    "ee": vowel(EE),
    "oo": vowel(OO),
    "oh": vowel(OH),
    "eh": vowel(EH),
    "ss": hiss(4200, 7600),
    "sh": hiss(2200, 5000),
}


def middle(sound: Floats) -> Floats:
    """The row of a sound in running speech, where something louder was before it."""
    lead = np.concatenate([vowel((640, 1190, 2390), 0.4), np.zeros(1600, np.float32), sound])
    row: Floats = rows(lead)[19]
    return row


def test_shapes_are_those_of_the_sounds() -> None:
    shape = {name: middle(sound) for name, sound in SOUNDS.items()}
    assert shape["ah"][OPEN] == max(row[OPEN] for row in shape.values())
    assert shape["ee"][SPREAD] > 0.6 > 0.3 > shape["ah"][SPREAD]
    assert shape["oo"][ROUNDED] > 0.6
    assert shape["oh"][ROUNDED] > 0.4
    assert shape["ee"][ROUNDED] < 0.2
    assert shape["oo"][OPEN] < 0.6 * shape["ah"][OPEN]
    assert shape["ss"][OPEN] < 0.25
    assert shape["ss"][TEETH] > 0.8
    assert shape["oo"][TEETH] < 0.2


def test_at_least_six_shapes_are_clearly_different() -> None:
    shape = [middle(sound) for sound in SOUNDS.values()] + [np.zeros(4, np.float32)]
    apart = [np.abs(a - b).max() for n, a in enumerate(shape) for b in shape[:n]]
    assert len(shape) >= 6
    assert min(apart) > 0.15


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_piecewise_is_whole(fps: Fraction) -> None:
    samples = speech(5)
    whole = rows(samples, fps)
    for size in (1, 3, 8):
        pieces = [
            rows(samples, fps, first, min(size, len(whole) - first))
            for first in range(0, len(whole), size)
        ]
        assert np.array_equal(np.concatenate(pieces), whole)


def test_pieces_larger_than_a_working_block_are_whole() -> None:
    samples = speech(6)
    fps = Fraction(60)
    whole = rows(samples, fps)
    assert len(whole) > 300
    assert np.array_equal(whole[250:270], rows(samples, fps, 250, 20))


def test_rows_are_what_the_renderer_promises() -> None:
    found = rows(speech(3))
    assert found.dtype == np.float32
    assert found.shape == (76, 4)
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found[found[:, OPEN] == 0].any()


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_rows_of_growing_sound_are_those_of_the_whole(fps: Fraction) -> None:
    """Each as soon as it can be made, to the last bit."""
    samples = speech(4)
    whole = rows(samples, fps)
    for seed in range(3):
        renderer, pieces, done = BuiltinRenderer(), [], 0
        for sound in arriving(samples, any_sizes(seed)):
            ready = len(whole) if sound.has_ended else frames_ready(sound.num_ear, fps)
            if ready > done:
                pieces.append(renderer.audio_windows(sound, fps, done, ready - done))
                done = ready
        assert len(pieces) > 2
        assert np.array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_a_later_sound_changes_nothing_beyond_the_look_ahead(fps: Fraction) -> None:
    samples = speech(5)
    for ready in (8, 16, 24):
        changed = samples.copy()
        changed[model_samples_needed(ready, fps) :] *= -0.1
        assert np.array_equal(rows(samples, fps)[:ready], rows(changed, fps)[:ready])


def test_what_has_been_spoken_may_be_forgotten() -> None:
    samples = np.concatenate([speech(7, seed) for seed in range(8)])
    whole = rows(samples)
    renderer, sound, done = BuiltinRenderer(), Sound(is_live=True), 0
    for second in samples.reshape(-1, RATE):
        sound.add(np.zeros(3 * RATE, np.float32), second)
        ready = frames_ready(sound.num_ear, FPS)
        found = renderer.audio_windows(sound, FPS, done, ready - done)
        assert np.array_equal(found, whole[done:ready])
        done = ready
        sound.forget_before(sound.duration_s - 10)


@pytest.mark.parametrize("noise", ["hiss", "hum"])
def test_loud_noise_alone_does_not_move_the_mouth(noise: str) -> None:
    time = np.arange(5 * RATE) / RATE
    steady = {
        "hiss": 0.1 * np.random.default_rng(0).standard_normal(time.size),
        "hum": 0.2 * np.sin(2 * np.pi * 50 * time) + 0.1 * np.sin(2 * np.pi * 150 * time),
    }[noise]
    opening = rows(steady.astype(np.float32))[:, OPEN]
    assert not opening[35:].any()  # what it is shows after a second
