"""The moving mouth is there in speech, gone in silence and noise, and never comes or goes at once;
what is not known yet changes nothing."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from fakes import any_sizes, arriving, buzz, model_sound, silence, speech_like

from musetalk_stream.renderers.presence import Presence
from musetalk_stream.sound import Sound
from musetalk_stream.timeline import MODEL_RATE, frames_ready, model_samples_needed

Floats = npt.NDArray[np.float32]

FPS = Fraction(25)
RATES = [Fraction(5), Fraction(25, 2), Fraction(25), Fraction(30000, 1001), Fraction(60)]


def voice(seconds: float) -> Floats:
    return buzz(seconds, MODEL_RATE)


def quiet(seconds: float) -> Floats:
    return silence(seconds, MODEL_RATE)


def hiss(seconds: float, decibel: float) -> Floats:
    """White noise, so loud (RMS, of full scale)."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * MODEL_RATE))
    return np.asarray(10 ** (decibel / 20) * noise, np.float32)


def hum(seconds: float) -> Floats:
    instants = np.arange(round(seconds * MODEL_RATE)) / MODEL_RATE
    loud = 0.1 * np.sin(2 * np.pi * 50 * instants) + 0.05 * np.sin(2 * np.pi * 150 * instants)
    return np.asarray(loud, np.float32)


def joined(*parts: Floats) -> Floats:
    return np.concatenate(parts)


def words() -> Floats:
    """Speech, and voices with gaps of 0.12 to 0.5 s."""
    gaps = [quiet(hundredths / 100) for hundredths in range(12, 50, 4)]
    parts = [part for gap in gaps for part in (voice(0.3), gap)]
    return joined(speech_like(2, MODEL_RATE), quiet(1), hiss(0.5, -35), *parts)


def shown(samples: Floats, fps: Fraction = FPS) -> Floats:
    count = int(samples.size * fps / MODEL_RATE) + 1
    return Presence().levels(model_sound(samples), fps, 0, count)


def between(level: Floats, start_s: float, stop_s: float) -> Floats:
    """At 25 fps, the frames that are meant for this time, all of it."""
    return level[int(start_s * 25) + 1 : int(stop_s * 25)]


# --- speech and silence


def test_silence_shows_the_source_frame() -> None:
    assert not shown(quiet(2)).any()
    assert not shown(hiss(2, -66)).any()
    assert not Presence().levels(model_sound(quiet(0)), FPS, 0, 10).any()


@pytest.mark.parametrize("decibel", [-54, -45, -40])
def test_noise_shows_the_source_frame(decibel: float) -> None:
    assert not shown(hiss(5, decibel)).any()


def test_crackles_in_louder_noise_are_rarely_taken_for_voice() -> None:
    level = shown(hiss(5, -32))
    assert not between(level, 0, 0.6).any()
    assert not between(level, 1.4, 5).any()


@pytest.mark.parametrize("noise", [hiss(6, -15), hum(6)], ids=["hiss", "hum"])
def test_loud_noise_is_known_by_its_steadiness(noise: Floats) -> None:
    """The detector itself takes it for voice."""
    assert not between(shown(noise), 1.4, 6).any()
    after = shown(joined(noise, quiet(0.1), voice(1.0)))
    assert (between(after, 6.1, 6.9) == 1).all()


def test_a_voice_in_noise_is_seen_and_the_noise_is_not() -> None:
    samples = joined(quiet(3), voice(1), quiet(3)) + hiss(7, -40)
    level = shown(np.asarray(samples, np.float32))
    assert (between(level, 3.1, 3.9) == 1).all()
    assert not between(level, 0.2, 2.7).any()
    assert not between(level, 4.5, 7).any()


@pytest.mark.parametrize("decibel", [0, -12, -24])
def test_the_mouth_is_there_when_the_sound_begins(decibel: float) -> None:
    level = shown(joined(quiet(1), voice(1) * np.float32(10 ** (decibel / 20))))
    assert level[25] == 1
    assert level[20] == 0


def test_a_click_is_seen() -> None:
    samples = quiet(2)
    samples[MODEL_RATE : MODEL_RATE + 80] = 0.6 * np.sin(np.arange(80))
    level = shown(samples)
    assert level[25] == 1
    assert not level[:20].any()
    assert not level[32:].any()


@pytest.mark.parametrize("decibel", [-30, -45])
def test_a_whisper_is_seen(decibel: float) -> None:
    """Syllables of noise, which the detector alone does not take for voice."""
    instants = np.arange(2 * MODEL_RATE) / MODEL_RATE
    syllables = np.clip(np.sin(2 * np.pi * 4 * instants), 0, 1)
    whisper = joined(quiet(1), np.asarray(syllables * hiss(2, decibel), np.float32), quiet(1))
    level = shown(whisper)
    assert (between(level, 1.1, 2.8) == 1).all()
    assert not between(level, 3.4, 4).any()


def test_speech_fades_at_its_edges() -> None:
    level = shown(joined(quiet(1), voice(1), quiet(1)))
    full = np.flatnonzero(level == 1)
    begin, end = full[0], full[-1]
    assert 23 <= begin <= 25
    assert 50 <= end <= 52  # held for a moment
    assert (level[begin : end + 1] == 1).all()
    assert level[begin - 3 : begin] == pytest.approx([0, 1 / 3, 2 / 3])
    assert level[end + 1 : end + 4] == pytest.approx([2 / 3, 1 / 3, 0])
    assert not level[: begin - 2].any()
    assert not level[end + 3 :].any()


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(25, 2), Fraction(15), FPS], ids=str)
def test_half_of_it_silence_is_at_most_three_fifths_for_the_model(fps: Fraction) -> None:
    """Where it pauses for 2 s."""
    level = shown(joined(*[speech_like(2, MODEL_RATE), quiet(2)] * 4), fps)
    assert np.count_nonzero(level) <= 0.6 * level.size


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_short_gaps_are_speech_and_long_ones_are_silence(fps: Fraction) -> None:
    for seconds in (0.05, 0.1, 0.15, 0.2, 0.6, 1.0, 2.0):
        level = shown(joined(quiet(1), voice(1.5), quiet(seconds), voice(1.5), quiet(1)), fps)
        gap = level[int(2.3 * fps) : int((2.7 + seconds) * fps)]
        assert (gap.min() < 1) == (seconds > 0.25), f"a gap of {seconds} s"
        if seconds == 2.0:
            assert gap.min() == 0


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_it_never_jumps_further_than_a_step_of_its_fade(fps: Fraction) -> None:
    """From the placeholder before to the placeholder after."""
    step = 0.5 if fps < 16 else 1 / 3
    for samples in (speech_like(6, MODEL_RATE), voice(2), joined(voice(1), quiet(1), voice(1))):
        frames = -(-samples.size * fps // MODEL_RATE)
        level = Presence().levels(model_sound(samples), fps, -3, frames + 6)
        assert level.max() == 1
        assert np.abs(np.diff(level)).max() <= step + 1e-6
        assert not level[:3].any()
        assert not level[-3:].any()


def test_a_voice_from_the_first_sample_to_the_last_fades_in_and_out() -> None:
    level = Presence().levels(model_sound(voice(1)), FPS, 0, 25)
    assert level[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert level[-3:] == pytest.approx([1, 2 / 3, 1 / 3])


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_a_voice_is_always_seen(fps: Fraction) -> None:
    samples = joined(quiet(0.5), speech_like(8, MODEL_RATE))
    level = shown(samples, fps)
    loudness = np.array(
        [
            np.abs(samples[max(0, int((k - 0.5) / fps * MODEL_RATE)) :][: MODEL_RATE // 30]).max()
            for k in range(level.size - 4)
        ]
    )
    assert (level[: loudness.size][loudness > 0.05] == 1).all()
    assert (level == 0).any()


# --- as it arrives


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_what_is_not_there_yet_changes_nothing(fps: Fraction) -> None:
    """Frames of growing sound, each as soon as it can be made, are those of the whole sound."""
    samples = words()
    whole = shown(samples, fps)
    for seed in range(3):
        presence, levels = Presence(), np.zeros(0, np.float32)
        for sound in arriving(samples, any_sizes(seed)):
            ready = whole.size if sound.has_ended else frames_ready(sound.num_ear, fps)
            if ready > levels.size:
                more = presence.levels(sound, fps, levels.size, ready - levels.size)
                levels = np.append(levels, more)
        assert np.array_equal(levels, whole)


def test_what_has_been_spoken_may_be_forgotten() -> None:
    samples = joined(*[speech_like(6, MODEL_RATE)] * 10)
    whole = shown(samples)
    sound, presence, levels = Sound(is_live=True), Presence(), np.zeros(0, np.float32)
    for place in range(0, samples.size, MODEL_RATE):
        sound.add(np.zeros(3 * MODEL_RATE, np.float32), samples[place : place + MODEL_RATE])
        ready = frames_ready(sound.num_ear, FPS)
        more = presence.levels(sound, FPS, levels.size, ready - levels.size)
        levels = np.append(levels, more)
        sound.forget_before(sound.duration_s - 5)
    assert np.array_equal(levels, whole[: levels.size])


def test_it_looks_no_further_ahead_than_it_may() -> None:
    """Once frames are ready, whatever comes next leaves them as they are, be it a shout."""
    ready = 8
    for fps in (Fraction(n, 4) for n in range(20, 241)):
        samples = joined(quiet(0.3), voice(8 / 5 + 1))[: model_samples_needed(ready, fps)]
        calm = Presence().levels(model_sound(joined(samples, quiet(2))), fps, 0, ready)
        shout = Presence().levels(model_sound(joined(samples, voice(2) * 3)), fps, 0, ready)
        silent = Presence().levels(model_sound(joined(quiet(5))), fps, 0, ready)
        begun = joined(quiet(samples.size / MODEL_RATE), voice(2))
        begun = Presence().levels(model_sound(begun), fps, 0, ready)
        assert np.array_equal(calm, shout), f"at {fps} fps"
        assert np.array_equal(silent, begun), f"at {fps} fps"


def test_frames_that_can_not_be_known_are_not_given() -> None:
    sound = Sound(is_live=True)
    count = model_samples_needed(8, FPS)
    sound.add(np.zeros(3 * count, np.float32), np.zeros(count, np.float32))
    assert Presence().levels(sound, FPS, 0, 8).shape == (8,)
    with pytest.raises(AssertionError, match="frames 0 to 8 of <Sound"):
        Presence().levels(sound, FPS, 0, 9)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_piecewise_is_whole(fps: Fraction) -> None:
    samples = words()
    whole = shown(samples, fps)
    for size in (1, 3, 8):
        presence, sound = Presence(), model_sound(samples)
        starts = list(range(0, len(whole), size))
        pieces = {
            first: presence.levels(sound, fps, first, min(size, len(whole) - first))
            for first in reversed(starts)
        }
        assert np.array_equal(np.concatenate([pieces[first] for first in starts]), whole)


def test_two_sounds_do_not_mix() -> None:
    presence, one, other = Presence(), model_sound(voice(1)), model_sound(quiet(1))
    for first in range(0, 24, 8):
        assert presence.levels(one, FPS, first, 8).any()
        assert not presence.levels(other, FPS, first, 8).any()


def test_it_is_what_the_renderers_need() -> None:
    level = shown(speech_like(3, MODEL_RATE))
    assert level.dtype == np.float32
    assert level.shape == (76,)
    assert level.min() == 0
    assert level.max() == 1
    assert Presence().levels(model_sound(voice(1)), FPS, 0, 0).shape == (0,)
    assert not Presence().levels(model_sound(voice(1)), FPS, 100, 8).any()
